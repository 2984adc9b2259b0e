# SPDX-License-Identifier: Apache-2.0
"""The campaign over hls4ml's own tests: how it counts, and the tables that it leaves in the documentation."""

import json
from pathlib import Path

import pytest
from campaigns import hls4ml_table, hls4ml_tests

from fxsim.errors import FxsimError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hls4ml.md"


def record(test, live, configured=None, nodes=("Input", "GRU")):
    return {"test": test, "nodes": list(nodes), "live": live, "configured": configured or live}


EQUAL = {"result": "equal", "values": 8}
CONV = {"result": "refused", "words": "layer 'c1': its class must be one of Input, GRU, not 'Conv1D'"}
RECORDS = [
    {"test": "a", "begun": True},
    record("a", EQUAL),
    record("b", {"result": "different", "words": "3 of 8 values"}, EQUAL),
    record("c", CONV, nodes=("Input", "Conv1D")),
    record("d", {**CONV, "words": CONV["words"].replace("c1", "c2")}, nodes=("Input", "Conv1D")),
    record("e", {"result": "not compared"}),
    {"test": "f", "begun": True},
]


def test_counts():
    row = hls4ml_tests.summary("keras2", RECORDS)
    assert (row["models"], row["aborted"], row["tests aborted"], row["values"]) == (5, 1, ["f"], 8)
    assert {way: row["ours"][way] for way in row["ours"]} == {
        "live": {"equal": 1, "different": 1, "not compared": 1},
        "configured": {"equal": 2, "not compared": 1},
    }
    for way, counts in (("live", (1, 1, 2, 1)), ("configured", (2, 0, 2, 1))):
        assert tuple(row[f"{way} {one}"] for one in ("equal", "different", "refused", "not compared")) == counts
    # Layers of any name count together.
    conv = "layer: its class must be known, not 'Conv1D'"
    assert row["reasons"]["live"] == {conv: ["c", "d"], "3 of 8 values": ["b"]}
    assert row["reasons"]["configured"] == {conv: ["c", "d"]}


def test_a_defect_ends_the_campaign():
    with pytest.raises(FxsimError, match="KeyError"):
        hls4ml_tests.summary("keras2", [record("a", {"result": "failed", "words": "KeyError"})])


def test_tests_that_are_not_there(tmp_path):
    with pytest.raises(FxsimError, match=r": must hold hls4ml's tests; test_rnn\.py is missing$"):
        hls4ml_tests.campaign("keras2", tmp_path, tmp_path / "python", tmp_path, tmp_path)


def test_the_page_has_the_tables_of_the_report():
    results = json.loads(hls4ml_table.REPORT.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert set(results) == set(hls4ml_tests.GROUPS)
    assert hls4ml_table.document(page, results) == page
    changed = {**results, "keras2": {**results["keras2"], "live equal": results["keras2"]["live equal"] + 1}}
    assert hls4ml_table.document(page, changed) != page
