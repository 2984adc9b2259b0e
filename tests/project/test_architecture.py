# SPDX-License-Identifier: Apache-2.0
"""Who imports whom: folders by the rules in their docstrings; fxsim <- rtl; testbenches read files only.

Heavy packages are imported where they are used.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fxsim", "rtl", "testbenches")

#: What each package may import at the top of a module, beside the standard library and itself.
TOP = {
    "fxsim": {"numpy", "llvmlite", "numba"},
    "rtl": {"fxsim", "numpy", "amaranth"},
    "testbenches": {"numpy", "cocotb", "cocotbext"},
}
#: The same inside functions.
LATE = {
    "fxsim": {"distributed", "matplotlib", "rich", "shtab", "yaml"},
    "rtl": {"pyosys"},
    "testbenches": {"cocotb_tools", "pyosys"},
}
#: Modules of fxsim that may use the upper packages, inside functions.
UPPER = {"fxsim.api", "fxsim.checks", "fxsim.command.verbs", "fxsim.demo.run"}
#: Modules that exist to hold an import that others do not want at their top.
EXCEPTIONS = {
    "testbenches.test_ip": {"pytest"},
    "fxsim.importers.hdf5_child": {"h5py"},
}
#: The proofs are of the gateware itself, so that this part of the testbenches sees it; nothing else there sees them.
PROOFS = "testbenches.formal"
#: What the gateware is proven to be is written without it.
SPECIFICATIONS = {f"{PROOFS}.{name}" for name in ("bench", "casts", "engines", "frames", "models", "streams")} | {
    f"{PROOFS}.{name}" for name in ("interleaving", "sequencers")
}
#: Modules of fxsim that all folders may import.
BASE = {"fxsim.errors", "fxsim.arguments", "fxsim.extras", "fxsim.families"}


#: What stands at the top of the repository.
TOP_LEVEL = {
    *PACKAGES, "tests", "benchmarks", "docs", "examples", ".ci",
    "pyproject.toml", "mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".gitignore",
}  # fmt: skip


def test_nothing_else_stands_at_the_top() -> None:
    """What examples of the docs write there, for one, is not committed with them."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no clone")
    names = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {name.partition("/")[0] for name in names} == TOP_LEVEL


@dataclass(frozen=True)
class Import:
    module: str  #: the importing one
    target: str  #: the imported one, absolute
    late: bool  #: inside a function
    typing: bool  #: under TYPE_CHECKING


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[Import]:
    name = module_name(path)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]

    def walk(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, alias.name, late, typing)
            elif isinstance(child, ast.ImportFrom):
                above = package.rsplit(".", child.level - 1)[0] if child.level else ""
                target = ".".join(filter(None, [above, child.module]))
                for alias in child.names:
                    # `from . import x` may name a module.
                    whole = f"{target}.{alias.name}"
                    is_module = (ROOT / whole.replace(".", "/")).with_suffix(".py").is_file()
                    yield Import(name, whole if is_module else target, late, typing)
            else:
                inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                guarded = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
                yield from walk(child, inside, typing or guarded)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False, False)


FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FOLDERS = sorted(path.parent for package in ("fxsim", "rtl") for path in (ROOT / package).glob("*/__init__.py"))
IMPORTS = [found for path in FILES for found in imports(path) if not found.typing]


def outside(found: Import) -> str:
    """The imported top-level package, or nothing for the standard library and the own package."""
    import sys

    target = found.target.partition(".")[0]
    own = found.module.partition(".")[0]
    return "" if target in sys.stdlib_module_names or target in (own, "__future__") else target


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)
    assert len(IMPORTS) > 300


@pytest.mark.parametrize("package", PACKAGES)
def test_packages(package: str) -> None:
    wrong = []
    for found in IMPORTS:
        if found.module.partition(".")[0] != package:
            continue
        allowed = TOP[package] | EXCEPTIONS.get(found.module, set())
        if found.module.startswith(PROOFS):
            allowed = {"amaranth"} if found.module in SPECIFICATIONS else {"amaranth", "numpy", "fxsim", "rtl"}
        if found.late:
            allowed = allowed | LATE[package]
            if found.module in UPPER:
                allowed = allowed | {"rtl", "testbenches"}
        if outside(found) and outside(found) not in allowed:
            wrong.append(f"{found.module} imports {found.target}{' in a function' if found.late else ''}")
    assert wrong == []


def builds(module: str) -> bool:
    """Whether a module of rtl builds gateware; the others plan and describe it, without Amaranth."""
    return module.startswith("rtl.gateware") or module in ("rtl.export.verilog", "rtl.export.write")


def test_only_gateware_imports_amaranth() -> None:
    wrong = [
        f"{found.module} imports {found.target}"
        for found in IMPORTS
        if found.module.startswith("rtl.") and not builds(found.module)
        if builds(found.target) or found.target.partition(".")[0] == "amaranth"
    ]
    assert wrong == []


def test_imports_of_what_may_be_missing_are_guarded() -> None:
    """In fxsim each such import stands in a ``with importing(...)``, which makes one line of what goes wrong."""
    optional = {"rtl", "testbenches"} | LATE["fxsim"] - {"rich"}
    bare = []

    def walk(node: ast.AST, path: Path, guarded: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in child.names] if isinstance(child, ast.Import) else [child.module or ""]
                if (
                    not guarded
                    and getattr(child, "level", 0) == 0
                    and {one.partition(".")[0] for one in names} & optional
                ):
                    bare.append(f"{path.name}:{child.lineno}")
                continue
            with_it = isinstance(child, ast.With) and ast.unparse(child.items[0].context_expr).startswith("importing(")
            typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            walk(child, path, guarded or with_it or typing)

    for path in FILES:
        if path.is_relative_to(ROOT / "fxsim"):
            walk(ast.parse(path.read_text(encoding="utf-8")), path, False)
    assert bare == []


def test_only_proofs_see_proofs() -> None:
    seen = {found.module for found in IMPORTS if found.target.startswith(PROOFS)}
    assert {name for name in seen if not name.startswith(PROOFS)} == set()
    assert {module_name(path) for path in FILES} >= SPECIFICATIONS


def rules(folder: Path) -> set[str] | None:
    """The folders of ours that a folder's docstring says it may import; None for everything."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    found = re.search(r"^May import: (.*)\.$", text, re.MULTILINE)
    assert found, f"{module_name(folder)}: its docstring does not say what it may import"
    if found[1] == "everything":
        return None
    return {name for name in found[1].split(", ") if name != "nothing"}


def room(folder: str, target: str) -> str:
    """What the rule of a folder calls a module: the folder in its own package, the package elsewhere."""
    package, _, rest = target.partition(".")
    return rest.partition(".")[0] if folder.startswith(f"{package}.") else package


@pytest.mark.parametrize("folder", FOLDERS, ids=module_name)
def test_folders_import_what_they_say(folder: Path) -> None:
    name, allowed = module_name(folder), rules(folder)
    ours = [
        found
        for found in IMPORTS
        if found.module.startswith(f"{name}.") and not found.late and found.target not in BASE
        if found.target.partition(".")[0] in ("fxsim", "rtl") and not found.target.startswith(name)
    ]
    if allowed is None:
        return
    assert [f"{one.module} imports {one.target}" for one in ours if room(name, one.target) not in allowed] == []
    # What nobody needs is not in the rule.
    assert allowed == {room(name, one.target) for one in ours}


def test_rooms_say_what_lives_there() -> None:
    for folder in FOLDERS:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert re.search(r"^New here: .*\. Not here: .*\.$", text, re.MULTILINE | re.DOTALL), module_name(folder)


def test_no_circle() -> None:
    """Modules import each other in one direction only; what is imported inside a function does not count."""
    names = {module_name(path) for path in FILES}
    graph = {name: {one.target for one in IMPORTS if one.module == name and not one.late} & names for name in names}
    assert list(TopologicalSorter(graph).static_order())
    with pytest.raises(CycleError):
        list(TopologicalSorter({**graph, "fxsim.errors": {"fxsim.api"}}).static_order())


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"
    assert ast.get_docstring(ast.parse("\n".join(lines)))


def test_the_rules_can_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from rtl.plan.folding import Fold\ndef f():\n    import amaranth\nif TYPE_CHECKING:\n    import cocotb\n"
    (tmp_path / "fxsim").mkdir()
    (tmp_path / "fxsim" / "bad.py").write_text(source)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    found = list(imports(tmp_path / "fxsim" / "bad.py"))
    assert found == [
        Import("fxsim.bad", "rtl.plan.folding", False, False),
        Import("fxsim.bad", "amaranth", True, False),
        Import("fxsim.bad", "cocotb", False, True),
    ]
    monkeypatch.setitem(globals(), "IMPORTS", found)
    with pytest.raises(AssertionError, match=r"fxsim\.bad imports rtl\.plan\.folding"):
        test_packages("fxsim")
