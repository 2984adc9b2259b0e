# SPDX-License-Identifier: Apache-2.0
"""The documentation: it builds without a warning, its code runs, and what it shows is what comes out."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import docs_code
import pytest
from docs_code import ROOT, Refused, blocks, run_page

import fxsim
from fxsim.quantization import hls4ml_config

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="mkdocs and mkdocstrings are not installed (extra docs)",
)


def name(path: Path) -> str:
    return path.name


def place(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    return folder


def play(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool = False) -> None:
    """Run a page; skip, and say so, if a program was missing for a part of it."""
    folder = place(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    text = path.read_text(encoding="utf-8")
    ran, absent = run_page(text, folder, long=long)
    asked = [block for block in blocks(text) if block.runs or (long and "long" in block.notes)]
    assert ran == sum(block.notes.get("needs") not in absent for block in asked)
    if absent:
        pytest.skip(f"all but what needs {', '.join(sorted(absent))} ran, which is not installed")


CODE = [path for path in PAGES if any(block.runs for block in blocks(path.read_text(encoding="utf-8")))]
LONG = [path for path in PAGES if any("long" in block.notes for block in blocks(path.read_text(encoding="utf-8")))]


class TestCode:
    @pytest.mark.parametrize("path", CODE, ids=name)
    def test_runs_and_gives_what_the_page_shows(self, path, tmp_path, monkeypatch):
        play(path, tmp_path, monkeypatch)

    @pytest.mark.long
    @pytest.mark.parametrize("path", LONG, ids=name)
    def test_what_takes_longer_runs_too(self, path, tmp_path, monkeypatch):
        play(path, tmp_path, monkeypatch, long=True)

    def test_pages_with_code(self):
        """None of these may silently have no code that runs."""
        assert {path.name for path in CODE} >= {
            "README.md", "arithmetic.md", "faq.md", "folding.md", "hls4ml.md", "simulator.md", "tutorial.md",
            "vivado.md",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("page", "message"),
        [
            ("```python\nassert 1 + 1 == 3\n```\n", "line 1: AssertionError"),
            (
                "```python\nx = 1\n```\n\n```python\nimport fxsim\nfxsim.no_such_verb(x)\n```\n",
                "line 5: AttributeError",
            ),
            ("```python\ndef\n```\n", "line 1: SyntaxError"),
            ("```pycon\n>>> 1 + 1\n3\n\n```\n", "Expected:\n    3\nGot:\n    2"),
            ("```pycon\nnothing\n```\n", "line 1: no example"),
            ("```console\n$ echo one\ntwo\n```\n", "line 1: echo one: shows\none"),
            ("```console\n$ echo one\none\n$ false\n```\n", "line 1: false: exit status 1"),
            ("```console\n$ fxsim plan no.keras --latency 5\n```\n", "exit status 2"),
            ("<!-- varies: \\d+ -->\n```console\n$ echo 12 s\n13 m\n```\n", "shows\n12 s"),
            ("<!-- status: 2 -->\n```console\n$ true\n```\n", "line 2: true: exit status 0"),
            ("<!-- status: 2 -->\n```console\n$ echo no >&2; exit 2\nyes\n```\n", "shows\nno"),
            ('```json\n{"a": 1,}\n```\n', "line 1: JSONDecodeError"),
        ],
    )
    def test_a_broken_snippet_is_noticed(self, page, message, tmp_path):
        with pytest.raises(AssertionError, match=re.escape(message)):
            run_page(page, place(tmp_path))

    def test_a_changed_figure_in_a_page_is_noticed(self, tmp_path, monkeypatch):
        text = (ROOT / "docs" / "folding.md").read_text(encoding="utf-8")
        assert text.count("228 multipliers, latency 149") == 1
        folder = place(tmp_path)
        monkeypatch.chdir(folder)
        with pytest.raises(AssertionError, match="228 multipliers, latency 149"):
            run_page(text.replace("228 multipliers, latency 149", "228 multipliers, latency 148"), folder)

    @pytest.mark.parametrize(
        ("page", "message"),
        [
            ("```\nx\n```\n", "line 1: no language is not run, and no comment says why"),
            ("```bash\nx\n```\n", "line 1: bash is not run, and no comment says why"),
            ("<!-- not run: -->\n```python\nx\n```\n", "line 2: a comment without its reason"),
            ("```python\nx\n", "line 1: a fence without end"),
        ],
    )
    def test_a_block_is_never_skipped_without_a_reason(self, page, message):
        with pytest.raises(Refused, match=f"^{re.escape(message)}$"):
            blocks(page)

    def test_what_a_page_may_say(self, tmp_path):
        page = (
            "<!-- before:\nx = 3\n-->\n```python\nassert x == 3\n```\n\n```pycon\n>>> x\n3\n\n```\n\n"
            "```console\n$ echo a \\\n  b\na b\n$ printf 'one\\ntwo\\nthree\\n'\none\n...\nthree\n```\n\n"
            "<!-- varies: \\d+ -->\n```console\n$ echo took 12 s\ntook 7 s\n```\n\n"
            "<!-- status: 2 -->\n```console\n$ echo no >&2; exit 2\nno\n```\n\n"
            "<!-- not run: no such tool -->\n```console\n$ no-such-tool\n```\n\n"
            "<!-- long: an hour -->\n```python\nx = 4\n```\n\n"
            "<!-- needs: no-such-tool -->\n```console\n$ no-such-tool\n```\n\n"
            "<!-- needs: sh -->\n```console\n$ sh -c 'echo here'\nhere\n```\n"
        )
        folder = place(tmp_path)
        assert run_page(page, folder) == (6, {"no-such-tool"})
        assert [block.runs for block in blocks(page)] == [True, True, True, True, True, False, False, True, True]
        assert docs_code.LIMIT <= 300


class TestSite:
    def build(self, root: Path, site: Path) -> subprocess.CompletedProcess[str]:
        # Not --quiet, with which --strict sees no warning.
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
        return subprocess.run(
            command, cwd=root, text=True, capture_output=True, timeout=300, stdin=subprocess.DEVNULL,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        )  # fmt: skip

    @needs_mkdocs
    def test_builds_without_a_warning_and_loads_nothing_from_elsewhere(self, tmp_path):
        done = self.build(ROOT, tmp_path / "site")
        assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
        pages = list((tmp_path / "site").rglob("*.html"))
        assert {page.stem for page in pages} >= {path.stem for path in PAGES} - {"README"}
        loads = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
        for page in pages:
            text = page.read_text(encoding="utf-8")
            assert not loads.findall(text), page.name
            # Roles of docstrings, notes for the tests, and names that were not resolved.
            assert not re.search(r":(?:func|class|data):|&lt;!--|:::", text), page.name

    @needs_mkdocs
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("](folding.md)", "](no-such-page.md)", "no-such-page.md"),
            ("](simulator.md#how-fast-it-is)", "](simulator.md#no-such-place)", "no-such-place"),
        ],
    )
    def test_a_broken_link_is_noticed(self, old, new, message, tmp_path):
        for one in ("docs", "fxsim", "rtl", "testbenches", "mkdocs.yml"):
            (tmp_path / one).symlink_to(ROOT / one)
        (tmp_path / "docs").unlink()
        (tmp_path / "docs").mkdir()
        for path in (ROOT / "docs").iterdir():
            (tmp_path / "docs" / path.name).symlink_to(path)
        index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
        assert old in index
        (tmp_path / "docs" / "index.md").unlink()
        (tmp_path / "docs" / "index.md").write_text(index.replace(old, new), encoding="utf-8")
        done = self.build(tmp_path, tmp_path / "site")
        assert done.returncode == 1 and message in done.stderr

    def test_options_and_files_that_pages_name_exist(self):
        """Options are those of a program of this repository, or of another that a page calls."""
        folders = ("fxsim", "testbenches", "tests", "benchmarks")
        sources = [path.read_text(encoding="utf-8") for one in folders for path in (ROOT / one).rglob("*.py")]
        known = set(re.findall(r'"(--[a-z][a-z-]*)"', "".join(sources)))
        others = {"--help", "--pyargs", "--dist", "--strict"}  # of any, of pytest, of mkdocs
        others |= {"--nthreads", "--nworkers"}  # of dask
        others |= {"--design", "--plant", "--group"}  # of campaigns, which make them from names
        for path in [*PAGES, ROOT / "CONTRIBUTING.md"]:
            text = path.read_text(encoding="utf-8")
            options = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?!-)\b", text)) - known - others
            assert not options, f"{path.name}: {options}"
            files = re.findall(r"`((?:docs|tests|benchmarks|examples|fxsim|rtl|testbenches)/[\w/.]+)`", text)
            files += re.findall(r"python ((?:docs|tests|benchmarks|examples)/[\w/.]+)", text)
            missing = [one for one in files if not (ROOT / one).exists()]
            assert not missing, f"{path.name}: {missing}"

    def test_every_public_name_is_in_the_reference(self):
        text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
        named = {line.removeprefix("::: ") for line in text.splitlines() if line.startswith("::: ")}
        assert {one for one in named if one.startswith("fxsim.")} == {f"fxsim.{one}" for one in fxsim.__all__}
        for one in named:
            module, _, attribute = one.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), one

    def test_every_folder_is_in_the_table_of_the_architecture(self):
        text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
        named = set(re.findall(r"^\| `((?:fxsim|rtl)/\w+|testbenches)` \|", text, re.MULTILINE))
        folders = {
            f"{package}/{path.parent.name}"
            for package in ("fxsim", "rtl")
            for path in (ROOT / package).glob("*/__init__.py")
        }
        assert named == folders - {"fxsim/demo"} | {"testbenches"}

    def test_picture_of_the_house(self, monkeypatch):
        command = [sys.executable, ROOT / "docs" / "house.py", "--check"]
        assert subprocess.run(command, check=False).returncode == 0
        spec = importlib.util.spec_from_file_location("house", command[1])
        house = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(house)
        monkeypatch.setattr(house, "BASE", (*house.BASE, "api"))
        assert house.draw() != house.PICTURE.read_text(encoding="utf-8")

    def test_messages_that_the_faq_explains_are_in_the_code(self):
        """Those in titles and in the table; what differs from case to case is "…" there."""
        text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
        quoted = re.findall(r'^### "(.+)"$|^\| `(.+?)` \|', text, re.MULTILINE)
        assert len(quoted) > 10
        folders = ("fxsim", "rtl", "testbenches")
        sources = [path.read_text(encoding="utf-8") for one in folders for path in (ROOT / one).rglob("*.py")]
        # Texts of several lines are one text.
        code = re.sub(r'" *\n\s*f?"', "", "\n".join(sources))
        for message in map("".join, quoted):
            assert all(part.strip() in code for part in message.split("…")), message

    def test_the_glossary_is_in_order(self):
        text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
        tables = [re.findall(r"^\| (.+?) \|", part, re.MULTILINE)[1:] for part in text.split("\n## ")[1:]]
        for table in tables:
            assert table == sorted(table, key=str.casefold)
        words = [word for table in tables for word in table]
        assert len(words) > 50 and len(set(words)) == len(words)

    def test_links_of_the_readme_lead_somewhere(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
        assert len(links) > 10
        for link in links:
            assert (ROOT / link).is_file(), link

    def test_every_key_of_an_hls4ml_configuration_is_in_the_table(self):
        text = (ROOT / "docs" / "hls4ml.md").read_text(encoding="utf-8")
        keys = {"Precision", "ReuseFactor", "Strategy", "IOType", "Backend", "Compression", "BitExact", "TargetCycles"}
        keys |= hls4ml_config._COMMON_HARMLESS | hls4ml_config._MODEL_HARMLESS
        for one in hls4ml_config.CLASSES.values():
            keys |= one.read | one.harmless | {key for key in one.precision | one.unread if "ward_" not in key}
        missing = sorted(key for key in keys if f"`{key}`" not in text)
        assert not missing
