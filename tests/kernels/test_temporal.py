"""Attention over time: the reference against the formula, and the sentence each wrong argument gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.reference import attention_naive
from kernels.temporal import temporal_attention
from tests import tolerances


def test_the_reference_is_the_formula_at_every_pixel() -> None:
    q, k, v = torch.randn(3, 2, 5, 3, 8).unbind()
    k2, v2 = torch.randn(2, 2, 2, 3, 8).unbind()
    out = temporal_attention(q, k, v, heads=2, k2=k2, v2=v2)
    for row, pixel in ((0, 0), (1, 2)):
        mine, keys, values, more_k, more_v = (
            part[row, :, pixel].unflatten(-1, (2, 4)).transpose(0, 1)[None] for part in (q, k, v, k2, v2)
        )
        expected = attention_naive(mine, torch.cat([more_k, keys], 2), torch.cat([more_v, values], 2))
        actual = out[row, :, pixel].unflatten(-1, (2, 4)).transpose(0, 1)[None]
        torch.testing.assert_close(actual, expected, atol=tolerances.KERNEL_FP32, rtol=0)


def test_a_masked_frame_has_no_influence_and_motion_frames_are_always_seen() -> None:
    q, k, v = torch.randn(3, 1, 4, 2, 8).unbind()
    k2, v2 = torch.randn(2, 1, 2, 2, 8).unbind()
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    alone = temporal_attention(q, k2, v2, heads=2)
    masked = temporal_attention(q, k, v, heads=2, k2=k2, v2=v2, mask=nothing)
    torch.testing.assert_close(masked, alone, atol=tolerances.KERNEL_FP32, rtol=0)
    assert torch.equal(temporal_attention(q, k, v, heads=2, mask=nothing), torch.zeros_like(q))


def test_writes_over_its_queries_when_asked() -> None:
    q, k, v = torch.randn(3, 1, 4, 2, 8).unbind()
    expected = temporal_attention(q, k, v, heads=2)
    assert temporal_attention(q, k, v, heads=2, out=q) is q
    assert torch.equal(q, expected)


Q = torch.zeros(2, 4, 3, 8)
K = torch.zeros(2, 5, 3, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"q": Q[0]}, ValueError, r"q of shape \(B, T, L, C\), got \(4, 3, 8\)"),
        ({"heads": 3}, ValueError, "heads that divide the 8 channels, got 3"),
        ({"heads": 0}, ValueError, "heads that divide the 8 channels, got 0"),
        ({"k": K[:1]}, ValueError, r"k of shape \(2, F, 3, 8\), got \(1, 5, 3, 8\)"),
        ({"k": K[:, :, :2]}, ValueError, "k of shape"),
        ({"v": K[:, :4]}, ValueError, r"v of shape \(2, 5, 3, 8\), got \(2, 4, 3, 8\)"),
        ({"k": K.half()}, ValueError, "k in q's dtype"),
        ({"v": K.to("meta")}, ValueError, "v on q's device cpu, got meta"),
        ({"k2": K}, ValueError, "k2 and v2 together"),
        ({"k2": K[..., :4], "v2": K[..., :4]}, ValueError, "k2 of shape"),
        ({"mask": torch.ones(2, 5)}, TypeError, "boolean mask"),
        ({"mask": torch.ones(2, 4, dtype=torch.bool)}, ValueError, "mask of shape"),
        ({"scale": -1.0}, ValueError, "scale finite and at least 0, got -1.0"),
        ({"scale": float("nan")}, ValueError, "scale finite"),
        ({"out": Q[:1]}, ValueError, "out of shape"),
        ({"out": Q[:, :1].expand(2, 4, 3, 8)}, ValueError, "out with room for each of its elements"),
        ({"k": Q, "v": Q, "out": Q, "q": Q.clone()}, ValueError, "out apart from keys and values"),
        ({"q": Q.double(), "k": K.double(), "v": K.double(), "backend": "triton"}, ValueError, "float64"),
        ({"backend": "cuda"}, ValueError, "backend 'auto', 'triton' or 'reference', got 'cuda'"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    call: dict[str, Any] = {"q": Q, "k": K, "v": K, "heads": 2, **arguments}
    with pytest.raises(error, match=sentence):
        temporal_attention(call.pop("q"), call.pop("k"), call.pop("v"), **call)
