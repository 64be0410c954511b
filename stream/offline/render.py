"""`fada render`: a picture and a recording become a talking video, offline, on the live server's own engine.

In: an image file and a sound file. Out: a video of the whole picture at its own resolution, in which the face
speaks, with exactly ceil(seconds * fps) frames and the recording's own sound, read once and piece by piece. The
same windower and the same engine as the live server, so a live session that heard these samples and missed no
window draws these faces.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ImageColor
from tqdm import tqdm

from models.presets import StreamConfig, preset
from models.runtimes.options import add_engine_arguments, read_engine_options
from stream.avatars.command import add_points, portrait_of, read_points
from stream.avatars.picture_files import read_picture
from stream.avatars.portrait import Portrait
from stream.engine.controls import check_scales
from stream.engine.protocol import Controls, Engine, StepRequest
from stream.engine.windower import Windower
from stream.errors import EngineError, MediaError, StreamError
from stream.media import Float32Array, UInt8Array
from stream.offline.film import LONGEST_PX, Film, check_longer, film_of
from stream.offline.movie import WITH_ALPHA, Movie, container_of
from stream.offline.outputs import check_output, ends_on_sigterm, write_figures
from stream.offline.sound_files import Recording

SUMMARY = "turn a face image and a recording into an MP4, offline"


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What was made and how fast.

    Attributes:
        rtf: seconds of work per second of video, drawing and encoding; below 1 is faster than real time.
    """

    frames: int
    seconds: float
    windows: int
    drawing_s: float
    total_s: float
    rtf: float
    nfe: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fada render`."""
    parser.add_argument(
        "--image", type=Path, required=True, help="picture of a face: PNG, JPEG, WebP, AVIF, HEIC …"
    )
    add_points(parser)
    parser.add_argument(
        "--already-framed",
        action="store_true",
        help="the picture is laid out as the bundled faces are: look for no face, take its middle square as it is",
    )
    parser.add_argument("--audio", type=Path, required=True, help="recording: WAV, FLAC, MP3 …")
    parser.add_argument(
        "--out", type=Path, required=True, help="the video to write: .mp4, .m4v, .mov, .mkv or .webm"
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help=f"longer side of the video, even (default: the picture's own, at most {LONGEST_PX})",
    )
    parser.add_argument(
        "--background",
        default="white",
        metavar="COLOUR",
        help="behind what is transparent in the picture, by name or as #RRGGBB (default: %(default)s); "
        f"{' and '.join(WITH_ALPHA)} keep it transparent",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    usual = StreamConfig()
    _add_scale(
        parser, "audio", "how strongly the voice moves the face", usual.audio_scale_range, usual.audio_scale
    )
    _add_scale(
        parser,
        "reference",
        "how strongly the picture is kept",
        usual.reference_scale_range,
        usual.reference_scale,
    )
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write figures there")
    add_engine_arguments(parser)


def _add_scale(
    parser: argparse.ArgumentParser, name: str, what: str, limits: tuple[float, float], own: float
) -> None:
    low, high = limits
    parser.add_argument(
        f"--{name}-scale",
        type=float,
        default=None,
        help=f"{what}, {low:g} … {high:g} (default: the preset's, {own:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Render with the project's own engine."""
    options = read_engine_options(args)

    def load(film: Film) -> Engine:
        # torch is imported only when the files are fit to be used
        from stream.engine.torch_engine import load_engine

        side = film.canvas_side(preset(options.preset))
        return load_engine(replace(options, size=side, placement=film.placement))

    return render(args, load)


def render(args: argparse.Namespace, load: Callable[[Film], Engine]) -> int:
    """Render with any engine.

    Returns:
        0; 1 if the engine failed, 2 if a file or an option is wrong. Nothing half-written is left.
    """
    try:
        controls = _controls(args)
        inputs = (args.image, args.audio)
        check_output(args.out, inputs)
        container_of(args.out)
        film = _film(args)
        if args.json is not None:
            check_output(args.json, (*inputs, args.out), "The figures")
        recording = Recording(args.audio)
    except (MediaError, ValueError) as error:
        return _fail(str(error), 2)
    try:
        with recording, ends_on_sigterm(), contextlib.closing(load(film)) as engine:
            if problem := _out_of_range(controls, engine):
                return _fail(problem, 2)
            report = render_to(engine, film, recording, args.out, controls, args.seed)
        if args.json is not None:
            write_figures(args.json, {name: getattr(report, name) for name in report.__dataclass_fields__})
    except MediaError as error:
        return _fail(str(error), 2)
    except StreamError as error:
        return _fail(str(error), 1)
    print(
        f"{args.out}: {report.frames} frames, {report.seconds:.2f} s, {report.rtf:.2f} x real time",
        flush=True,
    )
    return 0


def render_to(
    engine: Engine, film: Film, recording: Recording, path: Path, controls: Controls, seed: int
) -> RenderReport:
    """Draw the whole recording and write the video.

    Raises:
        EngineError: the engine failed.
        MediaError: the file cannot be written.
    """
    spec = engine.spec
    expected = None if recording.seconds is None else math.ceil(recording.seconds * spec.fps)
    started_s = time.perf_counter()
    heard = drawn = windows = 0
    drawing_s = 0.0
    with (
        Movie(path, film.size, spec.fps, recording.channels, alpha=film.placement.alpha) as movie,
        tqdm(total=expected, unit="frame", desc="render", file=sys.stderr, disable=None) as bar,
    ):

        def sounds() -> Iterator[Float32Array]:
            nonlocal heard
            for block in recording.blocks(spec.sample_rate_hz):
                movie.add_sound(block.playback)
                heard += len(block.engine)
                yield block.engine

        for frames, took_s in draw(engine, film.picture(), sounds(), controls, seed):
            drawing_s += took_s
            windows += 1
            # a window drawn before the recording's end has sound for all its frames; the last ones may have more
            kept = min(len(frames), math.ceil(heard / spec.samples_per_frame) - drawn)
            for frame in frames[:kept]:
                movie.add(film.frame(frame))
            drawn += kept
            bar.update(kept)
    total_s = time.perf_counter() - started_s
    seconds = drawn / spec.fps
    rtf = round(total_s / seconds, 4)
    return RenderReport(
        drawn, seconds, windows, round(drawing_s, 3), round(total_s, 3), rtf, controls.nfe or spec.nfe
    )


def draw(
    engine: Engine, picture: UInt8Array, sounds: Iterable[Float32Array], controls: Controls, seed: int
) -> Iterator[tuple[UInt8Array, float]]:
    """Frames of one window after another, (hop_frames, H, W, 3) uint8 RGB, and the seconds each took.

    Args:
        picture: what the engine is opened with.
        sounds: pieces of one sound (n,) float32 at the engine's rate, of any length.
    """
    try:
        state = engine.open(picture, seed)
        windower = Windower(engine.spec)
        for windows in itertools.chain(map(windower.push, sounds), (windower.flush() for _ in range(1))):
            for window in windows:
                started_s = time.perf_counter()
                result = engine.step([StepRequest(state, window.audio, controls)])[0]
                state = result.state
                yield np.asarray(result.frames), time.perf_counter() - started_s
    except StreamError:
        raise
    except Exception as error:
        raise EngineError("engine_failed", f"The engine failed: {error}") from error


def _controls(args: argparse.Namespace) -> Controls:
    if not 0 <= args.seed < 2**63:
        raise ValueError(f"Expected --seed between 0 and 2^63 - 1, got {args.seed}.")
    return Controls(audio_scale=args.audio_scale, reference_scale=args.reference_scale, nfe=args.nfe)


def _portrait(args: argparse.Namespace) -> Portrait:
    points = read_points(args.points)
    if not args.already_framed:
        portrait = portrait_of(args.image, points)
    elif points is None:
        portrait = Portrait.laid_out(read_picture(args.image))
    else:
        raise ValueError("Expected --points or --already-framed, got both.")
    for note in portrait.notes:
        print(f"fada render: {note}", file=sys.stderr)
    return portrait


def _film(args: argparse.Namespace) -> Film:
    """The film of the picture; a wrong size or colour is told before its face is looked for."""
    try:
        behind = ImageColor.getrgb(args.background)
    except ValueError:
        raise ValueError(
            f"Expected --background to be a colour such as white or #20304f, got {args.background!r}."
        ) from None
    check_longer(args.size)
    return film_of(_portrait(args), args.size, args.out.suffix.lower() in WITH_ALPHA, behind[:3])


def _out_of_range(controls: Controls, engine: Engine) -> str:
    """Why these scales are not for this engine; "" if they are."""
    try:
        check_scales(controls, engine.spec)
    except ValueError as error:
        return str(error)
    return ""


def _fail(sentence: str, code: int) -> int:
    print(f"fada render: {sentence}", file=sys.stderr)
    return code
