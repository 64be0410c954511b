"""What `fada bench kernels` compares: each kernel at a network's shapes, and the library's ways to the same.

In flow a device and a dtype; out flow cases one by one, since their tensors are large. A case is one line: kernel
only (inputs as the library's call wants them) or the whole chain (from what the network has to what it
needs: joins, rearrangements, projections, norm and residual included). Useful FLOP and the bytes that must
move are counted from the shapes, nothing padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.gpu_kernels.library_attention import Attend, library_attentions
from kernels.attention import attention
from kernels.cross import absorb_context, cross_attention
from kernels.norm import absorb_control, group_norm_silu
from kernels.temporal import temporal_attention, temporal_reference
from kernels.values import Control

Arm = Callable[[], Tensor]
OWN = "own"


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table."""

    op: str
    shape: str
    line: str  # "kernel" or "chain"
    tflop: float  # useful, in 1e12
    gigabytes: float  # that must move: inputs once, output once
    truth: Callable[[], Tensor]  # fp32, of the part that `part` takes from an arm's result
    part: Callable[[Tensor], Tensor]
    arms: dict[str, Arm] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a network: frames, pixels on a side, heads, their width, tokens of sound."""

    name: str
    frames: int
    side: int
    heads: int
    width: int
    motion: int = 4
    sound: int = 32
    groups: int = 32

    @property
    def pixels(self) -> int:
        return self.side**2

    @property
    def channels(self) -> int:
        return self.heads * self.width


CUDA_LEVELS = (
    Level("64²", 16, 64, 8, 40),
    Level("32²", 16, 32, 8, 80),
    Level("16²", 16, 16, 8, 160),
)
CPU_LEVELS = (Level("small 10²", 5, 10, 6, 32, motion=2, sound=6, groups=16),)


def cases(device: torch.device, dtype: torch.dtype, *, compiled: bool) -> Iterator[Case]:
    """Every case of the device's levels; the CPU's are the small preset's own, one hop of one session.

    Args:
        device: "cuda" or "cpu".
        dtype: of all tensors.
        compiled: with the arms that torch.compile makes, which take seconds each.
    """
    for level in CUDA_LEVELS if device.type == "cuda" else CPU_LEVELS:
        draw = _Draw(device, dtype, compiled)
        yield from _self_and_reference(level, draw)
        yield from _temporal(level, draw)
        yield from _cross(level, draw)
        yield from _norm(level, draw)


class _Draw:
    """Unit-normal tensors of one device and dtype, always the same."""

    def __init__(self, device: torch.device, dtype: torch.dtype, compiled: bool) -> None:
        self.device, self.dtype, self.compiled = device, dtype, compiled
        self.bytes = dtype.itemsize
        self._source = torch.Generator(device).manual_seed(0)

    def __call__(self, *shape: int, gain: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=self._source, device=self.device) * gain).to(self.dtype)

    def libraries(self) -> dict[str, Attend]:
        return library_attentions(self.device, compiled=self.compiled)

    def with_own(self, arms: dict[str, Arm], own: Arm) -> dict[str, Arm]:
        """On a CPU the kernels do not run, and the interpreter's time is not a speed."""
        return arms | ({OWN: own} if self.device.type == "cuda" else {})


def _exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = q.float(), k.float(), v.float()
    return torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1) @ v


def _self_and_reference(level: Level, draw: _Draw) -> Iterator[Case]:
    frames, pixels, heads, width = level.frames, level.pixels, level.heads, level.width
    wide = draw(frames, pixels, 3, heads, width)  # as a joint projection leaves it
    q, k, v = (wide[:, :, part].transpose(1, 2) for part in range(3))
    k2, v2 = draw(2, 1, pixels, heads, width).transpose(2, 3).unbind()

    def join() -> tuple[Tensor, Tensor]:
        more_k, more_v = (bank.expand(frames, -1, -1, -1) for bank in (k2, v2))
        return torch.cat((k, more_k), 2), torch.cat((v, more_v), 2)

    joined_k, joined_v = join()
    own = lambda: attention(q, k, v, k2=k2, v2=v2)  # noqa: E731
    tflop = 4e-12 * frames * heads * pixels * 2 * pixels * width
    gigabytes = (4 * frames + 2) * pixels * level.channels * draw.bytes / 1e9
    truth = lambda: _exact(q[:1], joined_k[:1], joined_v[:1])  # noqa: E731
    kernel: dict[str, Arm] = {}
    chain: dict[str, Arm] = {}
    for name, attend in draw.libraries().items():
        kernel[name] = lambda attend=attend: attend(q, joined_k, joined_v)  # type: ignore[misc]
        chain[name] = lambda attend=attend: attend(q, *join())  # type: ignore[misc]
    for line, arms in (("kernel", kernel), ("chain", chain)):
        arms = draw.with_own(arms, own)
        yield Case("self+reference", level.name, line, tflop, gigabytes, truth, lambda out: out[:1], arms)


def _temporal(level: Level, draw: _Draw) -> Iterator[Case]:
    frames, pixels, heads = level.frames, level.pixels, level.heads
    seen = frames + level.motion
    q = draw(1, frames, pixels, level.channels)
    k, v = draw(2, 1, frames, pixels, level.channels).unbind()
    k2, v2 = draw(2, 1, level.motion, pixels, level.channels).unbind()

    def regroup(part: Tensor) -> Tensor:  # (1, F, L, C) -> (L, H, F, D)
        return part[0].transpose(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2)

    def whole(attend: Attend) -> Tensor:
        keys, values = (regroup(torch.cat(pair, 1)).contiguous() for pair in ((k2, k), (v2, v)))
        out = attend(regroup(q).contiguous(), keys, values)
        return out.transpose(1, 2).flatten(2).transpose(0, 1)[None].contiguous()

    ready = [regroup(part).contiguous() for part in (q, torch.cat((k2, k), 1), torch.cat((v2, v), 1))]
    tflop = 4e-12 * pixels * heads * frames * seen * level.width
    gigabytes = (2 * frames + 2 * seen) * pixels * level.channels * draw.bytes / 1e9
    own = lambda: temporal_attention(q, k, v, heads=heads, k2=k2, v2=v2)  # noqa: E731
    wide = [part.float() for part in (q, k, v, k2, v2)]
    truth = lambda: temporal_reference(*wide[:3], heads=heads, k2=wide[3], v2=wide[4])  # noqa: E731
    grouped = lambda: regroup(truth())  # noqa: E731
    kernel: dict[str, Arm] = {}
    chain: dict[str, Arm] = {}
    for name, attend in draw.libraries().items():
        kernel[name] = lambda attend=attend: attend(*ready)  # type: ignore[misc]
        chain[name] = lambda attend=attend: whole(attend)  # type: ignore[misc]
    kernel = draw.with_own(kernel, lambda: regroup(own()))
    chain = draw.with_own(chain, own)
    yield Case("temporal", level.name, "kernel", tflop, gigabytes, grouped, lambda out: out, kernel)
    yield Case("temporal", level.name, "chain", tflop, gigabytes, truth, lambda out: out, chain)


def _cross(level: Level, draw: _Draw) -> Iterator[Case]:
    frames, pixels, channels, heads, sound = (
        level.frames, level.pixels, level.channels, level.heads, level.sound,
    )  # fmt: skip
    x, k, v = draw(frames, pixels, channels), draw(frames, sound, channels), draw(frames, sound, channels)
    to_q, to_out = draw(2, channels, channels, gain=channels**-0.5).unbind()
    gain, offset, bias = draw(3, channels).unbind()
    split = lambda part: part.unflatten(-1, (heads, -1)).transpose(1, 2)  # noqa: E731

    def whole(attend: Attend, *, wide: bool = False) -> Tensor:
        cast = (
            (lambda part: part[:1].float() if part.ndim == 3 else part.float())
            if wide
            else (lambda part: part)
        )
        tokens, keys, values = cast(x), cast(k), cast(v)
        normed = F.layer_norm(tokens, (channels,), cast(gain), cast(offset))
        out = attend(split(F.linear(normed, cast(to_q))), split(keys), split(values))
        return tokens + 3.0 * F.linear(out.transpose(1, 2).flatten(2), cast(to_out), cast(bias))

    context = absorb_context(k, v, to_q=to_q, to_out=to_out, heads=heads, norm_weight=gain, norm_bias=offset)
    fused = lambda: cross_attention(x, context, out_bias=bias, out_scale=3.0)  # noqa: E731
    tflop = 4e-12 * frames * pixels * channels * heads * sound  # absorbed: the least work there is
    gigabytes = (2 * frames * pixels + 2 * frames * heads * sound) * channels * draw.bytes / 1e9
    chain: dict[str, Arm] = {}
    kernel: dict[str, Arm] = {}
    q = F.linear(x, to_q)
    for name, attend in draw.libraries().items():
        chain[name] = lambda attend=attend: whole(attend)  # type: ignore[misc]
        kernel[name] = lambda attend=attend: attend(split(q), split(k), split(v))  # type: ignore[misc]
    if draw.device.type == "cuda":
        chain[OWN] = fused
        kernel[OWN] = lambda: attention(split(q), split(k), split(v))
    else:
        chain["absorbed, in PyTorch"] = fused
    plain = 4e-12 * frames * pixels * sound * channels
    moved = 2 * frames * (pixels + sound) * channels * draw.bytes / 1e9
    exact = lambda: _exact(split(q[:1]), split(k[:1]), split(v[:1]))  # noqa: E731
    yield Case("audio cross", level.name, "kernel", plain, moved, exact, lambda out: out[:1], kernel)
    truth = lambda: whole(_exact, wide=True)  # noqa: E731
    yield Case("audio cross", level.name, "chain", tflop, gigabytes, truth, lambda out: out[:1], chain)


def _norm(level: Level, draw: _Draw) -> Iterator[Case]:
    frames, channels, groups, side = level.frames, level.channels, level.groups, level.side
    x = draw(frames, channels, side, side).contiguous(memory_format=torch.channels_last)
    gain, offset = draw(2, channels).unbind()
    film = draw(frames, 2 * channels, gain=0.3)
    scale, shift = film.chunk(2, dim=1)
    gigabytes = 2 * x.numel() * draw.bytes / 1e9
    tflop = 10e-12 * x.numel()

    def eager(part: Tensor, *, wide: bool = False) -> Tensor:
        weight, bias = (gain.float(), offset.float()) if wide else (gain, offset)
        return F.silu(F.group_norm(part, groups, weight, bias, 1e-5))

    plain = lambda **how: group_norm_silu(x, groups, gain, offset, **how)  # noqa: E731
    arms: dict[str, Arm] = {"eager": lambda: eager(x), "reference": lambda: plain(backend="reference")}
    if draw.device.type == "cuda":
        if draw.compiled:
            compiled = torch.compile(eager, dynamic=False)
            arms["compiled"] = lambda: compiled(x)
        arms[OWN] = plain
    truth = lambda: eager(x.float(), wide=True)  # noqa: E731
    yield Case("groupnorm+silu", level.name, "chain", tflop, gigabytes, truth, lambda out: out, arms)

    base, ref, audio = draw(3, 4, 64).unbind()
    layer, bias = draw(2 * channels, 256, gain=0.05), draw(2 * channels, gain=0.05)
    s_ref = s_aud = torch.ones(1, device=draw.device)
    control = Control(absorb_control(layer, bias, base, ref, audio), s_ref, s_aud)

    def controlled(part: Tensor, *, wide: bool = False) -> Tensor:
        cast = (lambda t: t.float()) if wide else (lambda t: t)
        tokens = (
            cast(base) + s_ref.to(part.dtype) * cast(ref - base) + s_aud.to(part.dtype) * cast(audio - ref)
        )
        mixed = F.linear(tokens.flatten()[None].expand(frames, -1), cast(layer), cast(bias)) + cast(film)
        factor, summand = mixed[:, :, None, None].chunk(2, dim=1)
        h = F.group_norm(part, groups, cast(gain), cast(offset), 1e-5)
        return F.silu(torch.addcmul(summand, h, 1 + factor))

    fused = lambda: plain(scale=scale, shift=shift, control=control)  # noqa: E731
    arms = {"control layer + eager": lambda: controlled(x)}
    arms |= {OWN: fused} if draw.device.type == "cuda" else {"absorbed, in PyTorch": fused}
    truth_2 = lambda: controlled(x.float(), wide=True)  # noqa: E731
    yield Case("cfg control", level.name, "chain", tflop, gigabytes, truth_2, lambda out: out, arms)
