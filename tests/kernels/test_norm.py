"""GroupNorm with scale, shift, SiLU and CFG control: the reference, and the sentence each wrong argument gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kernels.norm import absorb_control, group_norm_silu, mix_control
from kernels.values import Control
from tests.kernels.cases import make_norm


def test_the_reference_is_norm_then_scale_and_shift_then_silu() -> None:
    call = make_norm(2, 32, 3, 5, 8, film=True)
    x = call["x"] + call["offset"][:, :, None, None]
    h = F.group_norm(x, 8, call["weight"], call["bias"], 1e-5)
    expected = F.silu(h * (1 + call["scale"][:, :, None, None]) + call["shift"][:, :, None, None])
    torch.testing.assert_close(group_norm_silu(**call), expected, atol=1e-6, rtol=1e-6)
    assert group_norm_silu(**call).is_contiguous(memory_format=torch.channels_last)


def test_absorbed_control_is_the_control_layer_of_the_mixed_tokens() -> None:
    layer = torch.nn.Linear(4 * 6, 2 * 8)
    base, ref, audio = torch.randn(3, 4, 6).unbind()
    s_ref, s_aud = torch.tensor([1.0, 0.5]), torch.tensor([2.0, 0.0])
    basis = absorb_control(layer.weight, layer.bias, base, ref, audio)
    mixed = base + s_ref[:, None, None] * (ref - base) + s_aud[:, None, None] * (audio - ref)
    expected = layer(mixed.flatten(1)).repeat_interleave(3, 0)
    torch.testing.assert_close(mix_control(Control(basis, s_ref, s_aud), 6), expected, atol=1e-5, rtol=0)


def test_control_adds_to_scale_and_shift() -> None:
    call = make_norm(4, 32, 2, 3, 8, film=True, control=2)
    mixed = mix_control(call["control"], 4)
    plain = {name: value for name, value in call.items() if name != "control"}
    plain |= {"scale": call["scale"] + mixed[:, :32], "shift": call["shift"] + mixed[:, 32:]}
    torch.testing.assert_close(group_norm_silu(**call), group_norm_silu(**plain), atol=1e-6, rtol=0)


CALL = make_norm(4, 32, 2, 3, 8, film=True, control=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"x": CALL["x"][0]}, r"x of shape \(N, C, h, w\), got \(32, 2, 3\)"),
        ({"groups": 5}, "groups that divide the 32 channels, got 5"),
        ({"groups": 0}, "groups that divide the 32 channels, got 0"),
        ({"weight": CALL["weight"][:8]}, r"weight of shape \(32,\), got \(8,\)"),
        ({"bias": CALL["bias"].int()}, "bias of a floating dtype, got torch.int32"),
        ({"weight": CALL["weight"].to("meta")}, "weight on x's device"),
        ({"scale": None}, "scale and shift together"),
        ({"offset": CALL["offset"][:2]}, "offset of shape"),
        ({"eps": -1.0}, "eps above 0, got -1.0"),
        ({"control": replace(CALL["control"], basis=torch.zeros(3, 32))}, "control.basis of shape"),
        ({"control": replace(CALL["control"], s_aud=torch.ones(3))}, "control.s_aud of shape"),
        ({"control": Control(CALL["control"].basis, torch.ones(3), torch.ones(3))}, "divide the batch of 4"),
        ({"control": replace(CALL["control"], s_ref=torch.ones(2).double())}, "control.s_ref in fp32"),
        ({"out": CALL["x"][:2]}, "out of shape"),
        ({"out": CALL["x"][..., :1].expand(4, 32, 2, 3)}, "out with room"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        group_norm_silu(**(CALL | arguments))
