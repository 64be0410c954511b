"""This machine's own CPU kernels as calls on tensors.

In flow fp32 tensors, channels-last in memory; out flow new ones. Any thread, one at a time per `Workspace`.

Source: `native.c` and its headers beside this file, loaded by `kernels.native.build`; tests hold each function to
its PyTorch form.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.native.build import load_native
from kernels.native.memory import LargePages, Workspace

LANES: Final = 8
COLUMNS: Final = 16
FEW_KEYS: Final = 64
NORM_CHANNELS: Final = 2048
TILE: Final = 6
CHUNK: Final = 32
HALF_DEPTH: Final = 4096  # `ROUNDED` values are 12 rows of that
SERIAL_WORK: Final = 500_000
WIDEST: Final = 4096

_I, _P, _S, _F = ctypes.c_int, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float
_CALLS: Final[dict[str, tuple[Any, ...]]] = {
    "conv3x3": (_P, _P, *[_I] * 6, _P, _P, _I, _P, _I, _P, _P, _S, _P, _I, _P, _I),
    "conv3x3_scratch": (_I,) * 6,
    "linear": (*[_P] * 5, *[_I] * 5),
    "group_affine": (_P, *[_I] * 4, _P, _P, _P, _F, _P, _P, _I),
    "few_keys": (*[_P] * 4, *[_I] * 6, *[_P] * 4, _I),
    "attention": (_P, _S, *[_I] * 4, _P, _P, _I, _S, _P, _P, _I, _S, _I, _P, _P, _I),
    "attention_scratch": (_I,) * 3,
    "norm_linear": (_P, _I, _I, _P, _P, _F, _P, _I, _I, _P, _I, _P, _P, _I),
    "res_block": (*[_P] * 3, *[_I] * 4, *[_P] * 4, _I),
    "res_block_scratch": (_P, *[_I] * 4),
    "transformer": (*[_P] * 6, _I),
    "transformer_scratch": (_P, _P, _I),
    "paint": (_P, *[_I] * 4, _P, *[_I] * 5),
    "warp": (_P, *[_I] * 3, _P, _P, _I, _P, _P, _I),
    "pack_moves": (_P, _I, _P, *[_I] * 4, _F, _F, *[_P] * 4, _I),
    "move": (_P, *[_I] * 4, _P, *[_I] * 2, _P, *[_I] * 2, _P, _I, _P, _I),
}
"""Argument types of the library's functions, whose names begin with ``fada_``."""


def pointer(x: Tensor | None) -> int | None:
    """Where a tensor's data lies."""
    return None if x is None else x.data_ptr()


def _strides(x: Tensor) -> Any:
    return (ctypes.c_ssize_t * 3)(*x.stride()[:3])


def _rows_of(x: Tensor) -> Tensor:
    """(N, C, H, W) as it must lie for C: channels last. No copy where it does."""
    return x.contiguous(memory_format=torch.channels_last)


def winograd_weight(weight: Tensor, half: bool = False) -> Tensor:
    """(O, C, 3, 3) -> (36, O / 16, C, 16), or with ``half`` (36, O / 16, C / 2, 16, 2) in bf16: G w Gᵀ, packed for
    `Kernels.conv3x3`; in fp64 inside.
    """
    g = torch.tensor(
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
         [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], dtype=torch.float64,
    )  # fmt: skip
    tiles = torch.einsum("ai,ocij,bj->aboc", g, weight.double(), g).flatten(0, 1)
    leaving, channels = weight.shape[:2]
    tiles = tiles.reshape(TILE * TILE, leaving // COLUMNS, COLUMNS, channels)
    if half:  # pairs of channels beside each other
        tiles = tiles.reshape(*tiles.shape[:3], channels // 2, 2).transpose(2, 3)
        return tiles.bfloat16().contiguous()
    return tiles.transpose(2, 3).float().contiguous()


def pack_columns(weight: Tensor, half: bool = False) -> Tensor:
    """(O, K) -> (O / 16, K, 16), or with ``half`` (O / 16, ceil(K / 2), 16, 2) in bf16, for `Kernels.linear`.

    Raises:
        ValueError: more than `HALF_DEPTH` inputs in bf16.
    """
    leaving, depth = weight.shape
    if half:
        if depth > HALF_DEPTH:
            raise ValueError(f"Expected at most {HALF_DEPTH} inputs of a layer in bf16, got {depth}.")
        pairs = F.pad(weight, (0, depth % 2)).reshape(leaving // COLUMNS, COLUMNS, -1, 2)
        return pairs.transpose(1, 2).bfloat16().contiguous()
    return weight.float().reshape(leaving // COLUMNS, COLUMNS, depth).transpose(1, 2).contiguous()


def chunk_fields(fields: Tensor, height: int, width: int) -> Tensor:
    """(K, H W 2) -> (H, ceil(W / 32), K, 2, 32) for `Kernels.warp`: a chunk of a row has its fields together."""
    rows = F.pad(fields.view(-1, height, width, 2), (0, 0, 0, -width % CHUNK))
    rows = rows.view(len(rows), height, -1, CHUNK, 2)
    return rows.permute(1, 2, 0, 4, 3).contiguous()


def threads_for(work: int) -> int:
    """Threads for a call of about that many vector operations: a small one is done before others would wake.

    On a busy machine the others may first have to be given a processor, and the call waits for them.
    """
    return torch.get_num_threads() if work > SERIAL_WORK else 1


class Kernels:
    """The kernels as calls on fp32 tensors: CPU, channels-last; ``half``: weights and what they meet are bf16.

    ``has_matrix_units`` says whether a processor's matrix units (AMX) multiply these.
    """

    def __init__(self, half: bool = False) -> None:
        """Raises `kernels.native.build.NativeError` where they cannot be had."""
        self.half = half
        library = load_native(half)
        for name, types in _CALLS.items():
            call = getattr(library, f"fada_{name}")
            call.argtypes = types
            call.restype = _S if name.endswith("_scratch") else None
        self.has_matrix_units = bool(library.fada_open())
        self.library = library
        self.workspace = Workspace()
        self.keep = LargePages().keep

    def __deepcopy__(self, memo: dict[int, Any]) -> Kernels:
        return self  # a loaded library is what it is; copies of a model share it

    def tiles(self, weight: Tensor) -> Tensor:
        """The weight (O, C, 3, 3) of a convolution as `conv3x3` takes it."""
        return winograd_weight(weight, self.half)

    def columns(self, weight: Tensor) -> Tensor:
        """The weight (O, K) of a linear layer as `linear` takes it."""
        return pack_columns(weight, self.half)

    def group_affine(
        self, x: Tensor, groups: int, gamma: Tensor, beta: Tensor, eps: float, film: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """GroupNorm of x (N, C, H, W), then film (N, 2C) of [scale | shift], as scale and shift (N, C) of x.

        C is a multiple of 8, at most `NORM_CHANNELS`.
        """
        x = _rows_of(x)
        n, channels, height, width = x.shape
        assert channels % LANES == 0 and channels <= NORM_CHANNELS
        film = None if film is None else film.contiguous()
        scale, shift = torch.empty(n, channels), torch.empty(n, channels)
        self.library.fada_group_affine(
            x.data_ptr(), n, height * width, channels, groups, gamma.data_ptr(), beta.data_ptr(), pointer(film),
            eps, scale.data_ptr(), shift.data_ptr(), threads_for(x.numel()),
        )  # fmt: skip
        return scale, shift

    def conv3x3(
        self,
        x: Tensor,
        tiles: Tensor,
        bias: Tensor,
        affine: tuple[Tensor, Tensor] | None = None,
        silu: bool = False,
        residual: Tensor | None = None,
        *,
        also: Tensor | None = None,
        grow: bool = False,
        shuffle: bool = False,
    ) -> Tensor:
        """3x3 convolution, padding 1, of x or SiLU(x) or SiLU(x * scale + shift), plus bias and residual.

        Args:
            x: (N, C, H, W) with C a multiple of 8.
            tiles: of `Kernels.tiles`, O a multiple of 16.
            bias: (O,).
            affine: scale and shift (N, C) before SiLU.
            silu: apply SiLU first.
            residual: like what is returned, to add; neighbouring pictures may be one (stride 0).
            also: (N, C2, H, W) joined behind x by channel; affine and tiles are of C + C2.
            grow: read pictures twice as large, each pixel four times (nearest).
            shuffle: write (N, O / 4, 2H, 2W): output channels are (row, column, channel) of `pixel_shuffle`, whose
                own order is (channel, row, column); O a multiple of 32.

        Returns:
            (N, O, H, W), channels-last; H and W of the grown picture, and as ``shuffle`` says.
        """
        x, also = _rows_of(x), None if also is None else _rows_of(also)
        n, first, height, width = x.shape
        height, width = height << grow, width << grow
        channels = first + (0 if also is None else also.shape[1])
        leaving = tiles.shape[1] * COLUMNS
        assert channels * COLUMNS == tiles[0, 0].numel() and first % LANES == channels % LANES == 0
        assert tiles.dtype == (torch.bfloat16 if self.half else torch.float32)
        assert not shuffle or leaving % (4 * LANES) == 0
        threads = threads_for(height * width * n * channels * leaving // 2)
        scratch = self.scratch("conv3x3", n, height, width, channels, leaving, threads)
        scale, shift = affine or (None, None)
        shape = (n, 2 * height, 2 * width, leaving // 4) if shuffle else (n, height, width, leaving)
        out = torch.empty(shape)
        if residual is not None and not residual[0].permute(1, 2, 0).is_contiguous():
            residual = _rows_of(residual)
        step = 0 if residual is None else residual.stride(0)
        self.library.fada_conv3x3(
            x.data_ptr(), pointer(also), n, height, width, channels, first, grow, pointer(scale), pointer(shift),
            silu, tiles.data_ptr(), leaving, bias.data_ptr(), pointer(residual), step, out.data_ptr(), shuffle,
            scratch.data_ptr(), threads,
        )  # fmt: skip
        return out.permute(0, 3, 1, 2)

    def linear(
        self,
        x: Tensor,
        packed: Tensor,
        bias: Tensor | None,
        residual: Tensor | None = None,
        gelu: bool = False,
    ) -> Tensor:
        """x (..., K) times `columns` of a weight (O, K), plus bias and residual, through GELU -> (..., O)."""
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        leaving = packed.shape[0] * COLUMNS
        out = torch.empty(*x.shape[:-1], leaving)
        residual = None if residual is None else residual.contiguous()
        self.library.fada_linear(
            rows.data_ptr(), packed.data_ptr(), pointer(bias), pointer(residual), out.data_ptr(), len(rows),
            rows.shape[1], leaving, gelu, threads_for(out.numel() * rows.shape[1] // LANES),
        )  # fmt: skip
        return out

    def attention(
        self, q: Tensor, k: Tensor, v: Tensor, k2: Tensor | None, v2: Tensor | None, heads: int
    ) -> Tensor:
        """softmax(q kᵀ / sqrt(D)) v over one or two sources of keys, heads side by side.

        Args:
            q: (N, L, H D), D a multiple of 16; rows may be wider than H D in memory, as those of k and v.
            k, v: (N, K, H D).
            k2, v2: (N2, K2, H D), each row shared by N / N2 neighbours, or None.
            heads: H.

        Returns:
            (N, L, H D).
        """
        n, queries, wide = q.shape
        width = wide // heads
        for part in (q, k, v, k2, v2):
            assert part is None or part.shape[0] == 1 or part.stride(0) == part.shape[1] * part.stride(1)
            assert part is None or part.stride(2) == 1
        assert width % COLUMNS == 0
        keys, keys2 = k.shape[1], 0 if k2 is None else k2.shape[1]
        threads = threads_for(2 * n * queries * (keys + keys2) * wide // LANES)
        scratch = self.scratch("attention", keys + keys2, width, threads)
        out = torch.empty(n, queries, wide)
        wide2, share = (0, 1) if k2 is None else (k2.stride(1), n // k2.shape[0])
        self.library.fada_attention(
            q.data_ptr(), q.stride(1), n, queries, heads, width, k.data_ptr(), v.data_ptr(), keys, k.stride(1),
            pointer(k2), pointer(v2), keys2, wide2, share, out.data_ptr(), scratch.data_ptr(), threads,
        )  # fmt: skip
        return out

    def few_keys(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        """Attention of q (A, B, Lq, H D) over at most 64 keys (A, B, Lk, H D), any outer strides.

        Returns:
            Like q, with q's order of memory.
        """
        first, second, queries, width = q.shape
        assert q.stride(3) == k.stride(3) == v.stride(3) == 1 and k.shape[2] <= FEW_KEYS
        out = torch.empty_like(q)
        self.library.fada_few_keys(
            q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(), first, second, heads, queries, k.shape[2],
            width // heads, _strides(q), _strides(k), _strides(v), _strides(out),
            threads_for(q.numel() * k.shape[2]),
        )  # fmt: skip
        return out

    def paint(self, x: Tensor, canvas: Tensor, stem: int, top: int, left: int) -> None:
        """Write colour and matte x (N, 4 S S, h, w) over the reference that canvas (N, H, W, 3) holds, in place."""
        x = _rows_of(x)
        n, _, rows, columns = x.shape
        _, height, width, _ = canvas.shape
        assert canvas.is_contiguous() and x.shape[1] == 4 * stem * stem and stem in (4, 8)
        self.library.fada_paint(
            x.data_ptr(), n, rows, columns, stem, canvas.data_ptr(), height, width, top, left,
            threads_for(16 * x.numel()),
        )  # fmt: skip

    def warp(self, canvas: Tensor, rest: Tensor, fields: Tensor, coefficients: Tensor) -> Tensor:
        """Canvas (N, H, W, 3) in [0, 1] moved by `HeadWarp`'s fields, to bytes (N, H, W, 3).

        Args:
            canvas: contiguous.
            rest, fields: of `chunk_fields`.
            coefficients: (N, K).
        """
        n, height, width, _ = canvas.shape
        assert canvas.is_contiguous() and coefficients.is_contiguous()
        out = torch.empty(canvas.shape, dtype=torch.uint8)
        self.library.fada_warp(
            canvas.data_ptr(), n, height, width, rest.data_ptr(), fields.data_ptr(), fields.shape[2],
            coefficients.data_ptr(), out.data_ptr(), threads_for(64 * out.numel()),
        )  # fmt: skip
        return out

    def move(
        self, pictures: Tensor, offsets: Tensor, moves: Tensor, box: Sequence[float], alpha: bool = False
    ) -> Tensor:
        """Pictures (B, H, W, 4), moved by the head's pose and within the face, to bytes (N, H, W, 3 or 4).

        Args:
            pictures: uint8, contiguous, W <= `WIDEST`; each serves N / B frames that follow each other.
            offsets: (N, h, w, 2) how far from its pixel the pose reads, in [-1, 1] of the picture.
            moves: (N, h, w, 8) of `models.modules.mover.packed`, flow in [-1, 1] of the picture.
            box: six numbers that lay a place (x, y) on what the moves lie over: across is
                ``box[0] x + box[1] y + box[2]`` of its width, down the same of the other three.
            alpha: give the fourth byte of each pixel too.
        """
        n, (rows, height, width, _) = len(moves), pictures.shape
        down, across = offsets.shape[1:3]
        assert pictures.dtype == torch.uint8 and pictures.shape[3] == 4 and len(box) == 6
        assert pictures.is_contiguous() and offsets.is_contiguous() and moves.is_contiguous()
        assert n % rows == 0 and len(offsets) == n and width <= WIDEST and moves.shape[3] == 8
        out = torch.empty((n, height, width, 4 if alpha else 3), dtype=torch.uint8)
        self.library.fada_move(
            pictures.data_ptr(), n, n // rows, height, width, offsets.data_ptr(), down, across,
            moves.data_ptr(), *moves.shape[1:3], (ctypes.c_float * 6)(*box), out.shape[3], out.data_ptr(),
            threads_for(16 * out.numel()),
        )  # fmt: skip
        return out

    def pack_moves(
        self, coarse: Tensor, leaves: Tensor, scale: float, bias: float, fades: tuple[Tensor, Tensor]
    ) -> Tensor:
        """What a moving decoder's last layers say, as `move` takes it: `models.modules.mover.packed`, in one pass.

        Args:
            coarse: (N, 2, h / 2, w / 2) flow of more than one pixel's neighbours, channels-last; may be a slice.
            leaves: (N, 18, h, w) flow's residual, and colour and matte of two times two pixels each; likewise.
            scale: of the flow, in [-1, 1] of the canvas.
            bias: of the matte.
            fades: (2 w,) and (2 h,), what flow and matte keep by column and row; the lesser counts.

        Returns:
            (N, 2 h, 2 w, 8).
        """
        n, channels, rows, columns = leaves.shape
        assert channels == 18 and coarse.shape == (n, 2, rows // 2, columns // 2)
        for part in (coarse, leaves):
            pixel = part.stride(3)
            assert part.stride() == (part.shape[2] * part.shape[3] * pixel, 1, part.shape[3] * pixel, pixel)
        flows, out = torch.empty(n, rows, columns, 2), torch.empty(n, 2 * rows, 2 * columns, 8)
        fade_x, fade_y = fades
        assert len(fade_x) == 2 * columns and len(fade_y) == 2 * rows
        self.library.fada_pack_moves(
            coarse.data_ptr(), coarse.stride(3), leaves.data_ptr(), leaves.stride(3), n, rows, columns, scale, bias,
            fade_x.data_ptr(), fade_y.data_ptr(), flows.data_ptr(), out.data_ptr(), threads_for(out.numel()),
        )  # fmt: skip
        return out

    def scratch(self, call: str, *sizes: int) -> Tensor:
        """Memory for a call of those sizes."""
        return self.workspace.take("scratch", getattr(self.library, f"fada_{call}_scratch")(*sizes))
