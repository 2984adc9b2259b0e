# SPDX-License-Identifier: Apache-2.0
"""The paper's page: its numbers are those of its JSON, and AUC is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import paper
import pytest
from test_page import read
from test_public_data import jet_file, line
from toy_jets import TEST, jets

from fxsim.importers import read_model
from fxsim.study.floating import predict

TOY = Path(paper.__file__).parent / "toy"


def test_toy_networks_are_trained():
    x, y = jets(4000, TEST)
    for cell, parameters in (("lstm", 3569), ("gru", 3089)):
        source = read_model(TOY / f"{cell}.keras")
        assert paper.quantize(source).parameters == parameters
        assert paper.auc(predict(source, x), y) > 0.88
        assert (TOY / f"{cell}.keras").stat().st_size < 60_000


def test_the_page_without_downloads(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paper, "DESIGNS", paper.DESIGNS[3:5])
    paper.main(["-o", str(tmp_path / "p"), "--fractions", "2", "12", "--jets-of-toy", "500"])
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["paper.html", "paper.json", "paper.png"]
    found = json.loads((tmp_path / "p" / "paper.json").read_text())
    assert found["weights"] == "seeded" and [row["design"][:11] for row in found["designs"]] == ["Top tagging"] * 2
    assert [row["parameters"] for row in found["networks"]] == [row["paper"] for row in found["networks"]]
    (study,) = found["studies"]
    text = (tmp_path / "p" / "paper.html").read_text()
    reader = read(text)
    assert "The weights of these designs are seeded" in text
    assert "networks of the same architectures with seeded weights" in capsys.readouterr().err
    assert study["ratio"] and set(study["base"]) == {"LSTM", "GRU"}
    for curve in study["curves"]:
        assert [bits for bits, _ in curve["points"]] == [2, 12]
        for _, value in curve["points"]:
            assert f"<td>{value:.4f}</td>" in text
        # Two bits are not enough, twelve are, where there are integer bits enough for sums that wrap.
        few, many = (value for _, value in curve["points"])
        assert few < many < 1.03 and many > (0.97 if curve["preset"] == "exact" or curve["integer"] == 6 else 0.8)
    assert sum(tag == "circle" for tag, _ in reader.elements) == 2 * len(study["curves"])
    assert (tmp_path / "p" / "paper.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in text


def test_published_figures_stand_beside_ours():
    row = {
        "design": "D", "precision": "P", "latency": 100, "latency_us": 0.5, "cycles_a_step": 6, "interval": 90.0,
        "cells": "estimated", "lut": 10, "lutram": 5, "ff": 7, "dsp": 3, "bram": 0.5,
        "published": {"how": "Latency", "cycles": 332, "dsp": 2720, "lut": None, "ff": 68000},
    }  # fmt: skip
    table, _ = paper._designs([row])
    (cells,) = table.rows
    named = list(zip([name.lstrip("<") for name in table.columns], cells, strict=True))
    assert named == [
        ("design", "D"), ("cycles", 100), ("paper", 332), ("DSP", 3), ("paper", 2720), ("LUT", 15), ("paper", None),
        ("FF", 7), ("paper", 68000), ("BRAM", "0.5"), ("us", 0.5), ("a step", 6), ("precision", "P"),
        ("how published", "Latency"),
    ]  # fmt: skip


def test_refusals(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        paper.main(["--jets", "x.h5"])
    assert ended.value.code == 2 and "give --shared, too" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^paper\.py: .*file: cannot write"):
        paper.main(["-o", str(tmp_path / "file"), "--fractions", "4", "--jets-of-toy", "50"])


def test_downloaded_files(tmp_path):
    from shared import SHARED

    if SHARED is None:
        pytest.skip("no shared folder")
    jet_file(tmp_path / "jets.h5", 60, 24)
    words = [line(word, [[0, 9, 4], [0, 3, 8]], [[5, 6], [1, 7]]) for word in ("ant", "bee", "snail")]
    (tmp_path / "d.ndjson").write_text("\n".join(words) + "\n")
    parser = ["--shared", str(SHARED), "--jets", str(tmp_path / "jets.h5"), "--quickdraw", str(tmp_path / "d.ndjson")]
    given = paper.arguments([*parser, "--fractions", "8", "--jets-of-toy", "50"])
    toy, tops, drawings = paper.studies(given)
    assert "toy" in toy.data and any(curve.published for curve in toy.curves)
    assert "hls4ml_LHCjet with j1_ptrel" in tops.data and tops.ratio
    assert drawings.data == "3 drawings of the files given" and set(drawings.base) == {"LSTM", "GRU"}
