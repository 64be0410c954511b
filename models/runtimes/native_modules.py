"""The networks' blocks on this machine's own CPU kernels: same weights, same results to rounding, fp32 only.

In: an `AvatarModel` in fp32. Out: the same model with its convolutions, linear layers, blocks and the decoder's
last step replaced by fused calls of `kernels.native.kernels`; what they do not hold stays as it is. For
inference on one thread at a time: the kernels share one workspace.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.native.kernels import COLUMNS, HALF_DEPTH, LANES, Kernels
from models.avatar_model import AvatarModel
from models.modules.blocks import CrossAttention, ResBlock, TemporalAttention, TransformerBlock
from models.modules.conv import ConvBlock, ReferenceFeatures
from models.modules.mover import (
    FLOW_SCALE_PX,
    MATTE_BIAS,
    Moves,
    MovingDecoder,
    compose,
    edge_ramp,
    packed,
    read_leaves,
    stretched,
)
from models.modules.unet import Denoiser, Trunk
from models.modules.vae import Decoder
from models.runtimes.native_audio import adopt_audio
from models.runtimes.native_unet import (
    NativeResBlock,
    adopt_attention,
    adopt_denoiser,
    adopt_transformer,
    adopt_trunk,
    holds_res_block,
)


def fits(module: nn.Module) -> bool:
    """Whether a module is a convolution that the kernel takes."""
    return (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
        and module.groups == 1
        and module.bias is not None
        and module.in_channels % LANES == 0
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

    def __init__(self, conv: nn.Conv2d, kernels: Kernels, shuffle: bool = False) -> None:
        """``shuffle``: `pixel_shuffle` by 2 what it gives."""
        super().__init__()
        assert conv.bias is not None
        self.kernels, self.shuffle, self.leaving = kernels, shuffle, conv.out_channels
        weight, bias = conv.weight.detach(), conv.bias.detach().float()
        if shuffle:  # (channel, pixel) -> (pixel, channel): neighbours in memory are channels of one pixel
            order = torch.arange(self.leaving).view(-1, 4).T.flatten()
            weight, bias = weight[order], bias[order]
        spare = -self.leaving % COLUMNS
        weight, bias = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, spare)), F.pad(bias, (0, spare))
        self.register_buffer("tiles", kernels.keep(kernels.tiles(weight)), persistent=False)
        self.register_buffer("bias", bias.contiguous(), persistent=False)

    def forward(
        self,
        x: Tensor,
        affine: tuple[Tensor, Tensor] | None = None,
        silu: bool = False,
        residual: Tensor | None = None,
        grow: bool = False,
    ) -> Tensor:
        """See `kernels.native.kernels.Kernels.conv3x3`."""
        out = self.kernels.conv3x3(
            x, self.tiles, self.bias, affine, silu, residual, grow=grow, shuffle=self.shuffle
        )
        return out if self.shuffle else out[:, : self.leaving]


class NativeLinear(nn.Module):
    """A linear layer whose weight is packed once."""

    packed: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        self.kernels, self.out_features = kernels, linear.out_features
        packed = kernels.keep(kernels.columns(linear.weight.detach()))
        self.register_buffer("packed", packed, persistent=False)
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
        self.register_buffer("packed", kernels.keep(kernels.columns(weight)), persistent=False)
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


class NativeConvBlock(nn.Module):
    """`ConvBlock` in two calls."""

    def __init__(self, block: ConvBlock, kernels: Kernels) -> None:
        super().__init__()
        self.conv1, self.conv2 = NativeConv(block.conv1, kernels), NativeConv(block.conv2, kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> same."""
        return self.conv2(self.conv1(x, silu=True), silu=True, residual=x)


class NativeDecoder(nn.Module):
    """`Decoder` with a reference picture; activations and additions ride in the convolutions."""

    def __init__(self, decoder: Decoder, kernels: Kernels) -> None:
        super().__init__()
        self.kernels, self.stem = kernels, decoder.stem
        self.levels = decoder.levels
        self.enter = NativeConv(decoder.enter, kernels)
        self.ups = nn.ModuleList(NativeConv(up, kernels, shuffle=True) for up in decoder.ups)  # type: ignore[arg-type]
        self.leave = NativeConv(decoder.leave, kernels)
        self.mix, self.mix_reference = decoder.mix, decoder.mix_reference

    def forward(self, z: Tensor, reference: ReferenceFeatures) -> Tensor:
        """Latents (N, C, h, w) -> pictures (N, 3, H, W), channels-last."""
        assert reference.mixed
        kept = reference.levels[::-1]  # coarsest first
        x = self.levels[0](self.enter(z, residual=kept[0]))
        for up, level, features in zip(self.ups, list(self.levels)[1:], kept[1:], strict=True):
            x = level(up(x, silu=True, residual=features))
        box = reference.picture.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        self.kernels.paint(self.leave(x, silu=True), box, self.stem, 0, 0)
        return box.permute(0, 3, 1, 2)


class NativeMovingDecoder(nn.Module):
    """`MovingDecoder`; activations and additions ride in the convolutions."""

    def __init__(self, decoder: MovingDecoder, kernels: Kernels) -> None:
        super().__init__()
        self.kernels, self.levels, self.stem = kernels, decoder.levels, decoder.stem
        self.enter = NativeConv(decoder.enter, kernels)
        self.ups = nn.ModuleList(NativeConv(up, kernels, shuffle=True) for up in decoder.ups)  # type: ignore[arg-type]
        self.coarse, self.leave = NativeConv(decoder.coarse, kernels), NativeConv(decoder.leave, kernels)
        self.mix, self.mix_reference = decoder.mix, decoder.mix_reference
        self.direct = decoder.direct

    def forward(self, z: Tensor, reference: ReferenceFeatures) -> Tensor:
        """See `MovingDecoder.forward`."""
        return compose(reference.picture, self.moves(z, reference), "bicubic").clamp(0, 1)

    def moves(self, z: Tensor, reference: ReferenceFeatures) -> Moves:
        """See `MovingDecoder.moves`."""
        return read_leaves(*self._leaves(z, reference), self.stem)

    def packed(self, z: Tensor, reference: ReferenceFeatures, canvas_px: int) -> Tensor:
        """See `MovingDecoder.packed`."""
        coarse, leaves = self._leaves(z, reference)
        if self.stem != 2:
            return packed(read_leaves(coarse, leaves, self.stem), canvas_px)
        fades = tuple(edge_ramp(2 * side, z.device) for side in (leaves.shape[3], leaves.shape[2]))
        scale = FLOW_SCALE_PX * 2.0 / canvas_px
        return self.kernels.pack_moves(coarse, leaves, scale, MATTE_BIAS, (fades[0], fades[1]))

    def _leaves(self, z: Tensor, reference: ReferenceFeatures) -> tuple[Tensor, Tensor]:
        """The coarse flow, and what the last layer says."""
        assert reference.mixed
        rest, *kept = reference.levels[::-1]  # coarsest first
        x = before = self.levels[0](self.enter(z, residual=kept[0]))
        for up, level, features in zip(self.ups, list(self.levels)[1:], kept[1:], strict=True):
            before, x = x, level(up(x, silu=True, residual=features))
        coarse = self.coarse(before, silu=True)
        return coarse + stretched(self.direct(z) + rest, coarse), self.leave(x, silu=True)


def holds_decoder(decoder: Decoder) -> bool:
    """Whether `NativeDecoder` can stand in for a decoder."""
    return (
        decoder.skips
        and decoder.stem in (4, 8)
        and all(map(fits, (decoder.enter, decoder.leave, *decoder.ups)))
        and decoder.enter.out_channels % COLUMNS == 0
        and all(up.out_channels % (4 * LANES) == 0 for up in decoder.ups)  # type: ignore[operator]
    )


def holds_moving_decoder(decoder: MovingDecoder) -> bool:
    """Whether `NativeMovingDecoder` can stand in for a decoder."""
    convolutions = (decoder.enter, decoder.coarse, decoder.leave, *decoder.ups)
    return (
        all(map(fits, convolutions))
        and decoder.enter.out_channels % COLUMNS == 0
        and all(up.out_channels % (4 * LANES) == 0 for up in decoder.ups)  # type: ignore[operator]
    )


def make_native(model: AvatarModel, kernels: Kernels) -> None:
    """Replace what the kernels can do, in place; the rest of the model stays as it is."""
    decoder = model.vae.decoder
    if isinstance(decoder, Decoder) and holds_decoder(decoder):
        model.vae.decoder = NativeDecoder(decoder, kernels)  # type: ignore[assignment]
    elif isinstance(decoder, MovingDecoder) and holds_moving_decoder(decoder):
        model.vae.decoder = NativeMovingDecoder(decoder, kernels)  # type: ignore[assignment]
    adopt_audio(model.audio, kernels)
    for part in list(model.modules()):  # these keep their own children, for what the fused call does not hold
        if isinstance(part, TransformerBlock):
            adopt_transformer(part, kernels)
        elif isinstance(part, (CrossAttention, TemporalAttention)):
            adopt_attention(part, kernels)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            found = _replacement(child, kernels)
            if found is not None:
                setattr(parent, name, found)
    for part in list(model.modules()):
        if isinstance(part, Trunk):
            adopt_trunk(part, NativeConv)
        elif isinstance(part, Denoiser):
            adopt_denoiser(part, kernels, NativeConv)


def _fits_columns(linear: nn.Linear, kernels: Kernels) -> bool:
    """Whether `NativeLinear` holds a layer; one that reads more than bf16's scratch has is left to PyTorch."""
    deepest = HALF_DEPTH if kernels.half else linear.in_features
    return linear.out_features % COLUMNS == 0 and linear.in_features <= deepest


def _replacement(module: nn.Module, kernels: Kernels) -> nn.Module | None:
    if isinstance(module, ResBlock) and holds_res_block(module):
        return NativeResBlock(module, kernels)
    if isinstance(module, ConvBlock) and fits(module.conv1) and module.conv1.in_channels % COLUMNS == 0:
        return NativeConvBlock(module, kernels)
    if isinstance(module, nn.Conv2d) and fits(module):
        return NativeConv(module, kernels)
    if isinstance(module, nn.Conv2d) and _fits_patches(module):
        return NativePatches(module, kernels)
    if isinstance(module, nn.Linear) and _fits_columns(module, kernels):
        return NativeLinear(module, kernels)
    return None
