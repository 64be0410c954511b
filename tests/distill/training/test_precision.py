"""Which arithmetic trains."""

from __future__ import annotations

import pytest

from distill.training import precision
from distill.training.precision import trains_in_bf16


@pytest.mark.parametrize("has_units", [True, False])
def test_auto_is_bf16_only_where_the_hardware_multiplies_it(
    has_units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_units)
    assert trains_in_bf16("auto", "cpu") is has_units
    assert trains_in_bf16("auto", "cuda:1")


def test_what_is_asked_for_is_done_and_nothing_else_is_known() -> None:
    assert trains_in_bf16("bf16", "cpu")
    assert not trains_in_bf16("fp32", "cuda")
    with pytest.raises(ValueError, match="Unknown precision 'fp16'; expected one of auto, bf16, fp32"):
        trains_in_bf16("fp16", "cpu")
