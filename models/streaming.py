"""One hop of the stream: sound in, finished frames out, the state passed in and out as a value.

In: the states of B sessions and one window of sound each. Out: new states and ``hop_frames`` frames per
session. Window k covers frames [k hop, k hop + hop + overlap); its first ``overlap`` latents are blended with
the tail that window k - 1 left, its own tail goes into the new state. Nothing is kept outside the state, so any
chunking of the sound, any batching of sessions and the offline run give the same frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.native.kernels import Kernels
from models.diffusion.samplers import sampler_of
from models.face import CANVAS_PX, EXPRESSION_DIMS, MOST_PX, POSE_DIMS, SAMPLES_PER_FRAME
from models.framing.picture_warp import PictureWarp, with_alpha
from models.framing.placement import Placement
from models.framing.similarity import cut
from models.hop import HopControls, HopInputs, HopRunner, StreamState, controls_of_rows
from models.modules.mover import edge_window
from models.motion import MotionState, advance_motion, init_motion, speech_level
from models.networks import Networks, WindowConditions
from models.presets import Preset
from models.tone import fit_tone, keep_tone
from models.voice import voice_only
from models.warp import HeadWarp

EASE_FRAMES: Final = 2
"""Frames in which a mouth that is interrupted comes to rest, 80 ms at 25 fps: like lips, most of it at once."""


_REST = HopControls(1.0, 1.0, 1)  # a rest samples nothing, so its controls say nothing


def blend_weights(overlap: int) -> tuple[float, ...]:
    """Weight of the new window in each overlapped frame; the old one has the rest, so they sum to 1."""
    return tuple((i + 1) / (overlap + 1) for i in range(overlap))


class Streamer:
    """Opens streams and runs hops on a set of networks. Holds no per-session state."""

    def __init__(
        self,
        networks: Networks,
        device: torch.device,
        move_head: bool = True,
        picture_px: int | None = None,
        placement: Placement | None = None,
    ) -> None:
        """Args:
            networks: the student's.
            device: where its tensors lie.
            move_head: False leaves the head still, for measuring.
            picture_px: side of the pictures in and out; the preset's canvas by default, and at least that.
            placement: in place of it, for pictures that are no canvas: their size, and where it lies in them.

        Raises:
            ValueError: the preset draws at no other size than its canvas, or the size is too small.
        """
        self.networks, self.device, self.move_head = networks, device, move_head
        self.preset = networks.preset
        self.placement = placement or Placement.canvas(picture_side(self.preset, picture_px))
        kernels: Kernels | None = getattr(networks, "kernels", None)
        own = Placement.canvas(self.preset.canvas_px)
        self.paints_canvas = not self.preset.moves and self.placement == own
        if self.paints_canvas:
            self.warp = HeadWarp(self.placement.height, self.placement.width, device, kernels)
        else:
            self.picture_warp = PictureWarp(self.placement, device, kernels)
        overlap = self.preset.stream.overlap_frames
        self._ramp = torch.tensor(blend_weights(overlap), device=device).view(-1, 1, 1, 1)
        self._runner: HopRunner = self

    @torch.inference_mode()
    def open(self, picture: np.ndarray, seed: int) -> StreamState:
        """Start a stream on a reference picture.

        Args:
            picture: (H, W, 3) uint8 RGB of the placement's size, (H, W, 4) where it has alpha; framed as
                `models.face` has it, the canvas lying where the placement says.
            seed: of the noise and of blinks, gaze and head pose.

        Raises:
            ValueError: the picture has another shape or dtype.
        """
        place = self.placement
        expected = (place.height, place.width, place.channels)
        if picture.shape != expected or picture.dtype != np.uint8:
            raise ValueError(f"Expected a picture {expected} uint8, got {picture.shape} {picture.dtype}.")
        whole = torch.from_numpy(picture.copy())
        canvas = self._canvas_of(whole)
        box = self._box(canvas)
        latent, banks, features = self.networks.encode_reference(box)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((1, 1, *latent.shape[1:]), generator=generator).to(self.device)
        frames = self.preset.unet.motion_frames
        motion = latent.unsqueeze(1).repeat(1, frames, 1, 1, 1)
        nothing = torch.empty(1, 0, device=self.device)
        return StreamState(
            canvas=nothing if self.preset.moves else canvas,
            picture=nothing if self.paints_canvas else with_alpha(whole).to(self.device),
            latent=latent,
            banks=banks,
            features=features,
            tone=fit_tone(box),
            noise=noise,
            motion=motion,
            tail=None,
            gestures=init_motion(seed),
            frame=0,
        )

    @torch.inference_mode()
    def hop(
        self, states: Sequence[StreamState], audio: np.ndarray, controls: HopControls | Sequence[HopControls]
    ) -> tuple[list[StreamState], np.ndarray, dict[str, float]]:
        """Run one hop of B sessions; each may have its own scales.

        Args:
            states: B states.
            audio: (B, `Preset.window_samples`) float32 in [-1, 1]; what is no voice in it (breath, keys, hiss)
                moves nothing (`models.voice`).
            controls: scales and number of evaluations: one for all sessions, or one each with the same nfe.

        Returns:
            (new states, frames (B, hop, H, W, 3) uint8, milliseconds per stage).

        Raises:
            ValueError: the audio's shape, the number of controls or their nfe do not fit.
        """
        self._check(states, audio)
        each = controls_of_rows(controls, len(states))
        heard = np.stack([voice_only(np.asarray(window, np.float32)) for window in audio])
        audio = self._with_lookahead(heard)
        expression, pose, gestures = self._gestures(states, audio, [c.listening for c in each])
        inputs = self._gather(states, audio, expression, pose, each)
        latents, frames, timings = self._runner.run(inputs, each[0].nfe)
        return self._advance(states, latents, gestures), frames, timings

    def use_runner(self, runner: HopRunner) -> None:
        """Let another runner do a hop's work on the device; see `models.runtimes.static_hop`."""
        self._runner = runner

    def free_memory(self) -> None:
        """Give back what can be made again, after memory ran out."""
        self._runner.forget()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def forget(self) -> None:
        """Nothing is kept between hops: `HopRunner`."""

    def run(self, inputs: HopInputs, nfe: int) -> tuple[Tensor, np.ndarray, dict[str, float]]:
        """A hop's work on the device, call by call: `HopRunner`."""
        clock = _StageClock(self.device)
        features = self.networks.audio_features(inputs.audio)
        clock.mark("audio")
        latents = self.blend(inputs, self.sample(inputs, features, nfe))
        clock.mark("denoise")
        pixels = self.paint(inputs, latents[:, : self.preset.stream.hop_frames])
        frames = pixels.unflatten(0, (len(inputs.audio), -1)).cpu().numpy()
        clock.mark("decode")
        return latents, frames, clock.stages_ms

    @torch.inference_mode()
    def rest(self, states: Sequence[StreamState]) -> tuple[list[StreamState], np.ndarray, dict[str, float]]:
        """Run one hop without sound or denoising: each mouth eases to its reference picture's; decoded only.

        Head and shoulders go on living. For interruptions: it costs a decoder run and forgets what was blended.

        Returns:
            As `hop`.
        """
        clock = _StageClock(self.device)
        hop = self.preset.stream.hop_frames
        silence = np.zeros(hop, dtype=np.float32)
        poses, after = [], []
        for state in states:
            moved, _, pose = advance_motion(state.gestures, silence, state.gestures.attention > 0.5)
            poses.append(pose)
            after.append(moved)
        left = [max(0.0, 1 - (frame + 1) / min(EASE_FRAMES, hop)) for frame in range(hop)]
        ramp = [1 - share**3 for share in left]
        weights = torch.tensor(ramp, device=self.device).view(1, -1, 1, 1, 1)
        last = torch.cat([state.motion[:, -1:] for state in states])
        latents = torch.lerp(last, torch.cat([state.latent for state in states]).unsqueeze(1), weights)
        moves = torch.from_numpy(np.concatenate(poses)).float().to(self.device)
        inputs = self._gather(states, np.zeros((len(states), 1)), moves, moves, [_REST] * len(states))
        frames = self.paint(inputs, latents).unflatten(0, (len(states), -1)).cpu().numpy()
        clock.mark("decode")
        eased = [replace(state, tail=None) for state in self._advance(states, latents, after)]
        return eased, frames, clock.stages_ms

    @torch.inference_mode()
    def prepare(self, states: Sequence[StreamState]) -> list[StreamState]:
        """Make what the next hop needs and no sound tells: the banks of the motion frames.

        For the time between two windows; a hop whose states were not prepared makes them itself, with the same
        result. Recorded hops have them inside and are left as they are.
        """
        missing = [index for index, state in enumerate(states) if not state.moving]
        ready = list(states)
        if self._runner is not self or not missing:
            return ready
        banks = self.networks.motion_banks(_rows([states[index].motion for index in missing]))
        for row, index in enumerate(missing):
            ready[index] = replace(states[index], moving=tuple(bank[row : row + 1] for bank in banks))
        return ready

    def _check(self, states: Sequence[StreamState], audio: np.ndarray) -> None:
        samples = self.preset.window_samples
        if audio.shape != (len(states), samples):
            raise ValueError(f"Expected audio of shape ({len(states)}, {samples}), got {audio.shape}.")

    def _with_lookahead(self, audio: np.ndarray) -> np.ndarray:
        """The windows (B, N) with as much look-ahead as the audio encoder hears, mirrored where not awaited."""
        missing = (self.preset.audio.lookahead_frames - self.preset.lookahead_frames) * SAMPLES_PER_FRAME
        return np.concatenate((audio, audio[:, : -missing - 1 : -1]), axis=1) if missing else audio

    def _canvas_of(self, whole: Tensor) -> Tensor:
        """The networks' canvas (1, 3, S, S) in [0, 1] of a picture (H, W, C) uint8."""
        side = self.preset.canvas_px
        if self.placement.is_canvas:
            canvas = whole.permute(2, 0, 1)[None].to(self.device).float() / 255
            return _resized(canvas, side)
        seen = torch.from_numpy(
            cut(whole[..., :3].contiguous().numpy(), self.placement.similarity, side).copy()
        )
        return seen.permute(2, 0, 1)[None].to(self.device).float() / 255

    def _box(self, canvas: Tensor) -> Tensor:
        left, top, width, height = self.preset.face_box
        return canvas[:, :, top : top + height, left : left + width]

    def _gestures(
        self, states: Sequence[StreamState], audio: np.ndarray, listening: Sequence[bool]
    ) -> tuple[Tensor, Tensor, list[MotionState]]:
        """Expression (B, T, 4) of the window, pose (B * hop, 6) of the hop, and the generators after the hop."""
        stream, context = self.preset.stream, self.preset.audio.context_samples
        expressions, poses, after = [], [], []
        for state, window, listens in zip(states, audio, listening, strict=True):
            level = speech_level(window[context : context + stream.window_frames * SAMPLES_PER_FRAME])
            moved, expression, pose = advance_motion(state.gestures, level[: stream.hop_frames], listens)
            _, ahead, _ = advance_motion(moved, level[stream.hop_frames :], listens)
            expressions.append(np.concatenate((expression, ahead.reshape(-1, len(EXPRESSION_DIMS)))))
            poses.append(pose)
            after.append(moved)
        pose_tensor = torch.from_numpy(np.concatenate(poses)).float().to(self.device)
        assert pose_tensor.shape[1] == len(POSE_DIMS)
        return torch.from_numpy(np.stack(expressions)).float().to(self.device), pose_tensor, after

    def _gather(
        self,
        states: Sequence[StreamState],
        audio: np.ndarray,
        expression: Tensor,
        pose: Tensor,
        controls: Sequence[HopControls],
    ) -> HopInputs:
        overlap = self.preset.stream.overlap_frames
        empty = states[0].latent.unsqueeze(1).expand(-1, overlap, -1, -1, -1)
        moving: tuple[Tensor, ...] = ()
        if all(state.moving for state in states):
            moving = tuple(_rows(parts) for parts in zip(*(s.moving for s in states), strict=True))
        return HopInputs(
            audio=torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)).to(self.device),
            expression=expression,
            pose=pose,
            # (B, 2): the mix of the CFG tokens is each row's own, so different scales still share one batch.
            scales=torch.tensor([[c.reference_scale, c.audio_scale] for c in controls], device=self.device),
            reference=_rows([s.latent for s in states]),
            motion=_rows([s.motion for s in states]),
            noise=_rows([s.noise for s in states]),
            tail=_rows([empty if s.tail is None else s.tail for s in states]),
            has_tail=torch.tensor([s.tail is not None for s in states], device=self.device),
            canvas=_rows([s.canvas for s in states]),
            picture=_rows([s.picture for s in states]),
            tone=_rows([s.tone for s in states]),
            banks=tuple(_rows(parts) for parts in zip(*(s.banks for s in states), strict=True)),
            features=tuple(_rows(parts) for parts in zip(*(s.features for s in states), strict=True)),
            moving=moving,
        )

    def sample(self, inputs: HopInputs, features: Tensor, nfe: int) -> Tensor:
        """Latents (B, T, C, h, w) of the window."""
        moving = inputs.moving or self.networks.motion_banks(inputs.motion)
        told = WindowConditions(
            features, inputs.expression, inputs.reference, inputs.banks, moving, inputs.scales,
            self.networks.absorb_sound(features),
        )  # fmt: skip
        noise = inputs.noise.expand(-1, self.preset.stream.window_frames, -1, -1, -1)

        def predict(x_t: Tensor, t: Tensor) -> Tensor:
            return self.networks.denoise(x_t, t, told)

        return sampler_of(self.preset)(predict, noise, nfe)

    def blend(self, inputs: HopInputs, latents: Tensor) -> Tensor:
        """The window's first frames blended with the tail of the one before, in rows that have one."""
        overlap = self.preset.stream.overlap_frames
        if not overlap:
            return latents
        head = latents[:, :overlap]
        mixed = torch.lerp(inputs.tail, head, self._ramp)
        mixed = torch.where(inputs.has_tail.view(-1, 1, 1, 1, 1), mixed, head)
        return torch.cat((mixed, latents[:, overlap:]), dim=1)

    def paint(self, inputs: HopInputs, latents: Tensor) -> Tensor:
        """Decode face boxes, put them into their canvases, move the heads: (B * frames, H, W, 3) uint8."""
        hop, z = latents.shape[1], latents.flatten(0, 1)
        pose = inputs.pose if self.move_head else None
        features = tuple(_spread(part, hop) for part in inputs.features)
        tone = _spread(inputs.tone, hop)
        if self.preset.moves:
            moves = self.networks.decode(z, z, features)
            paint = keep_tone(moves[..., 3:6].permute(0, 3, 1, 2), tone)
            moves[..., 3:6] = paint.permute(0, 2, 3, 1)
            return self._draw(inputs, pose, moves)
        canvas = _spread(inputs.canvas, hop).clone(memory_format=torch.channels_last)
        left, top, width, height = self.preset.face_box
        box = keep_tone(self.networks.decode(z, self._box(canvas), features), tone)
        if not self.paints_canvas:
            return self._draw(inputs, pose, _as_moves(box))
        canvas[:, :, top : top + height, left : left + width] = box
        return self.warp.to_bytes(canvas, pose)

    def _draw(self, inputs: HopInputs, pose: Tensor | None, moves: Tensor) -> Tensor:
        """What a decoder says of face boxes, applied to the pictures themselves."""
        scale = CANVAS_PX / self.preset.canvas_px
        left, top, width, height = (edge * scale for edge in self.preset.face_box)
        return self.picture_warp(inputs.picture, pose, moves, (left, top, width, height))

    def _advance(
        self, states: Sequence[StreamState], latents: Tensor, gestures: list[MotionState]
    ) -> list[StreamState]:
        stream, keep = self.preset.stream, self.preset.unet.motion_frames
        out = []
        for row, state in enumerate(states):
            past = torch.cat((state.motion, latents[row : row + 1, : stream.hop_frames]), dim=1)
            out.append(
                replace(
                    state,
                    motion=past[:, -keep:],
                    moving=(),
                    tail=latents[row : row + 1, stream.hop_frames :],
                    gestures=gestures[row],
                    frame=state.frame + stream.hop_frames,
                )
            )
        return out


def _as_moves(box: Tensor) -> Tensor:
    """Painted face boxes (N, 3, h, w) as what moves nothing and paints all: `models.modules.mover.packed`."""
    count, _, height, width = box.shape
    window = edge_window(height, width, box.device).expand(count, -1, -1)
    rest = torch.zeros(count, height, width, 2, device=box.device)
    return torch.cat((rest, window.unsqueeze(-1), box.float().permute(0, 2, 3, 1), rest), dim=-1)


def picture_side(preset: Preset, picture_px: int | None) -> int:
    """The side of the pictures that a preset's stream takes and gives.

    Raises:
        ValueError: the preset draws at no other size than its canvas, or the size is too small.
    """
    if picture_px is None or picture_px == preset.canvas_px:
        return preset.canvas_px
    if not preset.moves:
        raise ValueError(
            f"The networks of preset '{preset.name}' draw pictures of {preset.canvas_px} px; only a decoder that "
            f"moves pixels takes another size, got {picture_px}."
        )
    if not preset.canvas_px <= picture_px <= MOST_PX:
        raise ValueError(f"Expected a size from {preset.canvas_px} to {MOST_PX} px, got {picture_px}.")
    return picture_px


def _resized(picture: Tensor, side: int) -> Tensor:
    """(1, 3, H, W) at another size, without aliasing."""
    if picture.shape[-1] == side:
        return picture
    return F.interpolate(picture, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _rows(parts: Sequence[Tensor]) -> Tensor:
    """B tensors (1, ...) -> (B, ...); a view where B is 1."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _spread(rows: Tensor, frames: int) -> Tensor:
    """(B, ...) -> (B * frames, ...): each row for all of its frames; a view where B is 1."""
    return rows.unsqueeze(1).expand(-1, frames, *rows.shape[1:]).flatten(0, 1)


class _StageClock:
    """Milliseconds between marks; on CUDA the device is waited for, so the figures are true."""

    def __init__(self, device: torch.device) -> None:
        self.stages_ms: dict[str, float] = {}
        self._wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
        self._last = time.perf_counter()

    def mark(self, stage: str) -> None:
        self._wait()
        now = time.perf_counter()
        self.stages_ms[stage] = (now - self._last) * 1e3
        self._last = now
