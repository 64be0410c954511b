"""The references against each other, against closed forms, and as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from kernels.attention import attention
from kernels.reference import attention_naive, attention_sdpa
from tests import tolerances
from tests.kernels.cases import make_inputs


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lk2", [0, 9])
@pytest.mark.parametrize("banks", [1, 2, 4])
def test_sdpa_agrees_with_the_formula(masked: bool, lk2: int, banks: int) -> None:
    inputs = make_inputs(17, 63, 40, batch=4, lk2=lk2, banks=banks, masked=masked)
    expected = attention_naive(inputs.q, inputs.k, inputs.v, **inputs.options())
    actual = attention_sdpa(inputs.q, inputs.k, inputs.v, **inputs.options())
    torch.testing.assert_close(actual, expected, atol=tolerances.KERNEL_FP32, rtol=0)


def test_equal_scores_average_the_values() -> None:
    v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
    out = attention_naive(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 3, 1), v)
    assert out.item() == pytest.approx(3.0)


def test_a_query_that_sees_no_key_gives_zeros() -> None:
    inputs = make_inputs(5, 7, 32, masked=True)
    for form in (attention_naive, attention_sdpa):
        out = form(inputs.q, inputs.k, inputs.v, mask=inputs.mask)
        assert torch.equal(out[0], torch.zeros_like(out[0]))
        assert torch.isfinite(out).all()


def test_frames_of_one_session_share_its_bank() -> None:
    inputs = make_inputs(3, 3, 16, batch=4, lk2=5, banks=2)
    assert inputs.k2 is not None
    assert inputs.v2 is not None
    whole = attention(inputs.q, inputs.k, inputs.v, k2=inputs.k2, v2=inputs.v2)
    for row in range(4):
        bank = slice(row // 2, row // 2 + 1)
        one = slice(row, row + 1)
        alone = attention(inputs.q[one], inputs.k[one], inputs.v[one], k2=inputs.k2[bank], v2=inputs.v2[bank])
        torch.testing.assert_close(whole[one], alone, atol=tolerances.KERNEL_FP32, rtol=0)


def test_fp64_stays_fp64() -> None:
    inputs = make_inputs(3, 4, 8, dtype=torch.float64)
    assert attention_naive(inputs.q, inputs.k, inputs.v).dtype == torch.float64


class _Block(nn.Module):
    """As a network calls it: self-attention and a reference bank shared by the frames."""

    def forward(self, x: Tensor, bank: Tensor) -> Tensor:
        return attention(x, x, x, k2=bank, v2=bank)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter's own, of several packages
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # our argument checks compare sizes
def test_exports_to_onnx(tmp_path: Path) -> None:
    x, bank = torch.randn(4, 2, 10, 40), torch.randn(1, 2, 6, 40)
    path = tmp_path / "block.onnx"
    torch.onnx.export(
        _Block(), (x, bank), str(path), input_names=["x", "bank"], dynamo=False, opset_version=17
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": x.numpy(), "bank": bank.numpy()})
    np.testing.assert_allclose(out, _Block()(x, bank).numpy(), atol=tolerances.ONNX_EQUALS_TORCH)
