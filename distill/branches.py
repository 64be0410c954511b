"""A model that answers with one branch or three, behind the protocol that the streaming step asks.

In: an `AvatarModel` of either role. Out: `Networks`, so that teachers, three-branch students and one-branch
students without tokens stream hop by hop through the very code that the server runs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.native.kernels import Kernels
from models.avatar_model import AvatarModel
from models.diffusion.guidance import guided_x0
from models.networks import WindowConditions
from models.runtimes.native_modules import make_native
from models.runtimes.torch_networks import TorchNetworks


class BranchNetworks(TorchNetworks):
    """`TorchNetworks` for a model without CFG tokens: three guided branches, or the audio branch alone."""

    def __init__(
        self,
        model: AvatarModel,
        branches: int,
        device: torch.device,
        dtype: torch.dtype,
        kernels: Kernels | None = None,
    ) -> None:
        """``branches`` 3 mixes the model's outputs by the scales; 1 has no use for scales.

        ``kernels``: this machine's own CPU kernels, to run on them; ``dtype`` is fp32 then.

        Raises:
            ValueError: another number of branches, or a student (whose tokens need `TorchNetworks`).
        """
        if branches not in (1, 3):
            raise ValueError(f"A model answers with 1 or 3 branches, got {branches}.")
        if model.role != "teacher":
            raise ValueError("BranchNetworks is for models without CFG tokens; stream a student as it is.")
        self.branches = branches
        self.load(model, device, dtype)
        if kernels is not None:
            self.kernels = kernels
            make_native(self.model, kernels)

    def denoise(self, x_t: Tensor, t: Tensor, told: WindowConditions) -> Tensor:
        cond = self.conditions(told)
        x_t, t = self._in(x_t), t.to(self.device)
        if self.branches == 1:
            return self.model.denoiser(x_t, t, cond).float()
        scales = told.scales.to(self.device).float()
        return guided_x0(self.model.denoiser, x_t, t, cond, scales[:, 0], scales[:, 1])[0].float()


def evaluations(model: AvatarModel, branches: int, steps: int) -> int:
    """NFE of one window: network evaluations, branches counted."""
    return steps * (1 if model.role == "student" else branches)
