# SPDX-License-Identifier: Apache-2.0
"""What a notebook sees: short reprs, HTML, plain values, pictures, and the command line's files from Python."""

from __future__ import annotations

import json
import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim.__main__ import main
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from fxsim.pages.listing import Summary
from fxsim.study.scans import PLOTS
from rtl.plan.folding import make_plan

SOURCE = fxsim.read_source(MODEL)
X, Y = np.load(DATA)["x"][:40], np.load(DATA)["y"][:40]


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    graph = fxsim.load(MODEL, precision="ap_fixed<10,4>")
    plans = fxsim.pareto(graph, count=6)
    return {
        "graph": graph,
        "layer": graph.nodes[0],
        "program": graph.nodes[0].program,
        "weights": graph.nodes[0].program.dots[0].weights,
        "source": SOURCE,
        "source layer": SOURCE.layers[0],
        "run": fxsim.simulate(graph, X, trace=True),
        "profile": fxsim.profile(graph, X, SOURCE),
        "scan": fxsim.scan(SOURCE, X, Y, [6, 8]),
        "plans": plans,
        "plan": plans[0],
        "folding": plans[0].folding,
        "ip": fxsim.export(network("lstm", seed=3), tmp_path_factory.mktemp("ip") / "ip"),
    }


def test_reprs_are_a_line(things: dict[str, Any]) -> None:
    for name, thing in things.items():
        text = repr(thing)
        assert "\n" not in text, name
        assert 10 < len(text) < 450, (name, text)


def test_reprs_tell_what_it_is(things: dict[str, Any]) -> None:
    graph, ip = things["graph"], things["ip"]
    assert repr(graph) == (
        "Graph digits: 3 layers, 1770 parameters; input 8 x 8 x ap_fixed<10,4,AP_RND,AP_SAT>, "
        "output 10 x ap_fixed<10,4,AP_RND,AP_SAT>"
    )
    assert repr(things["scan"]) == "Scan of digits: 2 formats, 40 sequences; float: accuracy 1, AUC 1"
    assert repr(things["profile"]).startswith("Profile of digits: 40 sequences, ")
    assert repr(things["run"]).startswith("Run of 40 sequences: outputs (40, 10), 0 overflows, ")
    timing = ip.manifest["timing"]
    assert repr(ip).startswith(f"Ip {ip.manifest['top']} in {ip.folder}: {ip.manifest['cost']['multipliers']} multipl")
    assert f"latency {timing['latency']} cycles ({ip.latency_us:.3f} us at 200 MHz, xc7)" in repr(ip)
    assert repr(ip.plan) == f"Plan of {ip.plan.graph.name}: {ip.plan.told()}"


class Page(HTMLParser):
    """Reads tables, and sees to it that tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


HTML = {
    "graph": ["lstm", "dense_softmax", "1600"],
    "profile": ["lstm.wx", "dense.wx.weights", "largest error"],
    "scan": ["float", "ap_fixed<6,6>", "accuracy"],
    "plans": ["multipliers", "BRAM"],
    "plan": ["lstm", "interval"],
    "ip": ["lstm", "interval"],
}


@pytest.mark.parametrize("name", HTML)
def test_html(things: dict[str, Any], name: str) -> None:
    page = Page(things[name]._repr_html_())
    assert page.open == []
    assert set(HTML[name]) <= set(page.cells)


@pytest.mark.parametrize("name", HTML)
def test_plain_values(things: dict[str, Any], name: str) -> None:
    found = things[name].to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("name", HTML)
def test_summaries(things: dict[str, Any], name: str) -> None:
    summary = things[name].summary()
    assert isinstance(summary, Summary)
    assert str(summary) == repr(summary)
    assert str(summary).splitlines()[0] in (repr(things[name]), repr(things[name]).removeprefix("Graph "))
    assert summary.listings[0].title in str(summary)


def test_the_summary_of_a_graph_is_what_the_command_line_shows(
    things: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = things["graph"]
    graph.save(tmp_path / "digits.fx")
    assert main(["info", str(tmp_path / "digits.fx")]) == 0
    assert capsys.readouterr().out.split() == str(graph.summary()).split()
    assert main(["info", str(tmp_path / "digits.fx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == graph.to_dict()


class TestScan:
    def test_it_is_the_list_of_its_rows(self, things: dict[str, Any]) -> None:
        scan = things["scan"]
        rows = list(scan)
        assert scan == rows
        assert [row.width for row in scan] == [None, 6, 8]
        assert (len(scan), scan[0], scan[-1], scan[1:]) == (3, rows[0], rows[2], rows[1:])
        assert scan.formats == rows[1:]
        again = pickle.loads(pickle.dumps(scan))
        assert (list(again), repr(again)) == (rows, repr(scan))

    @pytest.mark.parametrize("what", [None, *PLOTS])
    def test_plots_show_themselves(self, things: dict[str, Any], what: str | None) -> None:
        assert things["scan"].plot(what)._repr_png_().startswith(b"\x89PNG")

    def test_other_plots_are_refused(self, things: dict[str, Any]) -> None:
        with pytest.raises(FxsimError, match=r"^a scan plots ratio, errors, roc, not 'auc'$"):
            things["scan"].plot("auc")
        bare = fxsim.scan(SOURCE, X, None, [8])
        assert bare.plot().axes[0].get_ylabel() == "mean error"
        with pytest.raises(FxsimError, match=r"^roc needs labels y"):
            bare.plot("roc")

    def test_it_writes_what_the_command_line_writes(self, things: dict[str, Any], tmp_path: Path) -> None:
        np.savez(tmp_path / "d.npz", x=X, y=Y)
        names = things["scan"].save(tmp_path / "here")
        assert main(["scan", str(MODEL), str(tmp_path / "d.npz"), "-o", str(tmp_path / "there"), "--width", "6,8"]) == 0
        for name in names:
            assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
        assert set(names) == {path.name for path in (tmp_path / "there").iterdir()} - {"scan.json"}
        assert things["scan"].page() == (tmp_path / "there" / "report.html").read_text()


class TestProfile:
    @pytest.mark.parametrize("what", ["values", "weights"])
    def test_plots_show_themselves(self, things: dict[str, Any], what: str) -> None:
        assert things["profile"].plot(what)._repr_png_().startswith(b"\x89PNG")

    def test_other_plots_are_refused(self, things: dict[str, Any]) -> None:
        with pytest.raises(FxsimError, match=r"^a profile plots values or weights, not 'all'$"):
            things["profile"].plot("all")

    def test_it_writes_what_the_command_line_writes(self, things: dict[str, Any], tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", X)
        names = things["profile"].save(tmp_path / "here")
        options = ["-o", str(tmp_path / "there"), "--precision", "ap_fixed<10,4>"]
        assert main(["profile", str(MODEL), str(tmp_path / "x.npy"), *options]) == 0
        assert {path.name for path in (tmp_path / "there").iterdir()} == set(names)
        for name in names:
            assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name


def test_plans_are_a_list_with_a_picture(things: dict[str, Any], tmp_path: Path) -> None:
    plans = things["plans"]
    assert isinstance(plans, list)
    chosen = make_plan(things["graph"], fxsim.plan(things["graph"], multipliers=100))
    axes = plans.plot(chosen).axes
    assert [one.get_title() for one in axes] == ["DSP blocks", "LUTs (estimated)"]
    assert plans.plot()._repr_png_().startswith(b"\x89PNG")


def test_the_page_of_an_ip(things: dict[str, Any]) -> None:
    assert "<title>" in things["ip"].page.read_text()
