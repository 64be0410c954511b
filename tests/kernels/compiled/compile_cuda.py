"""Compiles planned launches for a GPU that is not there, down to machine code; run as a program, without the
interpreter, by test_compile_triton.py.

Triton's wheel brings the whole way, `ptxas` included. It catches what the interpreter lets pass: types that
change in a loop, block sizes that are no powers of two, products too narrow for tensor cores, shared memory and
registers beyond a streaming multiprocessor's. Prints one JSON line for each launch.

    python -m tests.kernels.compiled.compile_cuda [--all] [--dtype bf16 ...] [--only NAME]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels import attention_triton, cross_triton, norm_triton, temporal_triton
from kernels.fp8 import linear_triton as fp8_triton
from kernels.fp8.weight import Fp8Weight
from kernels.launch import Launch, Tiling
from kernels.values import AbsorbedContext, Control
from tests.kernels.compiled.compile_limits import HOPPER_SHARED

HOPPER = GPUTarget("cuda", 90, 32)
TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.uint8: "u8"}
EIGHT_BITS = {torch.float8_e4m3fn: "fp8e4nv"}
LEVELS = ((4096, 40), (1024, 80), (256, 160))  # pixels and head width of the base preset's levels, 8 heads


def compile_launch(launch: Launch, target: GPUTarget) -> dict[str, Any]:
    """Registers, spilt bytes and shared bytes of a launch's machine code.

    Arguments are specialised as Triton does when it launches: a 1 becomes a constant, a multiple of 16 and a
    fresh allocation's address are known to be such.
    """
    names = launch.kernel.arg_names
    signature: dict[str, str] = {}
    constants: dict[str, Any] = dict(launch.constants)
    attributes: dict[tuple[int], list[list[Any]]] = {}
    for place, (name, value) in enumerate(zip(names, launch.arguments, strict=False)):
        if isinstance(value, Tensor):
            signature[name] = f"*{(TYPES | EIGHT_BITS)[value.dtype]}"
            attributes[(place,)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[name] = "fp32"
        elif value == 1:
            constants[name] = 1
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0:
                attributes[(place,)] = [["tt.divisibility", 16]]
    signature = {name: signature.get(name, "constexpr") for name in names}
    source = ASTSource(launch.kernel, signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages, "enable_fp_fusion": True}
    compiled = triton.compile(source, target=target, options=options)
    ptx = compiled.asm["ptx"]
    return {
        "shared": compiled.metadata.shared,
        **_resources(compiled.asm["cubin"], target),
        "tensor_cores": len(re.findall(r"wgmma\.mma_async|mma\.sync", ptx)),
        "wide_loads": len(
            re.findall(r"ld\.global\S*\.v4\.b32|cp\.async\.cg\.shared\.global \[[^;]*0x10", ptx)
        ),
        "narrow_loads": len(re.findall(r"ld\.global\S*\.b16", ptx)),
    }


def _resources(cubin: bytes, target: GPUTarget) -> dict[str, int]:
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    return {"registers": found["REG"], "spilt": found["STACK"] + found["LOCAL"]}


def plans(dtype: torch.dtype, *, every: bool) -> Iterator[tuple[str, Tiling | None, Launch]]:
    """Launches of every kernel at the base preset's shapes, on the meta device, with their tilings."""
    for pixels, width in LEVELS if dtype == torch.bfloat16 else LEVELS[:1]:
        yield from _attention(pixels, width, dtype, every)
        yield from _temporal(pixels, width, dtype, every)
        yield from _cross(pixels, width, dtype, every)
    yield from _norm(dtype, every)
    yield from _fp8(dtype, every)


def _some(tilings: list[Tiling], every: bool) -> list[Tiling]:
    return tilings if every else tilings[:1]


def _attention(pixels: int, width: int, dtype: torch.dtype, every: bool) -> Iterator[Any]:
    wide = torch.empty(16, pixels, 3, 8, width, dtype=dtype, device="meta")
    q, k, v = (wide[:, :, part].transpose(1, 2) for part in range(3))
    bank = torch.empty(1, pixels, 8, width, dtype=dtype, device="meta").transpose(1, 2)
    mask = torch.empty(16, pixels, dtype=torch.bool, device="meta") if width == 80 else None
    for tiling in _some(attention_triton.candidate_tilings(pixels, width, dtype), every):
        yield (
            f"attention {pixels} {width}",
            tiling,
            attention_triton.plan_attention(
                q, k, v, k2=bank, v2=bank, mask=mask, out=torch.empty_like(q), tiling=tiling
            ),
        )


def _temporal(pixels: int, width: int, dtype: torch.dtype, every: bool) -> Iterator[Any]:
    wide = torch.empty(1, 16, pixels, 3, 8 * width, dtype=dtype, device="meta")
    q, k, v = (wide[..., part, :] for part in range(3))
    motion = torch.empty(1, 4, pixels, 8 * width, dtype=dtype, device="meta")
    for tiling in _some(temporal_triton.candidate_tilings(width, dtype), every):
        yield (
            f"temporal {pixels} {width}",
            tiling,
            temporal_triton.plan_temporal(
                q, k, v, heads=8, k2=motion, v2=motion, out=torch.empty_like(q), tiling=tiling
            ),
        )


def _cross(pixels: int, width: int, dtype: torch.dtype, every: bool) -> Iterator[Any]:
    channels = 8 * width
    x = torch.empty(16, pixels, channels, dtype=dtype, device="meta")
    for keys in (32, 64) if dtype == torch.bfloat16 else (32,):
        folded = torch.empty(16, 8 * keys, channels, dtype=dtype, device="meta")
        bias = torch.empty(16, 8 * keys, dtype=torch.float32, device="meta")
        context = AbsorbedContext(folded, folded, bias, 8)
        out_bias = torch.empty(channels, dtype=dtype, device="meta")
        for tiling in _some(cross_triton.candidate_tilings(pixels, 8 * keys, dtype, HOPPER_SHARED), every):
            yield (
                f"cross {pixels} {width} {keys}",
                tiling,
                cross_triton.plan_cross(
                    x, context, out_bias=out_bias, out_scale=3.0, eps=1e-5, out=x, tiling=tiling
                ),
            )


def _norm(dtype: torch.dtype, every: bool) -> Iterator[Any]:
    for side, channels in ((64, 320), (8, 1280)):
        x = torch.empty(16, channels, side, side, dtype=dtype, device="meta")
        x = x.to(memory_format=torch.channels_last)
        weight = torch.empty(channels, dtype=dtype, device="meta")
        film = torch.empty(16, 2 * channels, dtype=dtype, device="meta")
        scale, shift = film.chunk(2, dim=1)
        scales = torch.empty(1, device="meta")
        control = Control(torch.empty(3, 2 * channels, device="meta"), scales, scales)
        whole = norm_triton.fits_whole(side * side, channels // 32)
        for tiling in _some(norm_triton.candidate_tilings(channels), every and not whole):
            launches = norm_triton.plan_group_norm(
                x, 32, weight, weight, eps=1e-5, scale=scale, shift=shift, offset=scale, control=control,
                silu=True, out=x, tiling=tiling, whole=whole,
            )  # fmt: skip
            for launch in launches:
                yield f"{launch.kernel.__name__} {side} {channels}", tiling, launch


def _fp8(dtype: torch.dtype, every: bool) -> Iterator[Any]:
    for side, channels, size in ((64, 320, 3), (64, 320, 1), (16, 1280, 3)):
        x = torch.empty(16, channels, side, side, dtype=dtype, device="meta")
        x = x.to(memory_format=torch.channels_last)
        rounded = torch.empty(16, side, side, channels, dtype=torch.float8_e4m3fn, device="meta")
        scale = torch.empty(16, device="meta")
        values = torch.empty(channels, size * size * channels, dtype=rounded.dtype, device="meta")
        weight = Fp8Weight(values, torch.empty(channels, device="meta"), size, channels)
        out = torch.empty(16, side, side, channels, dtype=dtype, device="meta")
        yield f"_round_kernel {side} {channels}", None, fp8_triton.plan_round(x, scale, rounded)
        for tiling in _some(fp8_triton.candidate_tilings(16 * side * side, channels, HOPPER_SHARED), every):
            launch = fp8_triton.plan_conv(rounded, scale, weight, out[0, 0, 0], 1, out, tiling)
            yield f"fp8_conv {side} {channels} {size}", tiling, launch


def main() -> None:
    """Compile and print."""
    parser = argparse.ArgumentParser(description="Compile every kernel for a GPU that is not there.")
    parser.add_argument("--all", action="store_true", help="every candidate tiling, in bf16")
    parser.add_argument(
        "--dtype", nargs="+", default=["bf16", "fp16", "fp32"], choices=("bf16", "fp16", "fp32")
    )
    parser.add_argument("--only", default="", help="launches whose name begins so")
    args = parser.parse_args()
    for dtype, short in TYPES.items():
        if short not in args.dtype:
            continue
        for name, tiling, launch in plans(dtype, every=args.all):
            if name.startswith(args.only):
                figures = compile_launch(launch, HOPPER)
                cut = None if tiling is None else (tiling.block_m, tiling.block_n)
                row = {"launch": name, "dtype": short, "tiling": cut, "warps": launch.num_warps}
                print(json.dumps(row | {"stages": launch.num_stages} | figures), flush=True)


if __name__ == "__main__":
    main()
