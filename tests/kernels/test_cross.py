"""Absorbed cross-attention: the algebra against the unfused chain, and the sentence each wrong argument gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from kernels.cross import MAX_COLUMNS, absorb_context, cross_attention
from tests import tolerances
from tests.kernels.cases import make_cross


@pytest.mark.parametrize(("keys", "heads"), [(1, 1), (7, 6), (50, 8)])
@pytest.mark.parametrize("masked", [False, True])
def test_absorbing_changes_nothing(keys: int, heads: int, masked: bool) -> None:
    case = make_cross(9, keys, 8, rows=4, shared=2, heads=heads, masked=masked)
    context = absorb_context(**case.absorbed())
    out = cross_attention(case.x, context, out_bias=case.out_bias, out_scale=3.0)
    torch.testing.assert_close(out, case.chain(3.0), atol=tolerances.KERNEL_FP32, rtol=0)


def test_a_row_that_sees_nothing_gets_the_bias_alone() -> None:
    case = make_cross(3, 5, 8, rows=2, masked=True)
    out = cross_attention(case.x, absorb_context(**case.absorbed()), out_bias=case.out_bias)
    torch.testing.assert_close(out[0], case.x[0] + case.out_bias)


def test_norm_bias_and_out_bias_may_be_absent() -> None:
    case = make_cross(3, 5, 8)
    zeros, ones = torch.zeros_like(case.norm_bias), torch.ones_like(case.norm_weight)
    plain = replace(case, norm_weight=ones, norm_bias=zeros, out_bias=zeros)
    context = absorb_context(case.k, case.v, to_q=case.to_q, to_out=case.to_out, heads=2)
    torch.testing.assert_close(cross_attention(case.x, context), plain.chain(), atol=1e-5, rtol=0)


def test_heads_and_keys_are_padded_to_what_tensor_cores_multiply() -> None:
    case = make_cross(3, 5, 8, heads=6)
    context = absorb_context(**case.absorbed())
    assert context.heads == 8
    assert context.keys.shape == (1, 64, 48)
    assert absorb_context(**make_cross(3, 1, 8, heads=1).absorbed()).keys.shape[1] == 16


def test_gradients_flow_through_the_reference() -> None:
    case = make_cross(3, 5, 8)
    x = case.x.requires_grad_()
    cross_attention(x, absorb_context(**case.absorbed()), out_bias=case.out_bias).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


CASE = make_cross(4, 5, 8, rows=4, shared=2)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"k": CASE.k[0]}, ValueError, r"k of shape \(R, K, C\), got \(5, 16\)"),
        ({"heads": 3}, ValueError, "heads that divide the 16 channels, got 3"),
        ({"v": CASE.v[:, :4]}, ValueError, "v of shape"),
        ({"to_q": CASE.to_q[:8]}, ValueError, r"to_q of shape \(16, C\), got \(8, 16\)"),
        ({"to_out": CASE.to_out[:8]}, ValueError, "to_out of shape"),
        ({"norm_weight": CASE.norm_weight[:8]}, ValueError, "norm_weight of shape"),
        ({"norm_bias": CASE.norm_bias.half()}, ValueError, "norm_bias in k's dtype"),
        ({"v": CASE.v.to("meta")}, ValueError, "v on k's device"),
        ({"mask": torch.ones(2, 5)}, TypeError, "boolean mask"),
        ({"mask": torch.ones(4, 5, dtype=torch.bool)}, ValueError, "mask of shape"),
        ({"scale": float("inf")}, ValueError, "scale finite"),
    ],
)
def test_wrong_contexts_get_a_sentence(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    call: dict[str, Any] = CASE.absorbed() | arguments
    with pytest.raises(error, match=sentence):
        absorb_context(call.pop("k"), call.pop("v"), **call)


CONTEXT = absorb_context(**CASE.absorbed())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"x": CASE.x[0]}, r"x of shape \(R, L, C\), got \(4, 16\)"),
        ({"x": CASE.x[:3]}, "context's first size to divide the batch of 3, got 2"),
        ({"x": CASE.x[..., :8]}, "context.keys of shape"),
        ({"x": CASE.x.half()}, "context.keys in x's dtype"),
        ({"context": replace(CONTEXT, bias=CONTEXT.bias.double())}, "context.bias in fp32"),
        ({"context": replace(CONTEXT, values=CONTEXT.values[:, :8])}, "context.values of shape"),
        ({"out_bias": CASE.out_bias[:8]}, "out_bias of shape"),
        ({"out_scale": float("nan")}, "out_scale finite, got nan"),
        ({"eps": 0.0}, "eps above 0, got 0.0"),
        ({"out": CASE.x[:2]}, "out of shape"),
        ({"out": CASE.x[:, :1].expand(4, 4, 16)}, "out with room"),
    ],
)
def test_wrong_calls_get_a_sentence(arguments: dict[str, Any], sentence: str) -> None:
    call: dict[str, Any] = {"x": CASE.x, "context": CONTEXT, **arguments}
    with pytest.raises(ValueError, match=sentence):
        cross_attention(call.pop("x"), call.pop("context"), **call)


def test_more_keys_than_the_kernel_holds_take_the_reference() -> None:
    case = make_cross(2, MAX_COLUMNS, 8)
    context = absorb_context(**case.absorbed())
    torch.testing.assert_close(
        cross_attention(case.x, context, out_bias=case.out_bias), case.chain(), atol=1e-5, rtol=0
    )
    with pytest.raises(ValueError, match=f"up to {MAX_COLUMNS}"):
        cross_attention(case.x, context, backend="triton")
