"""The CPU kernels in C against PyTorch, at odd sizes, and what happens where they cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.native import build as native_build
from kernels.native.build import NativeError
from kernels.native.kernels import Kernels, pack_columns
from models.framing.picture_warp import PictureWarp
from models.framing.placement import Placement
from models.framing.similarity import Similarity
from models.modules.mover import FLOW_SCALE_PX, MATTE_BIAS, edge_ramp, packed, read_leaves
from models.warp import HeadWarp
from tests.threads import torch_threads
from tests.tolerances import NATIVE_HALF_RMS, NATIVE_RMS


@pytest.fixture(scope="module", params=["fp32", "bf16", "tiles"])
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """The kernels with both kinds of weights, and with matrix units, which C can pretend on any processor."""
    if request.param != "tiles":
        return Kernels(half=request.param == "bf16")
    found = _compiled_with(["-DFADA_PRETEND_TILES"], tmp_path_factory.mktemp("tiles"))
    assert found.has_matrix_units
    return found


def _compiled_with(flags: list[str], cache: Path) -> Kernels:
    """Kernels with weights in bf16, compiled with further flags into a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FADA_CACHE", str(cache))
        patch.setattr(native_build, "FLAGS", (*native_build.FLAGS, *flags))
        native_build.load_native.cache_clear()
        found = Kernels(half=True)
    native_build.load_native.cache_clear()
    return found


def _close(ours: Tensor, truth: Tensor, rms: float = NATIVE_RMS) -> None:
    assert ours.isfinite().all(), f"not finite, of shape {tuple(ours.shape)}"
    assert (ours.double() - truth).norm() <= rms * truth.norm(), f"of shape {tuple(ours.shape)}"


def _rms(kernels: Kernels) -> float:
    return NATIVE_HALF_RMS if kernels.half else NATIVE_RMS


def _met(kernels: Kernels, x: Tensor) -> Tensor:
    """What a product meets of a weight or an activation, in fp64."""
    return (x.bfloat16() if kernels.half else x).double()


def _poison(kernels: Kernels) -> None:
    """Fill the shared memory with NaN: nothing may be read before it is written."""
    for part in kernels.workspace.parts.values():
        part.fill_(float("nan"))


@pytest.mark.parametrize(
    ("n", "height", "width", "channels", "leaving"),
    [
        (1, 1, 1, 16, 16),
        (5, 20, 20, 96, 96),
        (2, 10, 10, 192, 64),
        (3, 7, 13, 24, 32),
        (1, 40, 40, 64, 256),
        (1, 6, 9, 8, 16),
        (2, 12, 5, 16, 16),
        (9, 2, 3, 40, 48),
        (1, 65, 66, 16, 16),
        (7, 10, 20, 64, 64),
    ],
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
    with torch_threads(threads):
        _poison(kernels)
        plain = kernels.conv3x3(x, kernels.tiles(weight), bias)
        affine = kernels.group_affine(x, 8, gamma, beta, 1e-5, film)
        _poison(kernels)
        fused = kernels.conv3x3(x, kernels.tiles(weight), bias, affine, silu=True, residual=residual)
        activated = kernels.conv3x3(x, kernels.tiles(weight), bias, silu=True)
    arguments = (weight.double(), bias.double())
    _close(plain, F.conv2d(x.double(), *arguments, padding=1), _rms(kernels))
    _close(activated, F.conv2d(F.silu(x.double()), *arguments, padding=1), _rms(kernels))
    if height * width > 1:
        inside = F.silu(normed * (1 + scale) + shift)
        _close(fused, F.conv2d(inside, *arguments, padding=1) + residual, _rms(kernels))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (10, 10), (6, 14), (20, 18)])
@pytest.mark.parametrize("threads", [1, 2])
def test_convolution_of_two_sources_grown_or_shuffled(
    kernels: Kernels, height: int, width: int, threads: int
) -> None:
    n, first, second, leaving = 2, 24, 16, 64
    x, also = torch.randn(n, first, height, width), torch.randn(n, second, height, width)
    weight, bias = torch.randn(leaving, first + second, 3, 3) / 19, torch.randn(leaving)
    scale, shift = torch.randn(n, first + second), torch.randn(n, first + second)
    shared = torch.randn(1, leaving, height, width).contiguous(memory_format=torch.channels_last)
    shuffled = torch.arange(leaving).view(-1, 4).T.flatten()  # channel, pixel -> pixel, channel
    with torch_threads(threads):
        _poison(kernels)
        joined = kernels.conv3x3(
            x, kernels.tiles(weight), bias, (scale, shift), True, shared.expand(n, -1, -1, -1), also=also
        )
        grown = kernels.conv3x3(x, kernels.tiles(weight[:, :first]), bias, grow=True)
        pixels = kernels.conv3x3(
            x, kernels.tiles(weight[shuffled, :first]), bias[shuffled], silu=True, shuffle=True
        )
    both = torch.cat((x, also), 1).double()
    inside = F.silu(both * scale[:, :, None, None] + shift[:, :, None, None])
    _close(joined, F.conv2d(inside, weight.double(), bias.double(), padding=1) + shared, _rms(kernels))
    arguments = (weight[:, :first].double(), bias.double())
    large = F.interpolate(x.double(), scale_factor=2.0, mode="nearest")
    _close(grown, F.conv2d(large, *arguments, padding=1), _rms(kernels))
    _close(pixels, F.pixel_shuffle(F.conv2d(F.silu(x.double()), *arguments, padding=1), 2), _rms(kernels))


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 111, 300])
@pytest.mark.parametrize(("depth", "leaving"), [(3, 16), (192, 384), (3456, 16)])
def test_linear_layers(kernels: Kernels, rows: int, depth: int, leaving: int) -> None:
    x, weight, bias = torch.randn(1, rows, depth), torch.randn(leaving, depth), torch.randn(leaving)
    packed, product = kernels.columns(weight), F.linear(_met(kernels, x), _met(kernels, weight))
    _close(kernels.linear(x, packed, bias), product + bias)
    _close(kernels.linear(x, packed, None), product)
    residual = torch.randn(1, rows, leaving)
    _close(kernels.linear(x, packed, bias, residual, gelu=True), F.gelu(product + bias + residual))


def test_activations_keep_their_digits_everywhere(kernels: Kernels) -> None:
    x = torch.cat((torch.linspace(-120, 120, 4001), torch.tensor([0.0, -1e30, 1e30, 1e-30, -1e-30])))
    x = F.pad(x, (0, -len(x) % 16))
    identity = kernels.columns(torch.eye(16))
    ours = kernels.linear(x.view(-1, 16), identity, None, gelu=True).flatten()
    torch.testing.assert_close(ours.double(), F.gelu(_met(kernels, x)), atol=1e-6, rtol=1e-6)
    if kernels.half:
        return  # rounded between activation and product, as the convolutions above show
    middle = torch.zeros(16, 16, 3, 3)
    middle[range(16), range(16), 1, 1] = 1.0
    soft = x.clamp(-100, 100).view(1, 16, -1, 1)
    kept = kernels.conv3x3(soft, kernels.tiles(middle), torch.zeros(16), silu=True)
    torch.testing.assert_close(kept.double(), F.silu(soft.double()), atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize(
    ("n", "queries", "keys", "keys2"), [(4, 100, 100, 100), (2, 7, 5, 0), (3, 1, 17, 31)]
)
@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("threads", [1, 2])
def test_attention_reads_both_sources_where_they_lie(
    kernels: Kernels, n: int, queries: int, keys: int, keys2: int, width: int, threads: int
) -> None:
    heads = 3
    q, k, v = torch.randn(n, max(queries, keys), 3 * heads * width).chunk(3, dim=-1)
    q, k, v = q[:, :queries], k[:, :keys], v[:, :keys]
    if queries != keys:
        q, k, v = (part.contiguous() for part in (q, k, v))
    share = n // 2 if n % 2 == 0 else n
    k2, v2 = (
        (torch.randn(n // share, keys2, 2 * heads * width) * 2).chunk(2, dim=-1) if keys2 else (None, None)
    )

    def split(x: Tensor) -> Tensor:
        return x.double().unflatten(-1, (heads, width)).transpose(-2, -3)

    with torch_threads(threads):
        _poison(kernels)
        ours = kernels.attention(q, k, v, k2, v2, heads)
    if k2 is not None and v2 is not None:
        k, v = (torch.cat((one, two.repeat_interleave(share, 0)), 1) for one, two in ((k, k2), (v, v2)))
    truth = F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(-2, -3).flatten(-2)
    _close(ours, truth)


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


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (100, 100), (122, 74), (39, 131)])
@pytest.mark.parametrize("turn", [0j, 1.9 + 0j, 1.4 - 0.9j])
def test_moving_a_picture_is_the_torch_steps(
    kernels: Kernels, turn: complex, width: int, height: int, alpha: bool
) -> None:
    """Two pictures, two frames each; the box's edge lies inside a chunk, moves reach beyond the picture too."""
    place = Placement.canvas(width) if not turn else Placement(width, height, Similarity(turn, 20 + 30j))
    place = replace(place, alpha=alpha)
    pictures = torch.randint(0, 256, (2, place.height, place.width, 4), dtype=torch.uint8)
    poses = torch.cat((torch.zeros(2, 6), torch.randn(2, 6) * 0.1))
    moves = torch.rand(4, 20, 24, 8)
    moves[..., :2] = 0.3 * torch.randn(4, 20, 24, 2)
    moves[:2, :, :, 2] = 0
    for pose in (poses, None):
        ours = PictureWarp(place, kernels=kernels)(pictures, pose, moves, (48, 88, 160, 130))
        theirs = PictureWarp(place)(pictures, pose, moves, (48, 88, 160, 130))
        assert ours.shape == theirs.shape == (4, place.height, place.width, place.channels)
        difference = (ours.int() - theirs.int()).abs()
        # places differ in their last bits, and where random moves jump by whole pictures that is seen
        assert difference.float().mean() < 0.05 and (difference > 2).float().mean() < 0.002


@pytest.mark.parametrize("without", [["-mno-avx512f"], ["-mno-avx2"], ["-mno-avx"]])
def test_older_processors_move_pictures_alike(kernels: Kernels, tmp_path: Path, without: list[str]) -> None:
    older = _compiled_with(without, tmp_path)
    place = Placement(122, 74, Similarity(1.4 - 0.9j, 20 + 30j), alpha=True)
    pictures = torch.randint(0, 256, (1, 74, 122, 4), dtype=torch.uint8)
    moves = torch.rand(2, 20, 24, 8) * 0.2
    frames = [
        PictureWarp(place, kernels=each)(pictures, torch.randn(2, 6) * 0, moves, (48, 88, 160, 130))
        for each in (kernels, older)
    ]
    assert (frames[0].int() - frames[1].int()).abs().max() <= 1


def test_what_nothing_moves_is_copied(kernels: Kernels) -> None:
    pictures = torch.randint(0, 256, (1, 70, 90, 4), dtype=torch.uint8)
    place = Placement(90, 70, Similarity(1.1 + 0.3j, 0j), alpha=True)
    frames = PictureWarp(place, kernels=kernels)(pictures, None, torch.zeros(1, 8, 8, 8), (48, 88, 160, 130))
    assert torch.equal(frames, pictures)


@pytest.mark.parametrize("without", [["-U__AMX_BF16__"], ["-U__AMX_BF16__", "-U__AVX512BF16__"]])
def test_processors_without_bf16_units_do_as_those_with(tmp_path: Path, without: list[str]) -> None:
    """Vectors multiply what matrix units do, and the portable form takes it apart; the sums' order differs."""
    portable = _compiled_with(without, tmp_path)
    assert not portable.has_matrix_units
    x, weight = torch.randn(2, 24, 9, 14), torch.randn(32, 24, 3, 3) / 15
    ours = portable.conv3x3(x, portable.tiles(weight), torch.zeros(32))
    _close(ours, F.conv2d(x.double(), weight.double(), padding=1), NATIVE_HALF_RMS)
    rows, columns = torch.randn(37, 51), torch.randn(48, 51)
    product = portable.linear(rows, portable.columns(columns), None)
    _close(product, F.linear(_met(portable, rows), _met(portable, columns)))


@pytest.mark.parametrize("depth", [8, 24, 48, 64, 104])
def test_products_of_any_height_are_added_once(kernels: Kernels, depth: int) -> None:
    """Tiles of matrix units overlap where rows do not divide; in place, a row added twice would show."""
    for rows in (*range(1, 18), 31, 32, 33, 47, 49, 65):
        _check_added_once(kernels, rows, depth)


def _check_added_once(kernels: Kernels, rows: int, depth: int) -> None:
    x, weight, bias = torch.randn(rows, depth), torch.randn(48, depth), torch.randn(48)
    residual, packed = torch.randn(rows, 48), kernels.columns(weight)
    plain = F.linear(_met(kernels, x), _met(kernels, weight))
    _close(kernels.linear(x, packed, None), plain)
    truth = F.gelu(plain + bias.double() + residual.double())
    y = residual.clone()
    kernels.library.fada_linear(
        x.data_ptr(), packed.data_ptr(), bias.data_ptr(), y.data_ptr(), y.data_ptr(), rows, depth, 48, True, 1
    )
    _close(y, truth)


def test_matrix_units_are_left_as_they_were_found(tmp_path: Path) -> None:
    kernels = _compiled_with(["-DFADA_PRETEND_TILES"], tmp_path)
    kernels.linear(torch.randn(40, 64), kernels.columns(torch.randn(32, 64)), None)
    assert kernels.library.fada_pretended_palette() == 0


def test_a_layer_too_deep_for_bf16_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 4096"):
        pack_columns(torch.zeros(16, 4098), half=True)


def test_without_a_compiler_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    native_build.load_native.cache_clear()
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NativeError, match="Expected a C compiler"):
        native_build.load_native()
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(NativeError, match="no such luck"):
        native_build.load_native()
    assert not list((tmp_path / "native").glob("*.so"))


def test_a_cache_that_cannot_be_written_is_a_sentence_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    native_build.load_native.cache_clear()
    (tmp_path / "file").touch()
    monkeypatch.setenv("FADA_CACHE", str(tmp_path / "file"))
    with pytest.raises(NativeError, match=r"cannot be kept in .*FADA_CACHE=/path"):
        native_build.load_native()


@pytest.mark.parametrize(("rows", "columns"), [(80, 80), (12, 20)])
def test_what_the_moving_decoder_says_is_packed_as_by_torch(
    kernels: Kernels, rows: int, columns: int
) -> None:
    """Both are slices of what a convolution padded, as the decoder's are."""
    coarse = torch.randn(3, rows // 2, columns // 2, 16).permute(0, 3, 1, 2)[:, :2]
    leaves = (3 * torch.randn(3, rows, columns, 32)).permute(0, 3, 1, 2)[:, :18]
    truth = packed(read_leaves(coarse, leaves, 2), 256)
    fades = edge_ramp(2 * columns, coarse.device), edge_ramp(2 * rows, coarse.device)
    ours = kernels.pack_moves(coarse, leaves, FLOW_SCALE_PX * 2 / 256, MATTE_BIAS, fades)
    assert ours.shape == truth.shape == (3, 2 * rows, 2 * columns, 8)
    assert (ours - truth).abs().max() < 2e-6
