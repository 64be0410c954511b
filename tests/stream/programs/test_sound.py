"""A program's bytes: every form and rate, exact lengths, any cutting, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.programs.sound import FORMS, RATES_HZ, SoundForm, Upsampler
from stream.programs.speech import Speech


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_n_samples_become_exactly_as_many_at_48_khz_and_stay_where_they_were(rate_hz: int) -> None:
    form, count = SoundForm(rate_hz), rate_hz + 7
    n = np.arange(count)
    tone = (8000 * np.sin(2 * np.pi * 300 * n / rate_hz)).astype(np.int16)
    upsampler = Upsampler(form)
    out = np.concatenate([upsampler.push(tone[:101]), upsampler.push(tone[101:]), upsampler.finish()])
    assert len(out) == form.to_media(count)
    assert abs(len(out) - count * 48_000 / rate_hz) <= 0.5
    true = 8000 * np.sin(2 * np.pi * 300 * np.arange(len(out)) / 48_000)
    middle = slice(2000, len(out) - 2000)
    assert np.abs(out[middle] - true[middle]).max() < 40, "no delay"


@given(st.lists(st.integers(0, 700), max_size=8), st.sampled_from(RATES_HZ))
def test_however_it_is_cut_the_same_sound_comes_out(cuts: list[int], rate_hz: int) -> None:
    sound = np.random.default_rng(3).integers(-9000, 9000, 3000).astype(np.int16)

    def heard(edges: list[int]) -> np.ndarray:
        speech = Speech(SoundForm(rate_hz))
        for piece in np.split(sound, edges):
            speech.push(piece)
        speech.end()
        pieces = []
        media = 0
        while len(piece := speech.read(480, media)):
            pieces.append(piece)
            media += len(piece)
        (segment,) = speech.show(media)
        assert segment.shown and segment.shown_samples == len(sound)
        return np.concatenate(pieces)

    whole = heard([])
    assert len(whole) == SoundForm(rate_hz).to_media(len(sound))
    assert np.array_equal(heard(list(np.minimum(np.cumsum(cuts), 3000))), whole)


def test_forms_mean_what_they_say() -> None:
    values = np.array([0, 1, -1, 12_345, -32_768, 32_767], np.int16)
    assert np.array_equal(SoundForm(8000).read(values.astype("<i2").tobytes()), values)
    floats = (values / 32_768).astype("<f4").tobytes()
    assert np.array_equal(SoundForm(8000, "f32le").read(floats), values)
    loud = np.array([1.5, -1.5], "<f4").tobytes()
    assert SoundForm(8000, "f32le").read(loud).tolist() == [32_767, -32_768]


@pytest.mark.parametrize(("form", "codec"), [("pcmu", "pcm_mulaw"), ("pcma", "pcm_alaw")])
def test_companded_forms_are_what_ffmpeg_makes_of_them(form: str, codec: str) -> None:
    import av

    codes = bytes(range(256))
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8000, "mono"
    (frame,) = decoder.decode(av.Packet(codes))
    assert np.array_equal(SoundForm(8000, form).read(codes), frame.to_ndarray().reshape(-1))


@pytest.mark.parametrize(
    ("form", "data", "sentence"),
    [
        ("s16le", b"abc", "whole samples of 2 bytes"),
        ("f32le", b"abcdef", "whole samples of 4 bytes"),
        ("f32le", np.array([np.nan], "<f4").tobytes(), "NaN or infinite"),
        ("f32le", np.array([1000.0], "<f4").tobytes(), "between -1 and 1, got one of 1000"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_sentence(form: str, data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SoundForm(24_000, form).read(data)


def test_rates_and_forms_that_are_not_taken_are_named() -> None:
    with pytest.raises(ValueError, match="48000 Hz, got 7000"):
        SoundForm(7000)
    with pytest.raises(ValueError, match="s16le, f32le, pcmu, pcma, got 'opus'"):
        SoundForm(8000, "opus")
    assert set(FORMS.values()) == {1, 2, 4}


def test_single_samples_cost_no_more_than_long_messages() -> None:
    speech = Speech(SoundForm(24_000))
    for _ in range(5000):
        speech.push(np.ones(1, np.int16))
    (segment,) = speech.segments
    assert len(segment._raw) <= 5000 // 480 + 1
    assert segment.waiting_s == 5000 / 24_000
