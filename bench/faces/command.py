"""Command `fada eval`: suites on held-out data, and any folder of pictures as they come.

In: its options. Out: an exit code. `distill` measures and may not know `stream`; pictures are framed by
`stream/avatars` as everywhere, so the two meet here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bench.faces.film import film_pictures
from distill.evaluation import command
from distill.evaluation.faces.command import run_pictures
from distill.evaluation.faces.gallery import photo_folder
from distill.evaluation.faces.pictures import Framed
from distill.evaluation.faces.regions import OUT_PX
from stream.avatars.avatar_folder import SUFFIXES
from stream.avatars.command import portrait_of
from stream.avatars.portrait import Portrait
from stream.errors import MediaError

SUMMARY = command.SUMMARY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    command.add_arguments(parser)
    group = parser.add_argument_group("pictures as they come")
    group.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="frame every picture of a folder and let it speak, in place of a suite",
    )
    group.add_argument(
        "--film",
        nargs="+",
        default=(),
        metavar="NAME",
        help="also film these pictures (their files' names without suffix), with sound, into --plots",
    )
    group.add_argument("--film-seconds", type=float, default=20.0, metavar="S", help="how long (default 20)")


def run(args: argparse.Namespace) -> int:
    """Measure and report; returns the exit code."""
    name = "pictures"
    if args.pictures is None:
        if args.suite != "photos":
            if args.film:
                raise ValueError("--film films pictures of a folder; name it with --pictures.")
            return command.run(args)
        name, args.pictures = "photos", photo_folder()
    config = command.read_faces(args)
    if args.film and config.folder is None:
        raise ValueError("--film needs a folder to write into; name it with --plots.")
    torch.set_num_threads(args.threads)
    portraits, refused = frame_folder(args.pictures)
    if unknown := sorted(set(args.film) - portraits.keys()):
        raise ValueError(f"--film: there is no framed picture {', '.join(unknown)} in {args.pictures}.")
    pictures = [Framed(name, p.canvas(OUT_PX), p.notes) for name, p in portraits.items()]
    figures = run_pictures(config, pictures, refused, name)
    command.write_figures(args.json, figures)
    if config.folder is not None:
        chosen = {name: portraits[name] for name in args.film}
        for path in film_pictures(config, chosen, config.folder, args.film_seconds):
            print(path)
    return 0


def frame_folder(folder: Path) -> tuple[dict[str, Portrait], list[str]]:
    """Every picture of a folder through the avatars' room.

    Returns:
        (portraits by name, a sentence for each picture that is refused).

    Raises:
        ValueError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ValueError(f"Expected a folder of pictures, but {folder} is none.")
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise ValueError(f"Expected pictures in {folder}, found none.")
    portraits: dict[str, Portrait] = {}
    refused = []
    for path in paths:
        try:
            portrait = portrait_of(path, None)
        except MediaError as error:
            refused.append(error.message)
        else:
            portraits[path.stem if path.stem not in portraits else path.name] = portrait
    return portraits, refused
