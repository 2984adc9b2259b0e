# SPDX-License-Identifier: Apache-2.0
"""Figures of README.md and docs/*.md, written out of the committed baselines; pictures drawn from them.

    python benchmarks/figures.py                          # write pages and pictures that are stale
    python benchmarks/figures.py --check                  # name what is stale; status 1 if anything is
    python benchmarks/figures.py --measure --shared DIR   # first renew every baseline but the timings, then write

A page marks a figure as ``<!-- = NAME -->133<!-- / -->``; what stands between is replaced by figure_texts.py's text of
that name, a whole table where there is one. A picture carries a digest of what it shows. ``--measure`` runs the scripts
that give the same numbers on every machine; timings (bench_emulator.py, on a quiet machine), clocks of random designs
(bench_timing.py, which takes hours) and campaigns (tests/campaigns) are run by hand, and this script after them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

import bench_accuracy  # noqa: E402
import bench_rtl  # noqa: E402
import emulator_report  # noqa: E402
import figure_texts  # noqa: E402
import numpy as np  # noqa: E402
import paper  # noqa: E402
from figure_texts import ROOT, baseline  # noqa: E402

import fxsim  # noqa: E402
from fxsim.errors import FxsimError  # noqa: E402
from fxsim.files.folder import write_whole  # noqa: E402
from fxsim.pages.table_files import png  # noqa: E402

IMAGES = ROOT / "docs" / "images"
_MARK = re.compile(r"<!-- = (?P<name>[^\n]*?) -->(?P<old>.*?)<!-- / -->", re.DOTALL)
_LOOSE = re.compile(r"<!-- (?:=|/)")
#: The chunk of a PNG file that holds the digest of what it shows.
_KEY = b"fxsim data"


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that may have figures."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def fill(page: str, text: Callable[[str], str] = figure_texts.text) -> tuple[str, list[tuple[int, str, str, str]]]:
    """A page with its figures, and those that were stale: line, name, old and new text.

    Raises ``FxsimError`` for a mark that does not close and for a name that there is not.
    """
    stale = []

    def replace(match: re.Match[str]) -> str:
        line = page.count("\n", 0, match.start()) + 1
        if _LOOSE.search(match["old"]):
            raise FxsimError(f"line {line}: figure {match['name']!r} does not end before the next one")
        try:
            new = text(match["name"])
        except FxsimError as error:
            raise FxsimError(f"line {line}: {error}") from None
        if new != match["old"]:
            stale.append((line, match["name"], match["old"].strip(), new.strip()))
        return f"<!-- = {match['name']} -->{new}<!-- / -->"

    filled = _MARK.sub(replace, page)
    if loose := _LOOSE.search(_MARK.sub(lambda match: "\n" * match[0].count("\n"), page)):
        raise FxsimError(f"line {page.count(chr(10), 0, loose.start()) + 1}: a mark of a figure without its other one")
    return filled, stale


def names(page: str) -> set[str]:
    """The figures that a page has."""
    return {match["name"] for match in _MARK.finditer(page)}


def digest(data: Any) -> str:
    """SHA-256 of what a picture shows; of floating-point numbers six digits, for the last ones differ by machine."""

    def canonical(value: Any) -> Any:
        if isinstance(value, float):
            return f"{value:.6g}"
        if isinstance(value, dict):
            return {str(key): canonical(one) for key, one in value.items()}
        return [canonical(one) for one in value] if isinstance(value, list | tuple) else value

    return hashlib.sha256(json.dumps(canonical(data), sort_keys=True).encode()).hexdigest()


def sign(picture: bytes, mark: str) -> bytes:
    """A PNG file with a digest in it, behind its header."""
    body = b"tEXt" + _KEY + b"\0" + mark.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return picture[:33] + chunk + picture[33:]


def signature(picture: bytes) -> str:
    """The digest in a PNG file, or nothing."""
    at = 8
    while at + 12 <= len(picture):
        (size,) = struct.unpack(">I", picture[at : at + 4])
        key, _, value = picture[at + 8 : at + 8 + size].partition(b"\0")
        if picture[at + 4 : at + 8] == b"tEXt" and key == _KEY:
            return value.decode("latin-1")
        at += size + 12
    return ""


@dataclass(frozen=True)
class Picture:
    """What a picture shows, and how it is drawn from that."""

    data: Callable[[], Any]
    draw: Callable[[Any], bytes]


def _study(one: dict[str, Any]) -> paper.Study:
    return paper.Study(**{**one, "curves": [paper.Curve(**curve) for curve in one["curves"]]})


def _speeds() -> Any:
    keys = ("network", "threads", "rows")
    networks = [
        {key: found[key] for key in keys} for found in baseline("emulator")["networks"] if found["threads"] == 1
    ]
    return {"networks": networks}


def _drawings() -> Any:
    return {key: baseline("rtl")["scan"][key] for key in ("fronts", "published")}


#: Pictures of baselines.
PICTURES = {
    "rtl.png": Picture(_drawings, lambda data: png(bench_rtl.picture(data))),
    "emulator.png": Picture(_speeds, lambda data: png(emulator_report.picture(data))),
    "accuracy.png": Picture(
        lambda: baseline("accuracy")["rows"],
        lambda data: png(bench_accuracy.picture([bench_accuracy.Row(**row) for row in data])),
    ),
    "paper.png": Picture(
        lambda: baseline("paper")["studies"], lambda data: png(paper.picture([_study(one) for one in data]))
    ),
}
#: Pictures that commands in the pages make of the demo network: the command, its results, the picture.
DEMO = {
    "plan.png": ("plan digits.keras --precision ap_fixed<16,6> --multipliers 300 --plot plan.png", "", "plan.png"),
    "profile.png": (
        "profile digits.keras x.npy -o profile --preset hls4ml --precision ap_fixed<12,4>",
        "profile/profile.json", "profile/profile.png",
    ),
    "scan.png": (
        "scan digits.keras digits.npz -o scan --width 5:12 --integer 2:5 --preset both",
        "scan/scan.json", "scan/scan.png",
    ),
}  # fmt: skip


def _environment() -> dict[str, str]:
    """One in which scripts and ``python -m fxsim`` import this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def demo(name: str) -> tuple[Any, bytes]:
    """Results and picture of one of ``DEMO``'s commands."""
    command, results, picture = DEMO[name]
    place = Path(fxsim.__path__[0]) / "demo"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "digits.keras").write_bytes((place / "digits.keras").read_bytes())
        with np.load(place / "digits_test.npz") as data:
            np.save(folder / "x.npy", data["x"])
            np.savez(folder / "digits.npz", x=data["x"], y=data["y"])
        run = [sys.executable, "-m", "fxsim", *command.split(), *([] if results else ["--json"])]
        done = subprocess.run(
            run, cwd=folder, env=_environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise FxsimError(f"fxsim {command}: {done.stderr.strip()}")
        found = json.loads((folder / results).read_text() if results else done.stdout)
        return found["rows"] if name == "scan.png" else found, (folder / picture).read_bytes()


def stale_pages(root: Path = ROOT) -> Iterator[tuple[Path, str, list[str]]]:
    """Pages whose figures are not those of the baselines: the page, its right text, and a line for each figure."""
    used: set[str] = set()
    for path in pages(root):
        page = path.read_text(encoding="utf-8")
        used |= names(page)
        name = path.relative_to(root)
        try:
            right, stale = fill(page)
        except FxsimError as error:
            raise FxsimError(f"{name}, {error}") from None
        if stale:
            yield path, right, [f"{name}, line {line}: {what} is {_differ(old, new)}" for line, what, old, new in stale]
    if unused := sorted(set(figure_texts.TEXTS) - used):
        raise FxsimError(f"no page has the figures {', '.join(unused)}")


def _differ(old: str, new: str) -> str:
    """The first lines that differ."""
    for one, two in zip(old.splitlines() or [""], new.splitlines(), strict=False):
        if one != two:
            return f"{one!r}, must be {two!r}"
    return f"{len(old.splitlines())} lines, must be {len(new.splitlines())}"


def stale_pictures(images: Path = IMAGES) -> list[str]:
    """Names of pictures that show something else than the baselines."""
    return [name for name, one in PICTURES.items() if _signature(images / name) != digest(one.data())]


def stale_demo(which: Iterable[str] = tuple(DEMO), images: Path = IMAGES) -> Iterator[tuple[str, bytes]]:
    """Pictures of the demo network that show something else than their commands give now, and what they must be."""
    for name in which:
        data, picture = demo(name)
        if _signature(images / name) != digest(data):
            yield name, sign(picture, digest(data))


def _signature(path: Path) -> str:
    return signature(path.read_bytes()) if path.exists() else ""


def measure(shared: Path) -> None:
    """Renew every baseline whose numbers do not depend on the machine."""
    with tempfile.TemporaryDirectory() as temporary:
        given = ["--shared", str(shared)]
        for script, *options in (
            ("bench_accuracy.py", *given),
            ("bench_sums.py", *given, "--cells"),
            ("paper.py", *given, "-o", temporary, "--json", str(HERE / "baselines" / "paper.json")),
            ("calibrate_cost.py",),
            ("bench_rtl.py", *given, "--cells"),
        ):
            print(f"$ python benchmarks/{script} {' '.join(options)}", flush=True)
            subprocess.run([sys.executable, str(HERE / script), *options], check=True, env=_environment())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is stale, or name it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if anything is stale")
    parser.add_argument("--measure", action="store_true", help="renew the baselines first, but for timings")
    parser.add_argument("--shared", type=Path, help="with --measure: folder with models, data and golden")
    parser.add_argument(
        "--no-demo", action="store_true", help="leave pictures of the demo network (half a minute) alone"
    )
    given = parser.parse_args(arguments)
    if given.measure != (given.shared is not None) or (given.measure and given.check):
        parser.error("--measure needs --shared, --shared is for --measure alone, and --check measures nothing")
    try:
        if given.measure:
            measure(given.shared)
        stale = []
        for path, right, lines in stale_pages():
            stale += lines
            if not given.check:
                write_whole(path, right.encode())
        for name in stale_pictures():
            stale.append(f"docs/images/{name}: shows other data than the baseline has")
            if not given.check:
                data = PICTURES[name].data()
                write_whole(IMAGES / name, sign(PICTURES[name].draw(data), digest(data)))
        for name, picture in () if given.no_demo else stale_demo():
            stale.append(f"docs/images/{name}: shows other data than fxsim {DEMO[name][0]}")
            if not given.check:
                write_whole(IMAGES / name, picture)
    except (FxsimError, subprocess.CalledProcessError) as error:
        print(f"figures.py: {error}", file=sys.stderr)
        return 2
    for line in stale:
        print(line if given.check else f"written: {line}")
    print(f"{len(stale)} figures are stale" if given.check else f"{len(stale)} figures renewed")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
