"""`scripts/pictures`: the README's pictures, from the running product.

In: this checkout. Out: docs/pictures: `live.webp`, a loop of the page whose face speaks, `live.jpg`, its still,
four thumbnails, and `about.json`, which says what was filmed where. Of a longer film it keeps the stretch in which
the page was smoothest; a machine that is too busy for a good film is told so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from bench.call.browser.chromium import open_playwright
from bench.call.server_process import running_server
from bench.pictures import thumbnails
from bench.pictures.live_page import Film, film_call
from bench.pictures.moments import FaceBoxes, liveliest
from bench.pictures.spoken import write_spoken
from kernels.machine import ROOT, describe_commit, describe_machine, describe_versions, load_average

OUT = ROOT / "docs" / "pictures"
SAID = "Hello! I speak with your voice, live, on two cores of a processor."
ROUND_S = 6.0
QUIET_S = (0.4, 0.6)
FILM_FPS = 12.5
WIDTH_PX = 1000
MOST_BYTES = 2_000_000
LEAST_FPS = 20.0
ON_PAGE = FaceBoxes(eyes=(0.23, 0.24, 0.42, 0.31), mouth=(0.25, 0.33, 0.39, 0.41))
IN_SCENE = FaceBoxes(eyes=(0.65, 0.33, 0.85, 0.41), mouth=(0.68, 0.42, 0.82, 0.51))


def main(argv: list[str] | None = None) -> int:
    """Film, choose, write."""
    parser = argparse.ArgumentParser(prog="scripts/pictures", description="make the README's pictures")
    parser.add_argument("--avatar", default="mira", help="who speaks (default: mira)")
    parser.add_argument("--seconds", type=float, default=24.0, help="length of the film to choose from (24)")
    parser.add_argument(
        "--only-thumbnails", action="store_true", help="leave the loop and its still as they are"
    )
    parser.add_argument("--figures", action="store_true", help="show the page's live figures")
    args = parser.parse_args(argv)
    commit = describe_commit()  # before the pictures of this very checkout change
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        voice = folder / "voice.wav"
        write_spoken(voice, SAID, QUIET_S, ROUND_S)
        with running_server(folder / "server.log") as (url, _), open_playwright() as playwright:
            film = film_call(playwright, url, voice, args.avatar, args.seconds, args.figures)
        begin_s, fps, latency_ms = smoothest(film)
        print(f"the smoothest {ROUND_S:.0f} s: {fps:.1f} pictures a second, {latency_ms:.0f} ms")
        if fps < LEAST_FPS:
            print(
                f"expected {LEAST_FPS:.0f} pictures a second; film again on an idle machine.", file=sys.stderr
            )
            return 1
        still = liveliest(film.between(begin_s, begin_s + ROUND_S), ON_PAGE)
        if not args.only_thumbnails:
            write_loop(film, begin_s)
            still.save(OUT / "live.jpg", quality=88, optimize=True)
        write_thumbnails(still, liveliest(film.scenes, IN_SCENE), voice, args.avatar, folder)
    shown = {"fps": round(fps, 1), "latency_ms": round(latency_ms)}
    write_about({"said": SAID, "avatar": args.avatar, "page": shown, "commit": commit})
    return 0


def write_about(film: dict[str, Any]) -> None:
    """Say what was filmed, and on what."""
    machine = {"machine": describe_machine(), "versions": describe_versions(), "load_average": load_average()}
    (OUT / "about.json").write_text(json.dumps(film | machine, indent=2) + "\n", encoding="utf-8")


def smoothest(film: Film) -> tuple[float, float, float]:
    """Where to cut: the stretch of one round in which the page showed most pictures.

    Returns:
        Its beginning on the film's clock, the least pictures a second in it, the latency shown last in ms.
    """
    best = (film.times_s[0], 0.0, 0.0)
    for begin_s, _, _ in film.readings:
        inside = [reading for reading in film.readings if begin_s <= reading[0] <= begin_s + ROUND_S]
        if film.times_s[-1] - begin_s >= ROUND_S and len(inside) > ROUND_S:
            fps = min(reading[1] for reading in inside)
            if fps > best[1]:
                best = (begin_s, fps, inside[-1][2])
    return best


def at(film: Film, time_s: float) -> Image.Image:
    """The picture on the screen at a moment."""
    shown = [index for index, composed_s in enumerate(film.times_s) if composed_s <= time_s]
    return film.picture(shown[-1] if shown else 0)


def write_loop(film: Film, begin_s: float) -> None:
    """Write one round of the film as an animated WebP, as good as its size allows."""
    count = round(ROUND_S * FILM_FPS)
    frames = []
    for index in range(count):
        frame = at(film, begin_s + index / FILM_FPS)
        height = round(frame.height * WIDTH_PX / frame.width)
        frames.append(frame.resize((WIDTH_PX, height), Image.Resampling.LANCZOS))
    place = OUT / "live.webp"
    for quality in (80, 70, 60, 50, 40):
        options: dict[str, Any] = {"quality": quality, "method": 5, "minimize_size": False}
        frames[0].save(
            place, save_all=True, append_images=frames[1:], duration=round(1000 / FILM_FPS), loop=0, **options
        )
        if place.stat().st_size <= MOST_BYTES:
            print(f"live.webp: {place.stat().st_size} bytes at quality {quality}")
            return
    raise RuntimeError(f"expected a loop of at most {MOST_BYTES} bytes, got {place.stat().st_size}.")


def write_thumbnails(still: Image.Image, scene: Image.Image, voice: Path, avatar: str, folder: Path) -> None:
    """Write the four of them."""
    movie = folder / "film.mp4"
    portrait = ROOT / "avatars" / f"{avatar}.png"
    render = [
        sys.executable,
        str(ROOT / "fada.py"),
        "render",
        "--image",
        str(portrait),
        "--audio",
        str(voice),
    ]
    subprocess.run([*render, "--out", str(movie)], check=True)
    pictures = {
        "talk": thumbnails.talk_thumbnail(still),
        "film": thumbnails.film_thumbnail(movie, (0.6, 1.7, 2.9)),
        "train": thumbnails.corpus_thumbnail(),
        "obs": thumbnails.scene_thumbnail(scene),
    }
    for name, picture in pictures.items():
        picture.save(OUT / f"{name}.jpg", quality=86, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
