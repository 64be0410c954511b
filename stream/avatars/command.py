"""`fada avatar add | list | show | remove`: pictures of one's own as faces that speak.

In: picture files and names. Out: a folder of avatars that `fada serve` offers beside the bundled ones, and sheets
that show what was found. Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from kernels.machine import ROOT
from stream.avatars.avatar_folder import read_folder
from stream.avatars.framing import ASK, Points, UnframedError, draw_seen, find_and_frame, frame_by_points
from stream.avatars.own_avatars import OwnAvatars, checked_name, own_folder
from stream.avatars.picture_files import read_picture
from stream.avatars.portrait import Portrait
from stream.errors import MediaError
from stream.media import UInt8Array

SUMMARY: Final = "add pictures of your own as faces, list, show and remove them"
SHEET_PX: Final = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fada avatar`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="add | list | show | remove")
    add = verbs.add_parser("add", help="find the face in a picture and keep it as an avatar")
    add.add_argument("picture", type=Path, metavar="PICTURE", help="PNG, JPEG, WebP, AVIF, HEIC …")
    add.add_argument("--name", default=None, help="its name (default: the file's)")
    add_points(add)
    add.add_argument("--seen", type=Path, default=None, metavar="PNG", help="write what was seen there")
    shown = verbs.add_parser("list", help="say which avatars there are")
    show = verbs.add_parser("show", help="write a sheet: the whole picture, and the canvas cut out of it")
    show.add_argument("name", metavar="NAME", help="name or id")
    show.add_argument("--out", type=Path, required=True, metavar="PNG", help="the sheet to write")
    remove = verbs.add_parser("remove", help="forget an avatar and delete its stored picture")
    remove.add_argument("name", metavar="NAME", help="name or id")
    for verb in (add, shown, show, remove):
        verb.add_argument(
            "--avatars",
            type=Path,
            default=None,
            metavar="DIR",
            help="folder of avatars (default: $FADA_AVATARS, or fada-live/avatars among your data)",
        )


def add_points(parser: argparse.ArgumentParser) -> None:
    """Declare `--points`."""
    parser.add_argument(
        "--points",
        nargs=3,
        default=None,
        metavar="X,Y",
        help="where no face is found: left eye, right eye (as you see them) and mouth, px of the upright picture",
    )


def read_points(said: list[str] | None) -> Points | None:
    """Three points from `--points`.

    Raises:
        ValueError: one is not x,y.
    """
    if said is None:
        return None
    points = []
    for text in said:
        try:
            x, y = map(float, text.split(","))
            if not np.isfinite((x, y)).all():
                raise ValueError
        except ValueError:
            raise ValueError(f"Expected a point as x,y, for example 120,88, got {text!r}.") from None
        points.append((x, y))
    return points


def portrait_of(picture: Path, points: Points | None) -> Portrait:
    """Frame a picture file: by the index beside it where that names it, by points, or by finding its face.

    Raises:
        MediaError: it cannot be read or framed.
    """
    if points is None and (picture.parent / "index.json").is_file():
        for entry in read_folder(picture.parent)[0]:
            if entry.path.resolve() == picture.resolve():
                return entry.portrait()
    pixels = read_picture(picture)
    if points is not None:
        return frame_by_points(pixels, points, str(picture))
    return find_and_frame(pixels, str(picture), f"{ASK} (--points x,y x,y x,y)")


def run(args: argparse.Namespace) -> int:
    """Do what is asked.

    Returns:
        0; 2 if a picture, a name or an option is wrong.
    """
    try:
        own = OwnAvatars(args.avatars or own_folder())
        return {"add": _add, "list": _list, "show": _show, "remove": _remove}[args.verb](own, args)
    except (MediaError, ValueError) as error:
        print(f"fada avatar: {error}", file=sys.stderr)
        return 2


def _add(own: OwnAvatars, args: argparse.Namespace) -> int:
    name = checked_name(args.picture.stem if args.name is None else args.name)
    try:
        portrait = portrait_of(args.picture, read_points(args.points))
    except UnframedError as error:
        if args.seen is not None:
            _write(args.seen, error.seen)
        raise
    if args.seen is not None:
        _write(args.seen, draw_seen(portrait.pixels, portrait.similarity))
    bundled = frozenset(entry.avatar.id for entry in read_folder(ROOT / "avatars")[0])
    added = own.add(portrait, name, bundled)
    for note in portrait.notes:
        print(note)
    print(f"{added}: added to {own.folder}; `fada avatar show {added} --out sheet.png` shows it.")
    return 0


def _list(own: OwnAvatars, args: argparse.Namespace) -> int:
    entries = own.entries()
    for entry in entries:
        print(f"{entry.avatar.id:<24} {entry.avatar.name:<24} {entry.path}")
    if not entries:
        print(f"No avatars in {own.folder} yet; `fada avatar add PICTURE` adds one.")
    return 0


def _show(own: OwnAvatars, args: argparse.Namespace) -> int:
    portrait = own.find(args.name).portrait()
    whole = Image.fromarray(draw_seen(portrait.pixels, portrait.similarity))
    whole.thumbnail((2 * SHEET_PX, SHEET_PX))
    sheet = Image.new("RGB", (whole.width + SHEET_PX, SHEET_PX), (255, 255, 255))
    sheet.paste(whole, (0, (SHEET_PX - whole.height) // 2))
    sheet.paste(Image.fromarray(portrait.canvas(SHEET_PX)), (whole.width, 0))
    _write(args.out, np.asarray(sheet))
    print(f"{args.out}: {portrait.size[0]}x{portrait.size[1]} px and its canvas")
    return 0


def _remove(own: OwnAvatars, args: argparse.Namespace) -> int:
    print(f"{own.remove(args.name)}: removed from {own.folder}")
    return 0


def _write(path: Path, image: UInt8Array) -> None:
    try:
        Image.fromarray(image).save(path, "PNG")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MediaError("cannot_write", f"The picture {path} cannot be written: {reason}.") from error
