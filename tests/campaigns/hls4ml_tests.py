# SPDX-License-Identifier: Apache-2.0
"""hls4ml's own tests with fxsim beside them: what is equal, what is refused and why.

The tests come with hls4ml's source distribution. They run in an environment with hls4ml, fxsim and the Keras of the
group, ``keras2`` (Keras 2, TensorFlow and QKeras) or ``keras3`` (Keras 3 and PyTorch); the plugin of this folder
compares.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fxsim.errors import FxsimError
from fxsim.quantization.hls4ml_nodes import CLASSES

__all__ = ["COLUMNS", "GROUPS", "campaign"]

_RESULTS = ("equal", "different", "refused", "not compared")
_WAYS = ("live", "configured")
COLUMNS = (
    "group", "models", *(f"{way} {result}" for way in _WAYS for result in _RESULTS), "aborted", "values",
)  # fmt: skip
#: hls4ml's tests of recurrent layers, sequences, activations, softmax and of its interfaces, by what they need.
GROUPS: dict[str, tuple[str, ...]] = {
    "keras2": (
        "test_rnn", "test_time_distributed", "test_activations", "test_softmax", "test_softsign", "test_keras_api",
        "test_keras_h5_loader", "test_keras_nested_model", "test_dense_unrolled", "test_trace", "test_auto_precision",
        "test_reshape", "test_repack_stream", "test_graph", "test_weight_writer", "test_bram_factor", "test_qkeras",
    ),
    "keras3": (
        "test_rnn", "test_recurrent_pytorch", "test_keras_v3_api", "test_pytorch_api",
        "test_sequential_parsing_pytorch", "test_weight_writer",
    ),
}  # fmt: skip
#: Parts of the names of tests whose backends fxsim does not follow.
_OTHERS = "not Quartus and not oneAPI and not Catapult"


def campaign(group: str, tests: Path, python: Path, work: Path, answers: Path, one_of: int = 1) -> dict[str, Any]:
    """Run the tests of a group by ``python`` and read what the plugin wrote; ``FxsimError`` if that is nothing.

    The emulator is compiled in one of ``one_of`` tests.
    """
    files = [tests / f"{name}.py" for name in GROUPS[group]]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise FxsimError(f"{tests}: must hold hls4ml's tests; {missing[0]} is missing")
    work.mkdir(parents=True, exist_ok=True)
    # Their projects are written beside the tests.
    place = work / "tests"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for file in tests.glob("*.py"):
        shutil.copy(file, place)
    records = work / "records.jsonl"
    records.unlink(missing_ok=True)
    here = Path(__file__).resolve().parents[2]
    command = [
        python, "-m", "pytest", "-q", "-n", "2", "-p", "campaigns.hls4ml_plugin", "-p", "no:cacheprovider",
        "-k", _OTHERS, "--fxsim-records", records, "--fxsim-answers", answers.resolve(), "--fxsim-one-of", str(one_of),
        *(file.name for file in files),
    ]  # fmt: skip
    paths = os.pathsep.join(str(path) for path in (here, here / "tests"))
    environment = {"KERAS_BACKEND": "torch" if group == "keras3" else "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "0",
                   "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}  # fmt: skip
    with (work / "tests.log").open("wb") as log:
        ended = subprocess.run(
            command, cwd=place, env={**os.environ, **environment}, stdout=log, stderr=log, check=False
        )
    shutil.rmtree(place)
    # 1: some of their tests fail, as the comparison ends tests early.
    if ended.returncode not in (0, 1):
        raise FxsimError(f"{work / 'tests.log'}: pytest did not run the tests (status {ended.returncode})")
    if not records.is_file():
        raise FxsimError(f"{work / 'tests.log'}: no test has reached predict")
    return summary(group, [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()])


def summary(group: str, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The row of a group, with every model that is not equal by its reason.

    ``ours`` counts the models all of whose nodes are of classes that fxsim follows.
    """
    several = list(records)
    models = [record for record in several if not record.get("begun")]
    row: dict[str, Any] = {"group": group, "models": len(models)}
    reasons: dict[str, dict[str, list[str]]] = {}
    ours: dict[str, dict[str, int]] = {}
    for way in _WAYS:
        counts = Counter(record[way]["result"] for record in models)
        if counts["failed"]:
            raise FxsimError(next(record[way]["words"] for record in models if record[way]["result"] == "failed"))
        row |= {f"{way} {result}": counts[result] for result in _RESULTS}
        known = [record for record in models if set(record["nodes"]) <= set(CLASSES)]
        ours[way] = dict(Counter(record[way]["result"] for record in known))
        found: dict[str, list[str]] = defaultdict(list)
        for record in models:
            if record[way]["result"] in ("different", "refused"):
                found[reason(record[way]["words"])].append(record["test"])
        reasons[way] = dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))
    # What has begun and not ended took its process with it.
    aborted = sorted({record["test"] for record in several} - {record["test"] for record in models})
    values = sum(record["live"].get("values", 0) for record in models)
    return {
        **row,
        "aborted": len(aborted),
        "values": values,
        "ours": ours,
        "reasons": reasons,
        "tests aborted": aborted,
    }


def reason(words: str) -> str:
    """A refusal without the names of its layer and of its file, so that equal ones count together."""
    words = re.sub(r"'[^']*\.(h5|keras)': ", "", words)
    words = re.sub(r"^(layer) '[^']*'( is an? )?", lambda match: match[1] + (match[2] or ""), words)
    words = re.sub(r"(its class must be) one of [^']*, not", r"\1 known, not", words)
    return re.sub(r", which fxsim does not import; it imports: .*", ", which fxsim does not import", words)
