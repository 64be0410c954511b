"""Rendered heads that speak, as latents: what teacher and student train on beside drawn characters.

In: clips of pictures that have been rendered (`HeadClips`), a frozen VAE. Out: `ClipItem`s at the preset's face
box, any number of views of each clip: framed, lit and mirrored each in its own way. A clip of quality "moderate" is
a clean one spoilt afterwards: its pictures as poor video's are, its sound late, drifting or another one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from distill.corpus.degrade import DEFECTS, VERSION, Defects, draw_defects, sound_delays, spoil_pictures
from distill.data.draws import mixed
from distill.data.latents import ClipItem, LatentStore, Shown, are_written, fingerprint
from distill.data.speech_set import SpeechSet, audio_window
from distill.data.talking.head_clips import HeadClipItem, HeadClips
from distill.data.views import draw_view, mirrored
from models.modules.vae import VAE
from models.presets import Preset

_SEED: Final = 49_979_687


@dataclass(frozen=True, slots=True)
class Timing:
    """Which sound goes with which of a clip's frames.

    Attributes:
        speech: clip of the speech set that is heard. first: its frame that is heard first; may lie before it.
        picks: (F',) the clip's frames in the order in which they are seen.
    """

    speech: int
    first: int
    picks: Tensor


def timing_of(clip: HeadClipItem, wrong: Defects | None, seed: int, shared: int | None = None) -> Timing:
    """When a clip's frames are seen and what is heard meanwhile.

    Sound that is late by d frames shows the mouth of what will be heard d frames later: the sound begins as much
    earlier. Sound that drifts is one whose pictures lose or repeat a frame now and then, as cameras do; where
    frames are lost the clip is as much shorter.

    Args:
        clip: as it was rendered.
        wrong: its defects.
        seed: which other clip is heard where the lips are wrong.
        shared: how many speech clips there are, where clips share them.
    """
    frames = len(clip.mouth) - 2
    every = torch.arange(frames)
    if wrong is None:
        return Timing(clip.speech, clip.first, every)
    if wrong.has("wrong_lips"):
        other = clip.speech + 1 + seed % 7
        other = other if shared is None else other % shared
        return Timing(other, clip.first if other != clip.speech else clip.first + frames, every)
    delays = sound_delays(frames, wrong)
    if wrong.has("drifting_audio"):
        picks = (every + delays).round().long()
        return Timing(clip.speech, clip.first, picks[(picks >= 0) & (picks < frames)])
    return Timing(clip.speech, clip.first - round(float(delays[0])), every)


class TalkingHeads:
    """``count`` views of the clips that have been rendered, encoded by ``vae``.

    Item i is view i // n of rendered clip i % n, where n clips are there when the set is made: later ones count
    from the next run on. A view of a clip depends on (VAE, box, quality, clip, view) alone.

    Args:
        clips: pictures.
        preset: whose face box and audio encoder. vae: frozen, in evaluation mode.
        speech: sound of the same numbers as that of the pictures, of the quality asked for.
        count: how many.
        quality: "high" or "moderate".
        allowed: what may be wrong with moderate clips.

    Raises:
        FileNotFoundError: nothing has been rendered yet.
    """

    def __init__(
        self,
        clips: HeadClips,
        preset: Preset,
        vae: VAE,
        speech: SpeechSet,
        count: int,
        quality: str = "high",
        allowed: tuple[str, ...] = DEFECTS,
    ) -> None:
        self.clips, self.preset, self.speech, self.count = clips, preset, speech, count
        self.quality, self.allowed = quality, allowed
        self.there = clips.rendered()
        if not self.there:
            people = "" if clips.people is None else f" --people {clips.people}"
            raise FileNotFoundError(
                f"There are no talking heads in {clips.root}; make some with "
                f"`fada train --stage head-clips --clips 200{people}`."
            )
        kind = quality if quality == "high" else f"{quality}{VERSION}"
        if allowed != DEFECTS:
            kind += "-" + "+".join(allowed)
        box = "x".join(map(str, preset.face_box))
        folder = f"{clips.root.name}-{kind}-{box}-{fingerprint(vae)}"
        self._written = are_written(preset, quality)
        self._store = LatentStore(clips.root.parent / folder, vae, self._written)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ClipItem:
        clip, view = self._place(index)
        return self._store.item(f"{clip:06d}-{view}", lambda: self.shown(index, whole=not self._written))

    def forget(self) -> None:
        """Drop what is kept in memory; the disk keeps it."""
        self._store.forget()

    def picture(self, index: int) -> Tensor:
        """The picture (3, h, w) that the first reference of item ``index`` encodes."""
        with torch.autocast("cpu", enabled=False):
            return self.shown(index, whole=not self._written).pictures[0]

    def _place(self, index: int) -> tuple[int, int]:
        """(rendered clip, view) of an item."""
        return self.there[index % len(self.there)], index // len(self.there)

    def defects(self, index: int) -> Defects | None:
        """What is wrong with item ``index``; None for a clip of high quality."""
        if self.quality == "high":
            return None
        clip, view = self._place(index)
        return draw_defects(mixed(clip, view) % 1_000_003, self.allowed)

    def shown(self, index: int, whole: bool = True) -> Shown:
        """Item ``index`` before it is encoded, with all its pictures or its references alone."""
        number, view = self._place(index)
        clip, wrong = self.clips[number], self.defects(index)
        timing = timing_of(clip, wrong, number, self.clips.shared)
        generator = torch.Generator().manual_seed(mixed(_SEED, number, view))
        seen = torch.cat((torch.arange(2), 2 + timing.picks))[: None if whole else 2]
        pictures, turned = draw_view(clip.pictures[seen].float() / 255, self.preset.face_box, generator)
        if wrong is not None:
            pictures = spoil_pictures(pictures, wrong)
        cfg, spoken = self.preset.audio, self.speech[timing.speech]
        audio = audio_window(
            spoken.audio, timing.first, len(timing.picks), cfg.context_samples, cfg.lookahead_samples
        )
        expression = clip.expression[2 + timing.picks]
        return Shown(
            pictures, audio, clip.mouth[2 + timing.picks], mirrored(expression) if turned else expression
        )
