"""The CPU kernels in C against PyTorch, at odd sizes, and what happens where they cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import native
from kernels.native import Kernels, NativeError, choose_strips, pack_columns, winograd_weight
from models.warp import HeadWarp
from tests.tolerances import NATIVE_RMS


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


def _close(ours: Tensor, truth: Tensor) -> None:
    assert ours.isfinite().all()
    assert (ours.double() - truth).norm() <= NATIVE_RMS * truth.norm()


def _poison(kernels: Kernels) -> None:
    """Fill the shared memory with NaN: nothing may be read before it is written."""
    for part in kernels._workspace.parts.values():
        part.fill_(float("nan"))


@pytest.mark.parametrize(
    ("n", "height", "width", "channels", "leaving"),
    [(1, 1, 1, 16, 16), (5, 20, 20, 96, 96), (2, 10, 10, 192, 64), (3, 7, 13, 24, 32), (1, 40, 40, 64, 256)],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_convolution_with_everything_around_it(
    kernels: Kernels, n: int, height: int, width: int, channels: int, leaving: int, threads: int
) -> None:
    generator = torch.Generator().manual_seed(n * height + channels)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x = draw(n, channels, height, width)
    weight, bias = draw(leaving, channels, 3, 3) / (3 * channels**0.5), draw(leaving)
    gamma, beta, film, residual = (
        draw(channels),
        draw(channels),
        draw(n, 2 * channels),
        draw(n, leaving, height, width),
    )
    scale, shift = film.double()[:, :, None, None].chunk(2, 1)
    normed = F.group_norm(x.double(), 8, gamma.double(), beta.double())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _poison(kernels)
        plain = kernels.conv3x3(x, winograd_weight(weight), bias)
        affine = kernels.group_affine(x, 8, gamma, beta, 1e-5, film)
        _poison(kernels)
        fused = kernels.conv3x3(x, winograd_weight(weight), bias, affine, silu=True, residual=residual)
        activated = kernels.conv3x3(x, winograd_weight(weight), bias, silu=True)
    finally:
        torch.set_num_threads(before)
    arguments = (weight.double(), bias.double())
    _close(plain, F.conv2d(x.double(), *arguments, padding=1))
    _close(activated, F.conv2d(F.silu(x.double()), *arguments, padding=1))
    if height * width > 1:
        inside = F.silu(normed * (1 + scale) + shift)
        _close(fused, F.conv2d(inside, *arguments, padding=1) + residual)


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 111])
@pytest.mark.parametrize(("depth", "leaving"), [(3, 16), (192, 384)])
def test_linear_layers(kernels: Kernels, rows: int, depth: int, leaving: int) -> None:
    x, weight, bias = torch.randn(1, rows, depth), torch.randn(leaving, depth), torch.randn(leaving)
    _close(
        kernels.linear(x, pack_columns(weight), bias), F.linear(x.double(), weight.double(), bias.double())
    )
    _close(kernels.linear(x, pack_columns(weight), None), F.linear(x.double(), weight.double()))


@pytest.mark.parametrize("keys", [1, 7, 64])
@pytest.mark.parametrize("width", [8, 32])
def test_attention_over_few_keys_reads_any_strides(kernels: Kernels, keys: int, width: int) -> None:
    heads = 3
    q = torch.randn(2, 11, 5, heads * width).transpose(1, 2)
    k, v = torch.randn(2, keys, 5, 2 * heads * width).transpose(1, 2).chunk(2, dim=-1)

    def split(x: Tensor) -> Tensor:
        return x.double().unflatten(-1, (heads, width)).transpose(-2, -3)

    truth = F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(-2, -3).flatten(-2)
    _close(kernels.few_keys(q, k, v, heads), truth)


def test_huge_scores_do_not_overflow(kernels: Kernels) -> None:
    q = torch.full((1, 1, 1, 8), 1e4)
    k = torch.stack((torch.full((8,), 1e4), torch.full((8,), -1e4))).view(1, 1, 2, 8)
    v = torch.stack((torch.ones(8), torch.zeros(8))).view(1, 1, 2, 8)
    torch.testing.assert_close(kernels.few_keys(q, k, v, 1), torch.ones(1, 1, 1, 8))


def test_painting_and_warping_are_the_torch_steps(kernels: Kernels) -> None:
    x, canvas = torch.randn(2, 64, 3, 5), torch.rand(2, 12, 20, 3)
    colour, matte = F.pixel_shuffle(x, 4).split((3, 1), dim=1)
    truth = torch.lerp(canvas.permute(0, 3, 1, 2), colour.sigmoid(), (matte + 2).sigmoid())
    kernels.paint(x, canvas, 4, 0, 0)
    torch.testing.assert_close(canvas.permute(0, 3, 1, 2), truth, atol=1e-6, rtol=1e-5)
    pictures = torch.rand(3, 3, 64, 64)
    poses = torch.cat((torch.zeros(1, 6), torch.randn(2, 6) * 0.1))
    ours = HeadWarp(64, 64, kernels=kernels).to_bytes(pictures, poses)
    theirs = HeadWarp(64, 64).to_bytes(pictures, poses)
    difference = (ours.int() - theirs.int()).abs()
    assert difference.max() <= 1 and (difference > 0).float().mean() < 0.01  # the last bit before rounding


def test_blocks_fill_the_threads_and_the_cache() -> None:
    for strips, across, channels, threads in (
        (25, 5, 96, 2),
        (15, 3, 384, 2),
        (40, 10, 64, 16),
        (1, 1, 8, 4),
    ):
        each = choose_strips(strips, across, channels, threads)
        assert 1 <= each <= strips
        assert each == 1 or 36 * each * across * channels * 4 <= native.BLOCK_BYTES


def test_without_a_compiler_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    native.load_native.cache_clear()
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NativeError, match="Expected a C compiler"):
        native.load_native()
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(NativeError, match="no such luck"):
        native.load_native()
    assert not list((tmp_path / "native").glob("*.so"))
