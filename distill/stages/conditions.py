"""What steers the networks in training: a batch's sound and pictures as the denoiser takes them.

In: a model and a batch. Out: features of the frozen audio encoder, and `Conditions` with all branches on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill.data.batches import ClipBatch
from models.avatar_model import AvatarModel
from models.modules.unet import Conditions


@torch.no_grad()
def audio_features(model: AvatarModel, audio: Tensor, frames: int) -> Tensor:
    """Sound (B, N) -> (B, frames, W) by the frozen audio encoder; the spectrum in fp32."""
    with torch.autocast(audio.device.type, enabled=False):
        mel = model.audio.logmel(audio)
    return model.audio.encode_mel(model.audio.slices(mel, frames)).unflatten(0, (-1, frames))


def conditions(model: AvatarModel, batch: ClipBatch) -> Conditions:
    """Run audio encoder and ReferenceNet on a batch: conditions with all branches on."""
    features = audio_features(model, batch.audio, batch.x_0.shape[1])
    banks = model.reference_net(batch.reference, batch.motion)
    return Conditions(features, batch.expression, batch.reference, banks)
