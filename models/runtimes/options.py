"""The command-line options that choose how windows follow each other; `serve`, `render` and `eval` share them."""

from __future__ import annotations

import argparse

from models.presets import SERVED, HopChoice


def add_hop_arguments(parser: argparse.ArgumentParser) -> None:
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
