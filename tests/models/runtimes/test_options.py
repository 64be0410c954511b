"""The engine's options: one spelling for every command, checked when made."""

from __future__ import annotations

import argparse
from types import ModuleType

import pytest

from models.presets import PRESETS, HopChoice
from models.runtimes.options import (
    BACKENDS,
    EngineOptions,
    add_engine_arguments,
    add_size_argument,
    read_engine_options,
)
from stream import serve
from stream.offline import render


def parsed(*words: str) -> EngineOptions:
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    add_size_argument(parser)
    args = parser.parse_args(words)
    return read_engine_options(args, args.size)


def test_what_is_not_given_is_the_presets_own() -> None:
    assert parsed() == EngineOptions()


def test_every_option_reaches_its_field() -> None:
    words = "--preset base --weights w --size 256 --nfe 4 --device cuda:1 --backend torch-bf16 --threads 3 --hop 3"
    assert parsed(*words.split(), "--overlap", "1", "--look-ahead", "0") == EngineOptions(
        "base", "w", 256, 4, "cuda:1", "torch-bf16", 3, HopChoice(3, 1, 0)
    )


def test_a_hop_that_was_chosen_is_not_lengthened() -> None:
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    assert read_engine_options(parser.parse_args([]), fit=True).fit
    assert not read_engine_options(parser.parse_args(["--hop", "2"]), fit=True).fit


@pytest.mark.parametrize("module", [serve, render])
def test_help_names_every_back_end_and_preset(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10000")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    shown = parser.format_help()
    assert f"auto, {', '.join(BACKENDS)} " in shown
    assert f"{', '.join(sorted(PRESETS))} " in shown


@pytest.mark.parametrize(
    "wrong",
    [{"nfe": 0}, {"nfe": 51}, {"threads": 0}, {"preset": "huge"}, {"backend": ""}, {"device": "gpu"}],
)
def test_an_option_that_makes_no_sense_is_told_when_it_is_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^Expected --\w+ .*, got .*\.$"):
        EngineOptions(**wrong)  # type: ignore[arg-type]
