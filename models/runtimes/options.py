"""What a person may choose of the engine, once for all commands: the options, their help, and the checked value.

In: a command's parser and what it read. Out: an `EngineOptions`. `serve`, `render` and what measures them share it,
`eval` the part that says how windows follow each other. No torch here: a wrong option is told at once.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from models.face import LEAST_PX, MOST_PX, SERVED_PX
from models.framing.placement import Placement
from models.presets import PRESETS, SERVED, HopChoice
from models.presets import preset as preset_of
from models.runtimes.picture_size import served_side

BACKENDS: Final = (
    "torch-eager",
    "torch-fp32",
    "torch-bf16",
    "torch-compile",
    "torch-fp8",
    "native",
    "native-bf16",
    "onnx",
    "onnx-int8",
)
"""torch-eager is fp32 in PyTorch's default layout: the measure of the others, never chosen. torch-fp8 is bf16 with
the UNets' wide layers in 8-bit floats: only if asked for, since it draws a little differently."""
AUTO: Final = "auto"
MOST_NFE: Final = 50
_DEVICE: Final = re.compile(r"cpu|cuda(:\d+)?|mps")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is loaded; checked when made, so that a wrong option is told before anything heavy.

    Attributes:
        preset: name of the preset.
        weights: a student checkpoint, a folder of EchoMimic's files or "random"; None takes the shipped one.
        size: side of the pictures in pixels, for presets with more than one (`models.runtimes.picture_size`).
        nfe: evaluations per window; None takes the preset's.
        device: "cpu", "cuda", "cuda:1", …; None takes CUDA where there is one.
        backend: "auto" or one of `BACKENDS`.
        threads: CPU threads of the networks; None leaves the choice to the command.
        hop: how windows follow each other; what is None in it is the preset's own.
        max_batch: sessions that there can be; the batch is never larger, nor warmed up for more.
        fit: on a CPU, lengthen the hop where this machine does not draw the chosen one in time
            (`models.runtimes.hop_fit`).
        placement: of the canvas in the frames, where these are more than the canvas.

    Raises:
        ValueError: an option that no engine takes, by its name on the command line.
    """

    preset: str = "small"
    weights: Path | str | None = None
    size: int | None = None
    nfe: int | None = None
    device: str | None = None
    backend: str = AUTO
    threads: int | None = None
    hop: HopChoice = field(default_factory=HopChoice)
    max_batch: int | None = None
    fit: bool = False
    placement: Placement | None = None

    def __post_init__(self) -> None:
        _check_name("--preset", self.preset, sorted(PRESETS))
        _check_name("--backend", self.backend, (AUTO, *BACKENDS))
        if self.nfe is not None and not 1 <= self.nfe <= MOST_NFE:
            raise ValueError(f"Expected --nfe of 1 to {MOST_NFE}, got {self.nfe}.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"Expected --threads of at least 1, got {self.threads}.")
        if self.device is not None and not _DEVICE.fullmatch(self.device):
            raise ValueError(f"Expected --device cpu, cuda or cuda:NUMBER, got '{self.device}'.")
        served_side(preset_of(self.preset), self.size)


def _check_name(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"Expected {option} to be one of {', '.join(known)}, got '{name}'.")


def add_engine_arguments(parser: argparse.ArgumentParser, threads: str = "all cores") -> None:
    """Declare the options of an engine, as a group of their own.

    Args:
        parser: of the command.
        threads: what the command takes where --threads is not given, in words.
    """
    group = parser.add_argument_group("the networks, for those who know them")
    group.add_argument(
        "--preset", default="small", help=f"{', '.join(sorted(PRESETS))} (default: %(default)s)"
    )
    group.add_argument(
        "--weights",
        metavar="PATH",
        help="checkpoint, folder of EchoMimic's files, or 'random' to try a preset (default: the shipped weights)",
    )
    group.add_argument("--nfe", type=int, help="evaluations per window (default: the preset's)")
    group.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    group.add_argument(
        "--backend",
        default=AUTO,
        help=f"{', '.join((AUTO, *BACKENDS))} (default: %(default)s: what `fada doctor --calibrate` measured, "
        "else a rule)",
    )
    group.add_argument("--threads", type=int, help=f"CPU threads of the networks (default: {threads})")
    add_hop_arguments(group)


def add_size_argument(parser: argparse._ActionsContainer) -> None:
    """Declare --size, the side of the pictures."""
    parser.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help=f"side of the picture: even, {LEAST_PX} to {MOST_PX}, where a preset moves the picture's own pixels "
        f"(default there: {SERVED_PX}); a multiple of 64 for base presets; others have one size",
    )


def read_engine_options(
    args: argparse.Namespace, size: int | None = None, max_batch: int | None = None, fit: bool = False
) -> EngineOptions:
    """The options of `add_engine_arguments` as one checked value.

    Args:
        args: what the parser read.
        size: see `EngineOptions`.
        max_batch: see `EngineOptions`.
        fit: lengthen the hop where it must be, unless --hop chose one.

    Raises:
        ValueError: an option makes no sense.
    """
    return EngineOptions(
        preset=args.preset,
        weights=args.weights,
        size=size,
        nfe=args.nfe,
        device=args.device,
        backend=args.backend,
        threads=args.threads,
        hop=read_hop(args),
        max_batch=max_batch,
        fit=fit and args.hop is None,
    )


def add_hop_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare --hop, --overlap and --look-ahead."""
    usual = SERVED["small"]
    parser.add_argument(
        "--hop",
        type=int,
        metavar="FRAMES",
        help="new frames a window; each costs 40 ms of delay (default: the preset's, small: "
        f"{usual.hop_frames}; `serve` takes more where a CPU is too slow for that)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="FRAMES",
        help=f"frames blended with the next window, 40 ms each (default: the preset's, small: "
        f"{usual.overlap_frames})",
    )
    parser.add_argument(
        "--look-ahead",
        type=int,
        metavar="FRAMES",
        help=f"frames of sound awaited after a window, 40 ms each (default: the preset's, small: "
        f"{usual.lookahead_frames})",
    )


def read_hop(args: argparse.Namespace) -> HopChoice:
    """The choice made; what was not given is the preset's own."""
    return HopChoice(args.hop, args.overlap, args.look_ahead)
