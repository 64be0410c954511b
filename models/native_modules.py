"""The networks' blocks on this machine's own CPU kernels: same weights, same results to rounding, fp32 only.

In: an `AvatarModel` in fp32. Out: the same model with its 3x3 convolutions, their norms, activations and additions,
the small attentions and the decoder's last step replaced by fused calls of `kernels.native`. For inference on one
thread at a time: the kernels share one workspace.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.native import COLUMNS, FEW_KEYS, LANES, Kernels, pack_columns, winograd_weight
from models.avatar_model import AvatarModel
from models.blocks import CrossAttention, FrameContext, ResBlock, TemporalAttention
from models.vae import ConvBlock, Decoder, ReferenceFeatures

LEAST_CHANNELS = 16
"""Below this a direct convolution is as fast: the tiles' transforms cost what the products save."""


def fits(module: nn.Module) -> bool:
    """Whether a module is a convolution that the kernel takes."""
    return (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
        and module.groups == 1
        and module.bias is not None
        and module.in_channels >= LEAST_CHANNELS
        and module.in_channels % LANES == module.out_channels % COLUMNS == 0
    )


def _fits_patches(conv: nn.Conv2d) -> bool:
    """Whether a convolution is 1x1, or 3x3 with stride 2, and pads by half its size."""
    shape = (conv.kernel_size, conv.stride, conv.padding)
    known = (((1, 1), (1, 1), (0, 0)), ((3, 3), (2, 2), (1, 1)))
    return shape in known and conv.groups == 1 and conv.bias is not None and conv.out_channels % COLUMNS == 0


class NativeConv(nn.Module):
    """A 3x3 convolution with what stands around it; the tiles of its weight are made once."""

    tiles: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, kernels: Kernels) -> None:
        super().__init__()
        assert conv.bias is not None
        self.kernels = kernels
        self.register_buffer("tiles", winograd_weight(conv.weight.detach()), persistent=False)
        self.register_buffer("bias", conv.bias.detach().float().contiguous(), persistent=False)

    def forward(
        self,
        x: Tensor,
        affine: tuple[Tensor, Tensor] | None = None,
        silu: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        """See `kernels.native.Kernels.conv3x3`."""
        return self.kernels.conv3x3(x, self.tiles, self.bias, affine, silu, residual)


class NativeLinear(nn.Module):
    """A linear layer whose weight is packed once."""

    packed: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        self.kernels, self.out_features = kernels, linear.out_features
        self.register_buffer("packed", pack_columns(linear.weight.detach()), persistent=False)
        bias = None if linear.bias is None else linear.bias.detach().float().contiguous()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., O)."""
        return self.kernels.linear(x, self.packed, self.bias)


class NativePatches(nn.Module):
    """Any other convolution of the networks (1x1, or 3x3 with stride 2) as one matrix product over its patches."""

    packed: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, kernels: Kernels) -> None:
        super().__init__()
        assert conv.bias is not None
        self.kernels, self.size, self.stride = kernels, conv.kernel_size[0], conv.stride[0]
        weight = conv.weight.detach().permute(0, 2, 3, 1).flatten(1)  # (O, k k C), as the patches lie
        self.register_buffer("packed", pack_columns(weight), persistent=False)
        self.register_buffer("bias", conv.bias.detach().float().contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, ceil(H / stride), ceil(W / stride)), channels-last."""
        patches = x.permute(0, 2, 3, 1)
        if self.size > 1:
            edge = self.size // 2
            patches = F.pad(patches, (0, 0, edge, edge, edge, edge))
            patches = patches.unfold(1, self.size, self.stride).unfold(2, self.size, self.stride)
            patches = patches.permute(0, 1, 2, 4, 5, 3).flatten(3)  # (N, h, w, k k C)
        return self.kernels.linear(patches, self.packed, self.bias).permute(0, 3, 1, 2)


class NativeResBlock(nn.Module):
    """`ResBlock` in eight calls: norm, film and SiLU ride into each convolution, the residual out of it."""

    def __init__(self, block: ResBlock, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels
        self.norm1, self.norm2, self.skip = block.norm1, block.norm2, block.skip
        self.emb, self.control = block.emb, block.control
        self.conv1, self.conv2 = NativeConv(block.conv1, kernels), NativeConv(block.conv2, kernels)

    def forward(self, x: Tensor, ctx: FrameContext) -> Tensor:
        """See `ResBlock`."""
        film = self.emb(F.silu(ctx.embedding))
        if self.control is not None and ctx.control is not None:
            film = film + self.control(ctx.control)
        h = self.conv1(x, self._affine(self.norm1, x), silu=True)
        return self.conv2(h, self._affine(self.norm2, h, film), silu=True, residual=self.skip(x))

    def _affine(self, norm: nn.GroupNorm, x: Tensor, film: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.kernels.group_affine(x, norm.num_groups, norm.weight, norm.bias, norm.eps, film)


class NativeConvBlock(nn.Module):
    """`ConvBlock` in two calls."""

    def __init__(self, block: ConvBlock, kernels: Kernels) -> None:
        super().__init__()
        self.conv1, self.conv2 = NativeConv(block.conv1, kernels), NativeConv(block.conv2, kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> same."""
        return self.conv2(self.conv1(x, silu=True), silu=True, residual=x)


class NativeDecoder(nn.Module):
    """`Decoder` with a reference picture; activations ride into the convolutions, the last step is one call."""

    def __init__(self, decoder: Decoder, kernels: Kernels) -> None:
        super().__init__()
        self.kernels, self.stem = kernels, decoder.stem
        self.enter, self.mix = decoder.enter, decoder.mix
        self.levels = decoder.levels
        self.ups = nn.ModuleList(NativeConv(up, kernels) for up in decoder.ups)  # type: ignore[arg-type]
        self.leave = NativeConv(decoder.leave, kernels)
        self.mix_reference = decoder.mix_reference

    def forward(self, z: Tensor, reference: ReferenceFeatures) -> Tensor:
        """Latents (N, C, h, w) -> pictures (N, 3, H, W), channels-last."""
        assert reference.mixed
        x = self.enter(z)
        for index, level in enumerate(self.levels):
            x = level(x + reference.levels[-1 - index])
            if index < len(self.ups):
                x = F.pixel_shuffle(self.ups[index](x, silu=True), 2)
        box = reference.picture.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        self.kernels.paint(self.leave(x, silu=True), box, self.stem, 0, 0)
        return box.permute(0, 3, 1, 2)


class NativeCrossAttention(CrossAttention):
    """`CrossAttention` whose few keys are read where they lie."""

    kernels: Kernels

    def attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """See `CrossAttention.attend`."""
        k, v = kv[None].chunk(2, dim=-1)
        return self.kernels.few_keys(q[None], k, v, self.heads)[0]


class NativeTemporalAttention(TemporalAttention):
    """`TemporalAttention` that reads (b f) (h w) c in place."""

    kernels: Kernels

    def attend(self, q: Tensor, kv: Tensor) -> Tensor:
        """See `TemporalAttention.attend`."""
        k, v = kv.transpose(1, 2).chunk(2, dim=-1)
        return self.kernels.few_keys(q.transpose(1, 2), k, v, self.heads).transpose(1, 2)


def make_native(model: AvatarModel, kernels: Kernels) -> None:
    """Replace what the kernels can do, in place; the rest of the model stays as it is."""
    if model.vae.decoder.skips and fits(model.vae.decoder.leave) and all(map(fits, model.vae.decoder.ups)):
        model.vae.decoder = NativeDecoder(model.vae.decoder, kernels)  # type: ignore[assignment]
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            found = _replacement(child, kernels)
            if found is not None:
                setattr(parent, name, found)
    for part in model.modules():
        _retype(part, kernels, model.preset.stream.window_frames)


def _replacement(module: nn.Module, kernels: Kernels) -> nn.Module | None:
    if isinstance(module, ResBlock) and fits(module.conv1) and fits(module.conv2):
        return NativeResBlock(module, kernels)
    if isinstance(module, ConvBlock) and fits(module.conv1) and fits(module.conv2):
        return NativeConvBlock(module, kernels)
    if isinstance(module, nn.Conv2d) and fits(module):
        return NativeConv(module, kernels)
    if isinstance(module, nn.Conv2d) and _fits_patches(module):
        return NativePatches(module, kernels)
    if isinstance(module, nn.Linear) and module.out_features % COLUMNS == 0:
        return NativeLinear(module, kernels)
    return None


def _retype(module: nn.Module, kernels: Kernels, frames: int) -> None:
    """Give the small attentions their kernel: the same module with another `attend`."""
    if isinstance(module, TemporalAttention) and module.motion_frames + frames <= FEW_KEYS:
        module.__class__ = NativeTemporalAttention
    elif isinstance(module, CrossAttention):
        module.__class__ = NativeCrossAttention
    else:
        return
    if module.to_q.out_features // module.heads % LANES:
        module.__class__ = module.__class__.__bases__[0]
        return
    module.kernels = kernels  # type: ignore[assignment]
