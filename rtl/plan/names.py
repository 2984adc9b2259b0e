# SPDX-License-Identifier: Apache-2.0
"""Names that people chose, as names that tools take: the one place where text becomes an identifier.

A name made here is a word of letters, digits and single underscores. RTLIL, Verilog, VHDL, Tcl, XML, YAML, make and
every file system take such a word as it is, without quoting, and Verilator keeps it as it is. What people see (reports,
errors, traces, the manifest) is the name that they chose.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from fxsim.errors import FxsimError, show

from .reserved import CELLS, DEVICES, VERILOG, VHDL

#: Characters of the name of a top module, and of any other module or instance.
LONGEST_TOP, LONGEST = 63, 48
#: Characters of a top's name that is made from a file's.
_FROM_FILE = 56
#: What Verilator calls its own top, and the ports of ours, which would hide the module.
_TOPS = frozenset({"TOP"})
_PORTS = re.compile(r"aclk|aresetn|frame_error|[sm]_axis_t(data|valid|ready|last)|tap\d+_(valid|data)")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


def identifier(text: str, kind: str, longest: int = LONGEST) -> str:
    """The text as a word, which it is itself if it is one: accents fall off, anything else becomes ``_``.

    ``kind`` is put before a word that would be empty, begin with a digit or mean something to a tool.
    """
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    word = re.sub(r"[^A-Za-z0-9]+", "_", "".join(letters)).strip("_")
    if not _WORD.fullmatch(word) or _reserved(word):
        word = f"{kind}_{word}"
    return word[:longest].strip("_")


class Names:
    """The names of one scope, such as the instances in a module: no two are equal, in whichever case."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in taken}

    def take(self, text: str, kind: str, longest: int = LONGEST) -> str:
        """The text as a word that is free, with a number if need be; from now on it is taken."""
        return self._free(identifier(text, kind, longest), "_", longest)

    def distinct(self, text: str) -> str:
        """The same without making it a word: a name for people, with a number if another has it."""
        return self._free(text, " ", None)

    def _free(self, word: str, between: str, longest: int | None) -> str:
        found, number = word, 1
        while found.casefold() in self._taken:
            number += 1
            suffix = f"{between}{number}"
            found = word[: None if longest is None else longest - len(suffix)].rstrip("_") + suffix
        self._taken.add(found.casefold())
        return found


def words(texts: Sequence[str], kind: str, taken: Iterable[str] = ()) -> dict[str, str]:
    """A word of its own for each of several distinct texts.

    A text that is such a word already keeps it, unless it differs in case alone from one before it.
    """
    names = Names(taken)
    first = sorted(texts, key=lambda text: identifier(text, kind) != text)  # stable: else in their order
    found = {text: names.take(text, kind) for text in first}
    return {text: found[text] for text in texts}


def top_name(name: object) -> str:
    """The name of a top module as the user gave it; raises ``FxsimError`` unless it is legal everywhere."""
    if not isinstance(name, str) or not _WORD.fullmatch(name) or len(name) > LONGEST_TOP:
        raise FxsimError(
            f"top must be an identifier (a letter, then letters, digits and single underscores, at most "
            f"{LONGEST_TOP}), not {show(name)}"
        )
    why = _unfit(name)
    if why is not None:
        raise FxsimError(f"top must be another name, not {name!r}, which is {why}")
    return name


def default_top(name: str) -> str:
    """A top's name made from the network's."""
    found = identifier(name, "net", _FROM_FILE)
    return top_name(found if _unfit(found) is None else f"net_{found}"[:_FROM_FILE].rstrip("_"))


def markdown(text: str) -> str:
    """Text as Markdown shows it: nothing in it is markup."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _reserved(word: str) -> bool:
    return {word.casefold(), word} & (VERILOG | VHDL) != set()


def _unfit(word: str) -> str | None:
    """Why a top must not be called so."""
    if word in VERILOG:
        return "a word of SystemVerilog"
    small = word.casefold()
    if small in VHDL:
        return "a key word of VHDL"
    if small in DEVICES:
        return "no file name on Windows"
    if word in CELLS:
        return "a cell of the FPGA"
    if _PORTS.fullmatch(small):
        return "a port or signal of the design"
    return "the simulator's own top" if word in _TOPS else None
