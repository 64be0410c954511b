"""Presets: frozen descriptions of a model size and of how it streams. One set of classes serves them all.

In: a preset's name. Out: a `Preset` of `models.configs`' parts, checked when built. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from kernels.machine import ROOT
from models.configs import SCALE_LIMIT, AudioConfig, Layout, StreamConfig, UNetConfig, VAEConfig
from models.face import CANVAS_PX, FACE_BOX, FPS, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

__all__ = [
    "PRESETS",
    "SCALE_LIMIT",
    "SERVED",
    "WAV2VEC2",
    "WHISPER",
    "AudioConfig",
    "HopChoice",
    "Layout",
    "Preset",
    "StreamConfig",
    "UNetConfig",
    "VAEConfig",
    "preset",
    "shipped",
]


WEIGHTS: Final = ROOT / "weights"
"""Shipped weights: ``weights/PRESET/student.safetensors``, read by `shipped`."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Everything that tells one model size from another.

    Attributes:
        face_box: (left, top, width, height) of the part of the canvas that the networks draw.
        schedule: of the noise: "cosine", or "zero_snr" with velocities and DDIM steps as in EchoMimic.
    """

    name: str
    canvas_px: int = CANVAS_PX
    face_box: tuple[int, int, int, int] = FACE_BOX
    fps: int = FPS
    sample_rate_hz: int = SAMPLE_RATE_HZ
    audio: AudioConfig = field(default_factory=AudioConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    schedule: Literal["cosine", "zero_snr"] = "cosine"

    def __post_init__(self) -> None:
        _, _, width, height = self.face_box
        multiple = self.vae.factor
        if self.layout == "sd15":  # nearest-neighbour doubling must meet the skips
            multiple *= 2 ** (len(self.unet.channels) - 1)
        if width % multiple or height % multiple:
            raise ValueError(
                f"Preset {self.name}: face_box must be a multiple of {multiple} px, got {width}x{height}"
            )
        if (self.unet.layout, self.schedule == "zero_snr", self.audio.encoder != "mel") not in (
            ("fada", False, False),
            ("sd15", True, True),
        ) or self.vae.layout != self.unet.layout:
            raise ValueError(
                f"Preset {self.name}: the parts must be of one layout, got unet {self.unet.layout}, "
                f"vae {self.vae.layout}, audio {self.audio.encoder}, schedule {self.schedule}"
            )
        if self.lookahead_frames > self.audio.lookahead_frames:
            raise ValueError(
                f"Preset {self.name}: the audio encoder hears {self.audio.lookahead_frames} frames ahead, "
                f"a stream cannot await {self.lookahead_frames}"
            )
        if self.stream.window_frames > self.unet.max_frames:
            raise ValueError(
                f"Preset {self.name}: windows hold at most {self.unet.max_frames} frames, "
                f"got {self.stream.window_frames}"
            )

    @property
    def lookahead_frames(self) -> int:
        """Frames of sound that a window awaits after its last frame."""
        own = self.stream.lookahead_frames
        return self.audio.lookahead_frames if own is None else own

    @property
    def window_samples(self) -> int:
        """Samples of one window as it is awaited: context, frames, look-ahead."""
        return (
            self.audio.context_samples
            + (self.stream.window_frames + self.lookahead_frames) * SAMPLES_PER_FRAME
        )

    @property
    def moves(self) -> bool:
        """Whether the decoder moves the picture's own pixels, at whatever size the picture has."""
        return self.vae.decoder == "move"

    @property
    def layout(self) -> Layout:
        """Whose networks these are."""
        return self.unet.layout

    @property
    def face_region(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of a well-framed face on this canvas, in pixels."""
        left, top, width, height = (edge * self.canvas_px // CANVAS_PX for edge in FACE_BOX)
        return left, top, width, height

    def resized(self, canvas_px: int) -> Preset:
        """The same networks on another canvas.

        Raises:
            ValueError: the networks are tied to their canvas, or the side is no multiple of 64 px.
        """
        if self.layout == "fada":
            raise ValueError(
                f"The networks of preset '{self.name}' are tied to {self.canvas_px} px (their guide map); "
                "only presets of the layout sd15 take another size."
            )
        if canvas_px < 64 or canvas_px % 64:
            raise ValueError(f"Expected a size that is a multiple of 64 px, got {canvas_px}.")
        return dataclasses.replace(self, canvas_px=canvas_px, face_box=(0, 0, canvas_px, canvas_px))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of one frame's latent."""
        _, _, width, height = self.face_box
        return self.vae.latent_channels, height // self.vae.factor, width // self.vae.factor

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Preset:
        """Rebuild a preset from `to_dict`.

        Raises:
            ValueError: an unknown or missing key, or a value that the preset refuses.
        """
        parts = {"audio": AudioConfig, "vae": VAEConfig, "unet": UNetConfig, "stream": StreamConfig}
        built: dict[str, Any] = {}
        for key, value in values.items():
            built[key] = _build(parts[key], value) if key in parts else _frozen(value)
        return _build(Preset, built)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _build(cls: Any, values: dict[str, Any]) -> Any:
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{cls.__name__}: unknown keys {unknown}; known are {sorted(known)}")
    return cls(**{key: _frozen(value) for key, value in values.items()})


@dataclass(frozen=True, slots=True)
class HopChoice:
    """How windows follow each other where a preset is served, rendered and measured.

    A window shorter than those of the training is drawn as well: frames meet through attention, and the frames
    before come in as motion frames. docs/results/latency_quality.json says what each choice costs.

    Attributes:
        hop_frames: new frames a window; each waits for the sound of all of them.
        overlap_frames: frames held back and blended into the next window; each adds its length to the delay.
        lookahead_frames: see `StreamConfig`.
    """

    hop_frames: int | None = None
    overlap_frames: int | None = None
    lookahead_frames: int | None = None

    def applied(self, to: Preset) -> Preset:
        """The preset with this choice; what is None is taken from `SERVED`, or else from the preset itself.

        Raises:
            ValueError: the preset cannot be streamed so.
        """
        usual = SERVED.get(to.name)
        changes = {}
        for name in (f.name for f in dataclasses.fields(self)):
            value = getattr(self, name)
            value = getattr(usual, name) if value is None and usual is not None else value
            if value is not None:
                changes[name] = value
        return dataclasses.replace(to, stream=dataclasses.replace(to.stream, **changes))


def _base(name: str, audio: AudioConfig, tiny_decoder: bool) -> Preset:
    """SD1.5 size, 512 px, whole canvas; keys and arithmetic are EchoMimic's (docs/base.md)."""
    return Preset(
        name=name,
        canvas_px=512,
        face_box=(0, 0, 512, 512),
        audio=audio,
        vae=VAEConfig(
            latent_channels=4,
            stem=1,
            widths=(128, 256, 512, 512),
            blocks=2,
            reference_skips=False,
            layout="sd15",
            tiny_decoder=tiny_decoder,
        ),
        unet=UNetConfig(
            latent_channels=4,
            channels=(320, 640, 1280, 1280),
            layers=2,
            attention=(True, True, True, False),
            temporal=(True, True, True, True),
            audio_width=384,
            audio_tokens=audio.positions * (5 if audio.encoder == "whisper" else 4),
            expression_dims=0,
            expression_tokens=0,
            context_width=384,
            ffn_ratio=4,
            groups=32,
            motion_frames=4,
            guide_channels=0,
            guide_size=(0, 0),
            layout="sd15",
            heads=8,
        ),
        stream=StreamConfig(nfe=6),
        schedule="zero_snr",
    )


WHISPER: Final = AudioConfig(
    mel_bins=80,
    context_frames=32,
    lookahead_frames=3,
    channels=384,
    width=384,
    encoder="whisper",
    positions=10,
)
"""whisper-tiny. Tokens of frame i are taken from 80 ms before its start to 120 ms after it."""
WAV2VEC2: Final = AudioConfig(
    context_frames=32, lookahead_frames=3, channels=768, width=384, encoder="wav2vec2", positions=8
)
"""wav2vec2-base: four of its layers at eight positions, projected."""

PRESETS: dict[str, Preset] = {
    "small": Preset(
        name="small",
        face_box=(48, 88, 160, 160),
        vae=VAEConfig(stem=2, widths=(32, 64, 128), decoder="move"),
    ),
    "base": _base("base", WHISPER, tiny_decoder=True),
    "base-vae": _base("base-vae", WHISPER, tiny_decoder=False),
    "base-wav2vec2": _base("base-wav2vec2", WAV2VEC2, tiny_decoder=True),
}
"""small: its decoder moves the picture's own pixels, and its box holds a photographed jaw. base: EchoMimic's
networks with a tiny decoder; base-vae: with Stable Diffusion's own; base-wav2vec2: FADA's sound encoder in place of
Whisper."""

SERVED: dict[str, HopChoice] = {"small": HopChoice(hop_frames=2, overlap_frames=0, lookahead_frames=1)}
"""The default choice of each preset, by measurement."""


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"There is no preset '{name}'; choose one of {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]


def shipped(name: str, part: Literal["student", "probe"] = "student") -> Path:
    """The file of a preset's shipped weights, whatever the working folder; it may not be there."""
    return WEIGHTS / name / f"{part}.safetensors"
