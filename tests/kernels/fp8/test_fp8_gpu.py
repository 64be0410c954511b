"""The compiled 8-bit convolution on a CUDA device; run by scripts/gpu."""

from __future__ import annotations

import pytest
import torch

from kernels.fp8.linear import fp8_conv2d, fp8_linear, multiplies_fp8
from kernels.fp8.weight import pack_fp8
from tests.tolerances import FP8_DEVICE

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize("channels", [64, 320, 1280])
def test_the_device_draws_what_the_reference_draws(size: int, stride: int, channels: int) -> None:
    device = torch.device("cuda")
    assert multiplies_fp8(device), "this device has no 8-bit tensor cores"
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(4, channels, 16, 16, generator=generator).to(device, torch.bfloat16)
    weight = pack_fp8(torch.randn(320, channels, size, size, generator=generator).to(device))
    bias = torch.randn(320, generator=generator).to(device, torch.bfloat16)
    got = fp8_conv2d(x, weight, bias, stride=stride, backend="triton").float()
    want = fp8_conv2d(x, weight, bias, stride=stride, backend="reference").float()
    assert (got - want).norm() <= FP8_DEVICE * want.norm()


def test_a_linear_layer_on_the_device() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 111, 640, generator=generator).to("cuda", torch.bfloat16)
    weight = pack_fp8(torch.randn(1280, 640, generator=generator).cuda())
    got, want = (fp8_linear(x, weight, backend=name).float() for name in ("triton", "reference"))
    assert (got - want).norm() <= FP8_DEVICE * want.norm()
