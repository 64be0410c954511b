"""A recorded hop gives what a plain one gives, whatever lanes it runs on and however its batch is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.hop import HopControls
from models.runtimes.static_hop import CudaLanes, EagerLanes, Lane, StaticRunner, Work
from models.runtimes.torch_networks import TorchNetworks
from models.streaming import Streamer
from tests.models.tiny import buzz, tiny_model
from tests.tolerances import STREAM_EQUALS_OFFLINE

CONTROLS = HopControls(1.4, 1.0, 2)


class NotedLanes(EagerLanes):
    """Eager lanes that note what is asked of them."""

    def __init__(self) -> None:
        self.recorded: list[Lane] = []
        self.queued: list[str] = []

    def record(self, work: Work, lane: Lane) -> Work:
        self.recorded.append(lane)
        return work

    def run_main(self, work: Work) -> None:
        self.queued.append("main")
        work()

    def run_pictures(self, work: Work) -> None:
        self.queued.append("pictures")
        work()

    def wait(self) -> None:
        self.queued.append("wait")


def _streamer(device: str = "cpu") -> Streamer:
    where = torch.device(device)
    return Streamer(TorchNetworks(tiny_model(), where, torch.float32), where)


def _run(streamer: Streamer, hops: int, rows: int) -> tuple[list[np.ndarray], torch.Tensor]:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (rows, 256, 256, 3), dtype=np.uint8)
    states = [streamer.open(picture, seed) for seed, picture in enumerate(pictures)]
    controls = [HopControls(1.0 + row / 4, 1.0, 2) for row in range(rows)]
    frames = []
    for hop in range(hops):
        states, drawn, _ = streamer.hop(states, buzz(hop, rows, 14720), controls)
        frames.append(drawn)
    return frames, torch.cat([state.motion for state in states]).cpu()


def test_recorded_equals_plain_over_several_hops_and_pieces() -> None:
    plain, recorded = _streamer(), _streamer()
    lanes = NotedLanes()
    recorded.use_runner(StaticRunner(recorded, lanes, piece_rows=2))
    (truth, latents), (got, ours) = _run(plain, 3, 3), _run(recorded, 3, 3)
    assert (ours - latents).norm() <= STREAM_EQUALS_OFFLINE * latents.norm()
    for a, b in zip(truth, got, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1
    assert lanes.recorded == ["main", "pictures"] * 2, "once for two rows, once for the one that is left"
    assert lanes.queued[:5] == ["main", "pictures", "main", "pictures", "wait"]


def test_what_is_forgotten_is_recorded_again() -> None:
    streamer, lanes = _streamer(), NotedLanes()
    runner = StaticRunner(streamer, lanes)
    streamer.use_runner(runner)
    first, _ = _run(streamer, 1, 1)
    streamer.free_memory()
    again, _ = _run(streamer, 1, 1)
    np.testing.assert_array_equal(first[0], again[0])
    assert len(lanes.recorded) == 4


def test_pieces_must_have_rows() -> None:
    with pytest.raises(ValueError, match="piece_rows"):
        StaticRunner(_streamer(), EagerLanes(), piece_rows=0)


@pytest.mark.gpu
def test_cuda_graphs_equal_plain() -> None:
    plain, recorded = _streamer("cuda"), _streamer("cuda")
    recorded.use_runner(StaticRunner(recorded, CudaLanes(torch.device("cuda")), piece_rows=2))
    (truth, latents), (got, ours) = _run(plain, 4, 4), _run(recorded, 4, 4)
    assert (ours - latents).norm() <= 1e-4 * latents.norm()
    for a, b in zip(truth, got, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 2
