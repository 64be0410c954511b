"""The parts of a preset: shapes of the audio encoder, autoencoder and UNets, and how windows follow each other.

In: numbers. Out: frozen dataclasses, checked when built. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from models.face import SAMPLES_PER_FRAME

SCALE_LIMIT: Final = 4.0
"""Guidance scales beyond this are refused everywhere: no student was ever shown them."""


Layout = Literal["fada", "sd15"]
"""Whose arithmetic and key names the networks have: this project's own, or Stable Diffusion 1.5's as EchoMimic
uses it (`models.sd15`)."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Shape of the audio encoder; times in samples at 16 kHz.

    Attributes:
        encoder: "mel" is this project's own convolutions (one vector per frame); "whisper" and "wav2vec2" give
            every frame a row of tokens of ``width`` from their hidden layers (`models.sd15`).
        positions: of 20 ms each that a frame's tokens are taken from, "whisper" and "wav2vec2" alone.
    """

    mel_bins: int = 64
    window_samples: int = 400
    step_samples: int = 160
    context_frames: int = 16
    lookahead_frames: int = 2
    channels: int = 128
    width: int = 256
    encoder: Literal["mel", "whisper", "wav2vec2"] = "mel"
    positions: int = 0

    def __post_init__(self) -> None:
        if self.encoder not in ("mel", "whisper", "wav2vec2"):
            raise ValueError(f"AudioConfig: encoder must be mel, whisper or wav2vec2, got '{self.encoder}'")
        if self.context_frames < 1 or self.lookahead_frames < 0:
            raise ValueError("AudioConfig: context_frames must be >= 1 and lookahead_frames >= 0")

    @property
    def context_samples(self) -> int:
        return self.context_frames * SAMPLES_PER_FRAME

    @property
    def lookahead_samples(self) -> int:
        return self.lookahead_frames * SAMPLES_PER_FRAME

    def frames_in(self, samples: int) -> int:
        """Video frames that a window of that many samples gives.

        Raises:
            ValueError: the window holds no whole number of frames.
        """
        inner = samples - self.context_samples - self.lookahead_samples
        if inner <= 0 or inner % SAMPLES_PER_FRAME:
            raise ValueError(
                f"An audio window must hold context ({self.context_samples}), a whole number of frames of "
                f"{SAMPLES_PER_FRAME} and look-ahead ({self.lookahead_samples}) samples; got {samples}."
            )
        return inner // SAMPLES_PER_FRAME

    @property
    def columns(self) -> int:
        """Mel columns that one video frame's feature sees."""
        samples = self.context_samples + SAMPLES_PER_FRAME + self.lookahead_samples
        return (samples - self.window_samples) // self.step_samples + 1


@dataclass(frozen=True, slots=True)
class VAEConfig:
    """Shape of the autoencoder.

    Attributes:
        reference_skips: the decoder also sees the reference picture ("fada" alone).
        layout: "sd15" is Stable Diffusion's autoencoder.
        decoder: "paint" draws over the reference picture, "move" moves its pixels ("fada" alone).
        tiny_decoder: "sd15" alone: decode with a small network in TAESD's layout, a seventeenth of the work.
    """

    latent_channels: int = 8
    stem: int = 4
    widths: tuple[int, ...] = (64, 128)
    encoder_blocks: int = 1
    blocks: int = 2
    reference_skips: bool = True
    layout: Layout = "fada"
    tiny_decoder: bool = False
    decoder: Literal["paint", "move"] = "paint"

    def __post_init__(self) -> None:
        if self.decoder not in ("paint", "move"):
            raise ValueError(f"VAEConfig: decoder must be 'paint' or 'move', got '{self.decoder}'")
        if self.decoder == "move" and not (self.reference_skips and self.stem == 2 and len(self.widths) > 1):
            raise ValueError(
                "VAEConfig: the decoder 'move' needs reference_skips, a stem of 2 and two widths or more, got "
                f"reference_skips={self.reference_skips}, stem={self.stem}, widths={self.widths}"
            )

    @property
    def factor(self) -> int:
        """Pixels per latent side."""
        return int(self.stem * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Shape of the denoising UNet and, without audio, time and control, of its ReferenceNet.

    Attributes:
        layout: "sd15" takes ``heads`` in place of ``head_width``, sound alone as context (``context_width``), and
            knows no expression and no guide.
        heads: of every attention in the layout "sd15".
    """

    latent_channels: int = 8
    channels: tuple[int, ...] = (96, 192)
    layers: int = 1
    attention: tuple[bool, ...] = (False, True)
    temporal: tuple[bool, ...] = (False, True)
    head_width: int = 32
    audio_width: int = 256
    audio_tokens: int = 4
    expression_dims: int = 4
    expression_tokens: int = 2
    context_width: int = 128
    ffn_ratio: int = 2
    groups: int = 16
    motion_frames: int = 2
    max_frames: int = 32
    guide_channels: int = 16
    guide_size: tuple[int, int] = (20, 20)
    control_tokens: int = 4
    control_width: int = 64
    layout: Layout = "fada"
    heads: int = 8

    def __post_init__(self) -> None:
        if self.layout not in ("fada", "sd15"):
            raise ValueError(f"UNetConfig: layout must be 'fada' or 'sd15', got '{self.layout}'")
        if not len(self.channels) == len(self.attention) == len(self.temporal):
            raise ValueError("UNetConfig: channels, attention and temporal must have the same length")
        name, divisor = ("heads", self.heads) if self.layout == "sd15" else ("head_width", self.head_width)
        for width in self.channels:
            if width % self.groups or width % divisor:
                raise ValueError(
                    f"UNetConfig: width {width} must be a multiple of groups ({self.groups}) "
                    f"and of {name} ({divisor})"
                )


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How windows follow each other, in video frames, and how they are guided.

    Attributes:
        audio_scale, reference_scale: guidance where nobody asks for another.
        audio_scale_range, reference_scale_range: (low, high) that users may choose from: what the students
            are trained on (distill/methods/sample.py). Checkpoints written before these fields have the defaults.
        nfe: evaluations per window. One is not only the fastest: the shipped student predicts clean latents, and
            what more steps add is noise (docs/training.md).
        lookahead_frames: sound awaited after a window's last frame; None awaits all that the audio encoder hears,
            less leaves it the mirror image of the last samples instead.
    """

    hop_frames: int = 4
    overlap_frames: int = 1
    nfe: int = 1
    audio_scale: float = 1.4
    reference_scale: float = 1.0
    max_batch: int = 4
    audio_scale_range: tuple[float, float] = (0.0, 2.5)
    reference_scale_range: tuple[float, float] = (0.5, 1.5)
    lookahead_frames: int | None = None

    def __post_init__(self) -> None:
        if self.lookahead_frames is not None and self.lookahead_frames < 0:
            raise ValueError(f"StreamConfig: need lookahead_frames >= 0, got {self.lookahead_frames}")
        if self.hop_frames < 1 or not 0 <= self.overlap_frames <= self.hop_frames:
            raise ValueError("StreamConfig: need hop_frames >= 1 and 0 <= overlap_frames <= hop_frames")
        for name in ("audio_scale", "reference_scale"):
            (low, high), own = getattr(self, f"{name}_range"), getattr(self, name)
            if not 0.0 <= low <= own <= high <= SCALE_LIMIT:
                raise ValueError(
                    f"StreamConfig: need 0 <= low <= {name} <= high <= {SCALE_LIMIT:g}, got {low}, {own}, {high}"
                )

    @property
    def window_frames(self) -> int:
        return self.hop_frames + self.overlap_frames
