# SPDX-License-Identifier: Apache-2.0
"""Random networks and configurations: hls4ml's compiled emulator, its live model and its configuration, bit for bit.

Compared are the outputs of all layers. ``peer_seeds.json`` holds the seeds that ran green once, with what each covers;
``FXSIM_PEER_SEEDS=1000-1019`` runs others instead. A case compiles C++ for some five seconds.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

RECORD = json.loads((Path(__file__).parents[1] / "peer_seeds.json").read_text())


def seeds() -> list[int]:
    wanted = os.environ.get("FXSIM_PEER_SEEDS")
    if not wanted:
        return [int(seed) for seed in RECORD["seeds"]]
    low, _, high = wanted.partition("-")
    return list(range(int(low), int(high or low) + 1))


@pytest.fixture(scope="module")
def peer():
    hls4ml = pytest.importorskip("hls4ml", reason="hls4ml is not installed")
    pytest.importorskip("keras", reason="keras is not installed")
    assert hls4ml.__version__ == RECORD["hls4ml"]
    import peer_networks

    return peer_networks


@pytest.mark.parametrize("seed", seeds())
def test_random_networks(peer, seed, tmp_path):
    import fxsim

    case = peer.case(seed)
    model = peer.convert(case, tmp_path)
    want = peer.emulate(model, case.x)
    live = fxsim.from_hls4ml(model)
    configured = fxsim.load(case.model, config={**case.config, "IOType": case.io})
    for graph in (live, configured):
        assert peer.differences(graph, case.x, want) == []


@pytest.mark.parametrize("strategy", ["Latency", "Resource"])
@pytest.mark.parametrize("precision", ["ap_fixed<16,6>", "ap_fixed<12,4,AP_RND_CONV,AP_SAT>"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_pytorch(peer, kind, precision, strategy, tmp_path):
    """A PyTorch module through hls4ml, from its live model and from its weights."""
    import fxsim

    model, hls_model, config = pytorch(peer, kind, precision, strategy, tmp_path, linear=False)
    x = np.random.default_rng(1).normal(0, 1, (40, 5, 3))
    want = peer.emulate(hls_model, x)
    source = fxsim.from_pytorch(model, (5, 3), ["rnn", "last", "act: sigmoid"])
    for graph in (fxsim.from_hls4ml(hls_model), fxsim.load(source, config=config)):
        assert peer.differences(graph, x, want) == []


@pytest.mark.parametrize("strategy", ["Latency", "Resource"])
@pytest.mark.parametrize("units", [4, 2])
def test_pytorch_with_a_linear_layer(peer, units, strategy, tmp_path):
    """hls4ml reads the weights of Linear in the wrong order; the graph is right."""
    import torch

    import fxsim

    made = pytorch(peer, "GRU", "ap_fixed<24,8>", strategy, tmp_path, linear=True, units=units)
    model, hls_model, config = made
    x = np.random.default_rng(1).normal(0, 1, (40, 5, 3))
    with torch.no_grad():
        floats = model(torch.tensor(x)).numpy()[:, -1]
    assert np.abs(peer.emulate(hls_model, x)[""] - floats).max() > 0.1
    source = fxsim.from_pytorch(model, (5, 3), ["rnn", "last", "act: sigmoid", "fc"])
    live, configured = fxsim.from_hls4ml(hls_model), fxsim.load(source, config=config)
    assert np.array_equal(fxsim.predict(live, x), fxsim.predict(configured, x))
    # Tables of 1/128 and 1/64 a step through five steps.
    assert np.abs(fxsim.predict(live, x) - floats).max() < 0.03
    assert np.allclose(fxsim.predict_float(source, x), floats, rtol=0, atol=1e-12)


def pytorch(peer, kind, precision, strategy, folder, *, linear, units=4):
    import hls4ml
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(nn, kind)(3, 4, batch_first=True)
            self.act = nn.Sigmoid()
            if linear:
                self.fc = nn.Linear(4, units)

        def forward(self, x):
            y = self.act(self.rnn(x)[0])
            return self.fc(y) if linear else y

    torch.manual_seed(len(precision) + units)
    model = Network().double()
    config = hls4ml.utils.config_from_pytorch_model(
        model, (5, 3), granularity="name", backend="Vivado", default_precision=precision,
        channels_last_conversion="off", transpose_outputs=False,
    )  # fmt: skip
    config["Model"]["Strategy"] = strategy
    for name in ("rnn", "fc") if linear else ("rnn",):
        config["LayerName"][name]["ReuseFactor"] = 2
    hls_model = hls4ml.converters.convert_from_pytorch_model(
        model, hls_config=config, output_dir=str(folder), project_name="peer", backend="Vivado"
    )
    return model, hls_model, config
