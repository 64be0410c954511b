"""Which hop a machine is given: the shortest it draws in time, by an injected clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from models.presets import HopChoice
from models.runtimes.hop_fit import HopFit, fit_hop
from models.runtimes.torch_networks import TorchNetworks
from tests.models.tiny import tiny_model

CPU = torch.device("cpu")


def _clock(networks: TorchNetworks, cost_ms: dict[int, float]) -> Callable[[], float]:
    """Every second reading comes a window's cost after the one before."""
    now_s, readings = 0.0, 0

    def read() -> float:
        nonlocal now_s, readings
        readings += 1
        if readings % 2 == 0:
            now_s += cost_ms[networks.preset.stream.hop_frames] / 1e3
        return now_s

    return read


def _networks() -> TorchNetworks:
    model = tiny_model()
    model.preset = HopChoice(2, 0, 2).applied(model.preset)
    return TorchNetworks(model, CPU, torch.float32)


@pytest.mark.parametrize(
    ("cost_ms", "hop", "in_time", "tried"),
    [
        ({2: 51.0}, 2, True, [2]),
        ({2: 53.0, 3: 77.0}, 3, True, [2, 3]),
        ({2: 70.0, 3: 90.0, 4: 103.0}, 4, True, [2, 3, 4]),
        ({2: 200.0, 3: 250.0, 4: 300.0}, 4, False, [2, 3, 4]),
    ],
)
def test_the_shortest_hop_with_time_to_spare(
    cost_ms: dict[int, float], hop: int, in_time: bool, tried: list[int]
) -> None:
    networks = _networks()
    found = fit_hop(networks, CPU, 1, clock=_clock(networks, cost_ms))
    assert (found.hop_frames, found.in_time, list(found.cost_ms)) == (hop, in_time, tried)
    assert found.cost_ms == pytest.approx({frames: cost_ms[frames] for frames in tried})
    stream = networks.preset.stream
    assert (stream.hop_frames, stream.overlap_frames, stream.lookahead_frames) == (hop, 0, 2)


def test_a_longer_hop_that_was_asked_for_is_where_it_begins() -> None:
    model = tiny_model()
    model.preset = HopChoice(4, 1, 2).applied(model.preset)
    networks = TorchNetworks(model, CPU, torch.float32)
    found = fit_hop(networks, CPU, 1, clock=_clock(networks, {4: 500.0}))
    assert found == HopFit(4, {4: pytest.approx(500.0)}, False)
    assert networks.preset.stream.overlap_frames == 1
