# SPDX-License-Identifier: Apache-2.0
"""Read the golden vectors and hold them against the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import CheckError
from .manifest import Manifest, Stream

__all__ = ["Vectors"]

#: Bytes above which a file may not unpack to more than so many times its size.
_LARGE, _DENSEST = 1 << 30, 200


@dataclass(frozen=True)
class Vectors:
    """Raw integers: ``inputs`` and ``outputs`` (sequences, beats, elements), ``taps`` the same by ``layer.op``."""

    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    taps: dict[str, NDArray[np.int64]]
    first: int = 0  #: number of the first sequence, where these are some of many

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def load(cls, path: str | Path, manifest: Manifest) -> Vectors:
        """Read an .npz file; every array must fit the manifest."""
        try:
            with np.load(path, allow_pickle=False) as file:
                infos = file.zip.infolist()
                size, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
                if size > _LARGE and size > _DENSEST * packed:
                    raise CheckError(f"{path}: unpacks from {packed} to {size} bytes, which is no set of vectors")
                arrays = {name: file[name] for name in file.files}
            if not all(isinstance(array, np.ndarray) for array in arrays.values()):
                raise CheckError(f"{path}: holds something else than arrays")
        except OSError as error:
            raise CheckError(f"{path}: cannot be read: {error.strerror or error}") from None
        except CheckError:
            raise
        except Exception:  # a damaged archive can make the readers raise nearly anything
            raise CheckError(f"{path}: is not an .npz file of plain arrays") from None
        for name in ("inputs", "outputs"):
            if name not in arrays:
                raise CheckError(f"{path}: array {name!r} is missing")
        inputs = _check(path, "inputs", arrays["inputs"], manifest.input)
        outputs = _check(path, "outputs", arrays["outputs"], manifest.output)
        if len(inputs) != len(outputs):
            raise CheckError(f"{path}: has {len(inputs)} input sequences but {len(outputs)} output sequences")
        if not len(inputs):
            raise CheckError(f"{path}: holds no sequence")
        taps = {}
        for tap in manifest.taps:
            array = arrays.get(f"tap:{tap.name}")
            if array is None:
                continue
            if array.ndim != 3 or array.shape[0] != len(inputs) or array.shape[2] != tap.elements:
                raise CheckError(
                    f"{path}: tap {tap.name!r} must be ({len(inputs)}, beats, {tap.elements}), not {array.shape}"
                )
            taps[tap.name] = array.astype(np.int64)
        first = arrays.get("first", np.array(0))
        if first.shape != () or first.dtype.kind not in "iu":
            raise CheckError(f"{path}: 'first' must be one integer, not {first.dtype} {first.shape}")
        return cls(inputs, outputs, taps, int(first))


def _check(path: str | Path, name: str, array: NDArray[np.int64], stream: Stream) -> NDArray[np.int64]:
    want = (stream.beats_per_sequence, stream.elements_per_beat)
    if array.ndim != 3 or array.shape[1:] != want or array.dtype.kind not in "iu":
        raise CheckError(
            f"{path}: {name!r} must be integers of shape (sequences, {want[0]}, {want[1]}), "
            f"not {array.dtype} {array.shape}"
        )
    if array.size and (int(array.min()) < stream.low or int(array.max()) > stream.high):
        raise CheckError(f"{path}: {name!r} holds a raw integer outside {stream.element}")
    return array.astype(np.int64, copy=False)
