"""Short videos of talking faces for the tests of `fada prepare`: drawn characters, and a photograph made to speak.

The photograph is scikit-image's astronaut (NASA, public domain), read from the installed package, never copied.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from distill.corpus.drawn import Character, sample_identities
from distill.corpus.drawn.clips import SpeechClip, speech_clip

UInt8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def speech(seed: int, seconds: float) -> SpeechClip:
    """A clip of real synthesised speech (not hum or music), from the first such seed on."""
    while True:
        clip = speech_clip(seed, "train", seconds)
        if clip.meta["kind"] == "speech":
            return clip
        seed += 1000


def drawn(clip: SpeechClip, who: int = 3) -> UInt8:
    """A character speaking a clip, (T, 256, 256, 3)."""
    character = Character(sample_identities([who], split="train"))
    frames = character.frames(torch.from_numpy(clip.mouth)[None], torch.from_numpy(clip.expression)[None])[0]
    return np.asarray((frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())


PHOTO_EYES = ((203.8, 102.3), (247.0, 104.5))
"""The photograph's eyes (iris centres) in its own pixels."""
PHOTO_MOUTH = (222.5, 144.0)


def photo() -> UInt8:
    """The astronaut, (512, 512, 3)."""
    from skimage import data

    return np.asarray(data.astronaut())


def speaking_photo(opening: Floats, side: int = 384) -> list[tuple[UInt8, npt.NDArray[np.float64]]]:
    """The photograph speaking under a moving camera.

    Args:
        opening: (T,) 0..1 of the mouth.

    Returns:
        T of (picture (side, side, 3), where its two eyes truly are (2, 2)).
    """
    out = []
    for t, wide in enumerate(opening):
        face = Image.fromarray(_opened(photo(), float(wide)))
        scale = 1.25 + 0.12 * np.sin(t / 40)
        angle = 0.06 * np.sin(t / 27)
        turn = scale * np.exp(1j * angle)
        shift = side / 2 + 1j * side / 2 + 22 * np.sin(t / 31) + 14j * np.cos(t / 23) - turn * (225 + 125j)
        back = 1 / turn
        origin = -shift * back
        matrix = (back.real, -back.imag, origin.real, back.imag, back.real, origin.imag)
        picture = face.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        eyes = turn * np.array([complex(*eye) for eye in PHOTO_EYES]) + shift
        out.append((np.asarray(picture), np.stack((eyes.real, eyes.imag), 1)))
    return out


def _opened(image: UInt8, wide: float) -> UInt8:
    """Paint a dark gap between the lips and push what is below it down."""
    x, y = PHOTO_MOUTH
    drop = 9.0 * wide
    rows = np.arange(512)[:, None] + 0.0
    columns = np.arange(512)[None] + 0.0
    near = np.exp(-(((columns - x) / 26) ** 2)) * (rows > y) * np.exp(-(((rows - y - 10) / 34) ** 4))
    source = np.clip(rows - drop * near, 0, 511).round().astype(int)
    moved = image[source, columns.astype(int) + 0 * source]
    gap = ((columns - x) / 15) ** 2 + ((rows - y - drop / 2) / max(drop / 2, 0.1)) ** 2 < 1
    out = moved.copy()
    out[gap & (drop > 1)] = (52, 22, 26)
    return out


def write_video(
    path: Path,
    frames: UInt8,
    audio: Floats | None,
    *,
    fps: int = 25,
    late_s: float = 0.0,
    crf: int = 14,
    codec: str = "libx264",
) -> Path:
    """Write frames (T, H, W, 3) with 16 kHz sound that is heard ``late_s`` after it belongs."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=fps)
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.options = (
            {"crf": str(crf), "preset": "veryfast"} if codec == "libx264" else {"crf": str(crf), "b": "2M"}
        )
        voice = None
        if audio is not None:
            voice = out.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48_000, layout="mono")
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if voice is not None and audio is not None:
            moved = (
                np.concatenate((np.zeros(round(late_s * 16_000), np.float32), audio)) if late_s > 0 else audio
            )
            _mux_sound(out, voice, moved[round(max(-late_s, 0) * 16_000) :])
    return path


def _mux_sound(out: av.container.OutputContainer, voice: av.AudioStream, audio: Floats) -> None:
    resampler = av.AudioResampler(format=voice.format.name, layout="mono", rate=48_000, frame_size=960)
    block = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[None]), format="flt", layout="mono")
    block.sample_rate, block.pts, block.time_base = 16_000, 0, Fraction(1, 16_000)
    for frame in [*resampler.resample(block), *resampler.resample(None)]:
        out.mux(voice.encode(frame))
    out.mux(voice.encode(None))
