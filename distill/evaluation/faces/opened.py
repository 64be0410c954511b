"""Who is measured: a performer from a checkpoint, whatever that holds.

In: the choices of `fada eval`. Out: a `Student`, or a `Puppet` where the checkpoint is an autoencoder alone.
"""

from __future__ import annotations

from pathlib import Path

import torch

from distill.evaluation.config import StudentConfig
from distill.evaluation.faces.heads import Driver
from distill.evaluation.faces.performers import Performer, Puppet, Student, load_autoencoder
from distill.evaluation.faces.regions import OUT_PX
from models.avatar_model import AvatarModel
from models.checkpoint import CheckpointError
from models.runtimes.backends import choose_backend, load_networks
from models.runtimes.options import AUTO
from models.streaming import Streamer
from models.weights import RANDOM, load_model, open_model


def open_performer(student: StudentConfig, preset: str, data: Path) -> Performer:
    """Open a checkpoint.

    Args:
        student: which, and how it runs; its weights may be "random".
        preset: of random weights; a checkpoint names its own.
        data: where the clips of the head lie that an autoencoder imitates.

    Raises:
        models.checkpoint.CheckpointError: it cannot be read, or is of another layout.
    """
    if student.weights.is_file() and (found := load_autoencoder(student.weights)) is not None:
        vae, own = found
        return Puppet(vae, own, Driver(data, own.face_box))
    streamer = open_streamer(student, preset)
    return Student(streamer, student.controls(streamer.preset.stream))


def open_streamer(student: StudentConfig, preset: str, move_head: bool = False) -> Streamer:
    """The streaming step of a student, at 512 px where its decoder moves pixels.

    Raises:
        models.checkpoint.CheckpointError: see `open_performer`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    named = str(student.weights)
    model = open_model(preset, RANDOM) if named == RANDOM else load_model(student.weights)
    if not isinstance(model, AvatarModel):
        raise CheckpointError(f"Expected a preset of the small one's layout, got '{preset}'.")
    model.preset = student.hop.applied(model.preset)
    backend = choose_backend(device) if student.backend == AUTO else student.backend
    side = OUT_PX if model.preset.moves else model.preset.canvas_px
    return Streamer(load_networks(model, device, backend), device, move_head, side)
