# SPDX-License-Identifier: Apache-2.0
"""hls4ml configurations and project files, read as data: no tag in them makes an object.

hls4ml writes ``hls4ml_config.yml`` into each of its projects, with the model among the keys: the path of a Keras model
under a tag of hls4ml's own, or a PyTorch module with all its weights, written out as Python objects. Whatever a tag
says, a scalar is read as text, a sequence as a list, a mapping as a dictionary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FxsimError, show
from ..extras import importing
from ..files.folder import read_text

_YAML = (".yml", ".yaml")
#: How Python's YAML writes a number of numpy: a function and its two arguments, the type and the bytes.
_NUMBERS = tuple(f"tag:yaml.org,2002:python/object/apply:numpy.{core}.multiarray.scalar" for core in ("core", "_core"))
_KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def read_config(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """A configuration from a file: JSON (.json) or YAML (.yml, .yaml); raises ``FxsimError`` with one line."""
    try:
        file = Path(path)
    except TypeError:
        raise FxsimError(f"config must be a dictionary or the path of a file, not {show(path)}") from None
    suffix = file.suffix.lower()
    if suffix not in (".json", *_YAML):
        raise FxsimError(f"{file}: a config must be a .json, .yml or .yaml file")
    text = read_text(file)
    value = _yaml(file, text) if suffix in _YAML else _json(file, text)
    if not isinstance(value, dict):
        raise FxsimError(f"{file}: a config must be a dictionary, not {type(value).__name__}")
    return value


def _json(file: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FxsimError(f"{file}: not JSON ({_line(error)})") from None


def _yaml(file: Path, text: str) -> Any:
    with importing(f"reading {file}"):
        import yaml

    loader_class: Any = type("Loader", (yaml.SafeLoader,), {})

    def plain(loader: Any, suffix: str, node: Any) -> Iterator[Any]:
        # Generators, so that objects may hold each other.
        if isinstance(node, yaml.ScalarNode):
            yield loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            yield from loader.construct_yaml_seq(node)
        else:
            yield from loader.construct_yaml_map(node)

    def number(loader: Any, node: Any) -> Any:
        return _number(loader.construct_sequence(node, deep=True))

    loader_class.add_multi_constructor(None, plain)
    for tag in _NUMBERS:
        loader_class.add_constructor(tag, number)
    try:
        return yaml.load(text, loader_class)
    except Exception as error:  # KeyError for !!bool maybe, IndexError for an empty !!int, and more
        raise FxsimError(f"{file}: not YAML that a config can be ({_line(error)})") from None


def _number(arguments: list[Any]) -> Any:
    """The number that numpy would make of these arguments, or the arguments where it is none."""
    try:
        type, data = arguments
        kind, order = type["args"][0], type["state"][1]
        if kind not in _KINDS or order not in ("<", "|"):
            return arguments
        return np.frombuffer(data, f"<{kind}", 1)[0].item()
    except (ValueError, TypeError, KeyError, IndexError):
        return arguments


def _line(error: BaseException) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"
