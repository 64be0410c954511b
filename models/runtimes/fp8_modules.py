"""The networks' wide layers in 8-bit floats (`kernels.fp8.linear`): the option ``torch-fp8``.

In: a model in bf16 on CUDA (or fp32 anywhere, to see what the rounding costs). Out: the same model with the
UNets' wide convolutions and linear layers replaced. What is narrow, small or decides much stays as it is: the
first and the last layer, embeddings, CFG control, cross-attention (whose projections are absorbed) and the
decoder. For inference.
"""

from __future__ import annotations

from torch import Tensor, nn

from kernels.fp8.linear import fp8_conv2d, fp8_linear
from kernels.fp8.weight import CHANNELS, Fp8Weight, pack_fp8
from models.build import AnyModel

LEAST_CHANNELS = 128
"""The preset `small` has 96 at its finest level: in 8 bits these alone put its latents 4% off, the rest 1.4%."""
KEPT = frozenset(
    {
        "enter", "leave", "conv_in", "conv_out", "time", "emb", "time_embedding", "time_emb_proj", "control",
        "guide", "audio_norm", "audio_emb", "expression_emb", "audio_tokens", "expression_tokens",
        "cross", "attn2",
    }
)  # fmt: skip
"""Names of parts that keep their precision, with all that is inside them."""


class _Fp8Layer(nn.Module):
    """A packed weight and its bias."""

    values: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        packed = pack_fp8(weight)
        self._size, self._channels = packed.size, packed.channels
        self.register_buffer("values", packed.values, persistent=False)
        self.register_buffer("scale", packed.scale, persistent=False)
        self.register_buffer("bias", None if bias is None else bias.detach().clone(), persistent=False)

    @property
    def packed(self) -> Fp8Weight:
        return Fp8Weight(self.values, self.scale, self._size, self._channels)


class Fp8Conv2d(_Fp8Layer):
    """A convolution padded by half its size."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.weight, conv.bias)
        self.stride = conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, ceil(H / stride), ceil(W / stride))."""
        return fp8_conv2d(x, self.packed, self.bias, stride=self.stride)


class Fp8Linear(_Fp8Layer):
    """A linear layer."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.weight, linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., O)."""
        return fp8_linear(x, self.packed, self.bias)


def make_fp8(model: AnyModel) -> int:
    """Replace the wide layers of both UNets, in place; returns how many."""
    return sum(_replace_inside(part) for part in (model.denoiser, model.reference_net))


def _replace_inside(parent: nn.Module) -> int:
    count = 0
    for name, child in list(parent.named_children()):
        if name in KEPT:
            continue
        if isinstance(child, nn.Conv2d) and _fits_conv(child):
            setattr(parent, name, Fp8Conv2d(child))
            count += 1
        elif isinstance(child, nn.Linear) and _wide(child.in_features, child.out_features):
            setattr(parent, name, Fp8Linear(child))
            count += 1
        else:
            count += _replace_inside(child)
    return count


def _fits_conv(conv: nn.Conv2d) -> bool:
    size, stride = conv.kernel_size[0], conv.stride[0]
    square = conv.kernel_size == (size, size) and conv.stride == (stride, stride)
    return (
        square
        and size in (1, 3)
        and stride in (1, 2)
        and conv.padding == (size // 2, size // 2)
        and conv.groups == 1
        and conv.dilation == (1, 1)
        and _wide(conv.in_channels, conv.out_channels)
    )


def _wide(entering: int, leaving: int) -> bool:
    return min(entering, leaving) >= LEAST_CHANNELS and entering % CHANNELS == leaving % CHANNELS == 0
