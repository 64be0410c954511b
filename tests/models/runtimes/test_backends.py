"""Which runtime a device gets by rule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernels.native.build import load_native
from models.runtimes import backends

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("bf16", "pairs", "compiler", "expected"),
    [
        (True, True, True, "native-bf16"),
        (True, False, True, "native"),
        (True, True, False, "torch-bf16"),
        (False, False, True, "native"),
        (False, False, False, "torch-fp32"),
    ],
)
def test_a_cpu_gets_the_fastest_runtime_it_has(
    monkeypatch: pytest.MonkeyPatch,
    bf16: bool,
    pairs: bool,
    compiler: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(backends, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(backends, "multiplies_pairs", lambda: pairs)
    monkeypatch.setattr(backends, "why_not_native", lambda: "" if compiler else "none")
    assert backends.choose_backend(CPU) == expected


def test_networks_without_kernels_of_our_own_run_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(backends, "why_not_native", lambda: "")
    assert backends.choose_backend(CPU, "sd15") == "torch-fp32"


def test_capabilities_are_read_where_torch_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": False}, raising=False
    )
    assert backends.cpu_has_bf16() and backends.multiplies_pairs()
    assert not backends.cpu_has_matrix_units()


def test_an_older_torch_is_asked_by_its_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert backends.cpu_has_bf16() and backends.multiplies_pairs()
    assert not backends.cpu_has_matrix_units()


def test_why_there_are_no_kernels_is_said_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_native.cache_clear()
    monkeypatch.setenv("FADA_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert "found none; install one" in backends.why_not_native()


@pytest.mark.parametrize(
    ("count", "name", "told"),
    [
        (0, "cuda", "no CUDA device that PyTorch can use"),
        (0, "cuda:0", "no CUDA device that PyTorch can use"),
        (1, "cuda:1", "found 1 of them"),
    ],
)
def test_a_device_that_is_not_here_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, count: int, name: str, told: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=told):
        backends.find_device(name)
    assert backends.find_device("cpu") == CPU
    assert backends.find_device().type == ("cuda" if count else "cpu")
