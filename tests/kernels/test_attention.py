"""The dispatch: what it chooses, and the sentence each wrong argument gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import kernels
from kernels.attention import MAX_KERNEL_WIDTH, attention
from kernels.reference import attention_sdpa
from tests.kernels.cases import make_inputs


def test_cpu_tensors_take_the_reference() -> None:
    inputs = make_inputs(16, 17, 40, lk2=5, masked=True)
    actual = attention(inputs.q, inputs.k, inputs.v, **inputs.options())
    assert torch.equal(actual, attention_sdpa(inputs.q, inputs.k, inputs.v, **inputs.options()))


def test_gradients_flow_through_the_dispatch() -> None:
    inputs = make_inputs(5, 6, 32)
    q = inputs.q.requires_grad_()
    attention(q, inputs.k, inputs.v).sum().backward()
    assert q.grad is not None
    assert torch.isfinite(q.grad).all()


def test_the_kernel_is_refused_where_a_gradient_is_asked_for() -> None:
    inputs = make_inputs(5, 6, 32)
    with pytest.raises(ValueError, match="no backward pass"):
        attention(inputs.q.requires_grad_(), inputs.k, inputs.v, backend="triton")


def test_the_kernel_is_refused_for_dtypes_and_widths_it_lacks() -> None:
    inputs = make_inputs(2, 2, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="float64"):
        attention(inputs.q, inputs.k, inputs.v, backend="triton")
    wide = make_inputs(1, 1, MAX_KERNEL_WIDTH + 1)
    with pytest.raises(ValueError, match=str(MAX_KERNEL_WIDTH)):
        attention(wide.q, wide.k, wide.v, backend="triton")


def test_the_scale_is_obeyed() -> None:
    inputs = make_inputs(4, 4, 16)
    flat = attention(inputs.q, inputs.k, inputs.v, scale=0.0)
    torch.testing.assert_close(flat, inputs.v.mean(dim=2, keepdim=True).expand_as(flat))


Q = torch.zeros(4, 2, 3, 8)
K = torch.zeros(4, 2, 5, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"q": torch.zeros(2, 3, 8)}, ValueError, r"q of shape \(B, H, Lq, D\), got \(2, 3, 8\)"),
        ({"v": torch.zeros(4, 2, 6, 8)}, ValueError, "k and v of one shape"),
        ({"k": torch.zeros(3, 2, 5, 8), "v": torch.zeros(3, 2, 5, 8)}, ValueError, "k of shape"),
        ({"k": torch.zeros(4, 2, 5, 9), "v": torch.zeros(4, 2, 5, 9)}, ValueError, "k of shape"),
        ({"k": K.half(), "v": K.half()}, ValueError, "dtype"),
        ({"k": K.to("meta")}, ValueError, "device"),
        ({"k2": K}, ValueError, "k2 and v2 together"),
        ({"v2": K}, ValueError, "k2 and v2 together"),
        ({"k2": K[:3], "v2": K[:3]}, ValueError, "divide the batch of 4, got 3"),
        ({"k2": K[:0], "v2": K[:0]}, ValueError, "divide the batch of 4, got 0"),
        ({"k2": K[:, :1], "v2": K[:, :1]}, ValueError, "k2 of shape"),
        ({"k2": K[0], "v2": K[0]}, ValueError, "k2 of shape"),
        ({"mask": torch.ones(4, 5)}, TypeError, "boolean mask"),
        ({"mask": torch.ones(4, 6, dtype=torch.bool)}, ValueError, r"mask of shape \(4, 5\), got \(4, 6\)"),
        ({"mask": torch.ones(4, 5, dtype=torch.bool, device="meta")}, ValueError, "mask on cpu"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    call: dict[str, Any] = {"q": Q, "k": K, "v": K, **arguments}
    with pytest.raises(error, match=sentence):
        attention(call.pop("q"), call.pop("k"), call.pop("v"), **call)


def test_the_version_cannot_be_taken_for_the_other_kernels_package() -> None:
    assert tuple(int(part) for part in kernels.__version__.split(".")) < (0, 10)
