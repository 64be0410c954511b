"""`fada bench kernels`: attention kernels against PyTorch's best, in paired rounds.

In flow nothing but the device; out flows a report. On CUDA the Triton kernel meets PyTorch's fused attention
with each of its backends, both given the same two sources (PyTorch must join them first). On a CPU, where the
kernel does not run, the written-out formula meets the fused one. An arm is timed only after it agreed with
the fp32 reference.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from bench.pairs import Timer, compare, time_rounds, wall_ms
from bench.report import make_report
from kernels.attention import has_triton
from kernels.reference import attention_naive, attention_sdpa

RMS_LIMIT = 5e-3
"""Largest RMS of the error over that of the truth with which an arm may be timed, in bf16 and fp32."""

_SDPA_BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One attention of a network: B rows, H heads, Lq queries, Lk own and Lk2 reference keys, width D."""

    name: str
    batch: int
    heads: int
    queries: int
    keys: int
    reference: int
    width: int

    def tflop(self) -> float:
        """Useful work, two products of 2·MAC each, in 1e12."""
        return 4e-12 * self.batch * self.heads * self.queries * (self.keys + self.reference) * self.width


CUDA_SHAPES = (
    AttentionShape("base self+ref 64²", 16, 8, 4096, 4096, 4096, 40),
    AttentionShape("base self+ref 32²", 16, 8, 1024, 1024, 1024, 80),
    AttentionShape("base self+ref 16²", 16, 8, 256, 256, 256, 160),
    AttentionShape("base audio 64²", 16, 8, 4096, 32, 0, 40),
    AttentionShape("base temporal 64²", 4096, 8, 16, 16, 0, 40),
    AttentionShape("small self+ref 10²", 20, 6, 100, 100, 100, 32),
)
CPU_SHAPES = (
    AttentionShape("small self+ref 10²", 5, 6, 100, 100, 100, 32),
    AttentionShape("small audio 10²", 5, 6, 100, 6, 0, 32),
    AttentionShape("small temporal 10²", 100, 6, 5, 7, 0, 32),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=20)


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Check, then time every shape.

    Raises:
        ValueError: a CUDA device was asked for without Triton.
    """
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    on_cuda = device.type == "cuda"
    if on_cuda and not has_triton():
        raise ValueError("expected the package triton beside CUDA, it is not installed; use --device cpu.")
    rows = []
    with torch.inference_mode():
        for shape in tqdm(CUDA_SHAPES if on_cuda else CPU_SHAPES, unit="shape", disable=None):
            rows += measure(shape, device, dtype, args.rounds)
    return make_report(
        "kernels",
        method="Arms in turn (A B, B A, …), each a median of its rounds; on CUDA each round is the median of "
        "triton.testing.do_bench with a cold L2. Useful FLOP only (D as it is, not padded). speedup is the "
        "median of per-round ratios of the first arm's time to the arm's.",
        shapes={"device": str(device), "dtype": args.dtype, "rounds": args.rounds},
        figures={"attention": rows},
    )


def measure(
    shape: AttentionShape, device: torch.device, dtype: torch.dtype, rounds: int
) -> list[dict[str, Any]]:
    """All arms of one shape: their times, or why an arm was left out."""
    inputs = draw_inputs(shape, device, dtype)
    arms = build_arms(inputs, device)
    first = inputs.first_row()
    truth = attention_naive(first.q, first.k, first.v, k2=first.k2, v2=first.v2)
    rows: list[dict[str, Any]] = []
    sound: dict[str, Callable[[], object]] = {}
    for name, arm in arms.items():
        try:
            error = _rms_ratio(arm()[:1], truth)
        except RuntimeError as refusal:  # a backend that does not take this shape
            rows.append({"shape": shape.name, "arm": name, "left_out": str(refusal).splitlines()[0][:160]})
            continue
        if error > RMS_LIMIT:
            rows.append({"shape": shape.name, "arm": name, "left_out": f"wrong by {error:.1e} RMS"})
        else:
            sound[name] = arm
    compared = compare(time_rounds(sound, rounds=rounds, timer=_timer(device))) if sound else {}
    for name, result in compared.items():
        rate = round(shape.tflop() / (result["ms"]["p50"] * 1e-3), 2)
        rows.append({"shape": shape.name, "arm": name, "tflop_per_s": rate, **result})
    return rows


@dataclass(frozen=True, slots=True)
class _Inputs:
    q: Tensor
    k: Tensor
    v: Tensor
    k2: Tensor | None
    v2: Tensor | None

    def first_row(self) -> _Inputs:
        """The first row alone: enough to check an arm, little enough for the written-out formula."""
        return _Inputs(self.q[:1], self.k[:1], self.v[:1], self.k2, self.v2)


def draw_inputs(shape: AttentionShape, device: torch.device, dtype: torch.dtype) -> _Inputs:
    """Unit-normal tensors laid out as projections leave them, (B, L, H, D) seen as (B, H, L, D)."""
    source = torch.Generator(device=device).manual_seed(0)

    def draw(rows: int, length: int) -> Tensor:
        wide = torch.randn(
            rows, length, shape.heads, shape.width, generator=source, device=device, dtype=torch.float32
        )
        return wide.to(dtype).transpose(1, 2)

    q = draw(shape.batch, shape.queries)
    k, v = draw(shape.batch, shape.keys), draw(shape.batch, shape.keys)
    if not shape.reference:
        return _Inputs(q, k, v, None, None)
    return _Inputs(q, k, v, draw(1, shape.reference), draw(1, shape.reference))


def build_arms(inputs: _Inputs, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """What meets what; the first arm is the one compared with."""
    q, k, v, k2, v2 = inputs.q, inputs.k, inputs.v, inputs.k2, inputs.v2
    sdpa = functools.partial(attention_sdpa, q, k, v, k2=k2, v2=v2)
    arms: dict[str, Callable[[], Tensor]] = {"sdpa default": sdpa}
    if device.type != "cuda":
        arms["formula"] = functools.partial(attention_naive, q, k, v, k2=k2, v2=v2)
        return arms

    def forced(backend: SDPBackend) -> Tensor:
        with sdpa_kernel(backend):
            return sdpa()

    for name, backend in _SDPA_BACKENDS.items():
        arms[f"sdpa {name}"] = functools.partial(forced, backend)
    from kernels.attention_triton import attention_triton

    arms["triton"] = functools.partial(attention_triton, q, k, v, k2=k2, v2=v2)
    return arms


def _rms_ratio(actual: Tensor, truth: Tensor) -> float:
    difference = (actual.float() - truth).square().mean().sqrt()
    return float(difference / truth.square().mean().sqrt())


def _timer(device: torch.device) -> Timer:
    if device.type != "cuda":
        return wall_ms
    from triton.testing import do_bench

    def median_ms(work: Callable[[], object]) -> float:
        return float(do_bench(work, warmup=5, rep=20, return_mode="median"))

    return median_ms
