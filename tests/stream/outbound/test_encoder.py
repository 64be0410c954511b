"""Both codecs: pictures come back, key frames come when asked, the rate is kept, nothing is held back."""

from __future__ import annotations

import av
import numpy as np
import pytest

from stream.outbound.encoder import (
    H264,
    VIDEO_TIME_BASE,
    VP8,
    Encoder,
    h264_codec,
    h264_options,
    make_encoder,
    suitable_bit_rate,
)

SIDE = 128


def picture(step: int) -> np.ndarray:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    red, green = 128 + 60 * np.sin((columns + 3 * step) / 20), 128 + 60 * np.cos((rows - 2 * step) / 25)
    return np.stack([red, green, (rows + columns) / 2], axis=-1).astype(np.uint8)


def packets(encoder: Encoder, count: int, keys: tuple[int, ...] = (0,)) -> list[av.Packet]:
    made = [encoder.encode(picture(step), 3600 * step, step in keys) for step in range(count)]
    assert all(packet is not None for packet in made), "one picture in, one packet out, at once"
    return made  # type: ignore[return-value]


@pytest.mark.parametrize("codec", [VP8, H264])
def test_pictures_come_back_as_they_went_in(codec: str) -> None:
    made = packets(make_encoder(codec, SIDE, SIDE, 25, 600_000), 40, keys=(0, 20))
    decoder = av.CodecContext.create("vp8" if codec == VP8 else "h264", "r")
    decoder.flags |= 0x80000  # low delay
    seen = [frame.to_ndarray(format="rgb24") for packet in made for frame in decoder.decode(packet)]  # type: ignore[attr-defined]
    seen += [frame.to_ndarray(format="rgb24") for frame in decoder.decode(None)]  # type: ignore[attr-defined]
    assert len(seen) == 40
    errors = [np.square(image.astype(float) - picture(step)).mean() for step, image in enumerate(seen)]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 28
    assert [step for step, packet in enumerate(made) if packet.is_keyframe] == [0, 20]
    assert [(p.pts, p.time_base) for p in made[:2]] == [(0, VIDEO_TIME_BASE), (3600, VIDEO_TIME_BASE)]


@pytest.mark.parametrize("codec", [VP8, H264])
def test_a_stream_may_be_entered_at_any_key_frame(codec: str) -> None:
    made = packets(make_encoder(codec, SIDE, SIDE, 25, 600_000), 30, keys=(0, 15))
    decoder = av.CodecContext.create("vp8" if codec == VP8 else "h264", "r")
    late = [frame for packet in made[15:] for frame in decoder.decode(packet)]  # type: ignore[attr-defined]
    late += decoder.decode(None)  # type: ignore[attr-defined]
    assert len(late) == 15
    assert abs(late[0].to_ndarray(format="rgb24").astype(int) - picture(15)).mean() < 8


@pytest.mark.parametrize("codec", [VP8, H264])
def test_the_rate_is_kept_on_hard_pictures(codec: str) -> None:
    noise = np.random.default_rng(0)
    encoder = make_encoder(codec, SIDE, SIDE, 25, 200_000)
    sizes = []
    for step in range(75):
        grain = noise.integers(-25, 25, (SIDE, SIDE, 3))
        packet = encoder.encode((picture(step) + grain).clip(0, 255).astype(np.uint8), 3600 * step, step == 0)
        sizes.append(0 if packet is None else packet.size)
    assert sum(sizes[25:]) * 8 / 2 < 1.35 * 200_000


def test_only_our_codecs_and_even_sides_are_taken() -> None:
    for codec in (VP8, H264):
        assert make_encoder(codec.upper(), SIDE, SIDE, 25, 300_000).bit_rate == 300_000
        with pytest.raises(ValueError, match="even sides"):
            make_encoder(codec, SIDE + 1, SIDE, 25, 300_000)
    with pytest.raises(ValueError, match="video/av1"):
        make_encoder("video/av1", SIDE, SIDE, 25, 300_000)


def test_the_fastest_h264_that_opens_is_probed_once() -> None:
    assert h264_codec() in ("h264_nvenc", "libx264")
    assert h264_codec.cache_info().currsize == 1
    assert make_encoder(H264, SIDE, SIDE, 25, 300_000).name == h264_codec()
    assert h264_options("h264_nvenc", 500_000)["tune"] == "ull"


@pytest.mark.parametrize("codec", [VP8, H264])
@pytest.mark.parametrize(("width", "height"), [(256, 256), (318, 318), (514, 430), (640, 1138), (2048, 2048)])
def test_any_even_size_comes_back(codec: str, width: int, height: int) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack((rows * 255 // height, columns * 255 // width, (rows + columns) % 64 + 90), -1).astype(
        np.uint8
    )
    encoder = make_encoder(codec, width, height, 25, suitable_bit_rate(width, height, 25))
    decoder = av.CodecContext.create("vp8" if codec == VP8 else "h264", "r")
    made = [encoder.encode(image, 3600 * step, step == 0) for step in range(4)]
    frames = [f for packet in made for f in decoder.decode(packet)]  # type: ignore[attr-defined]
    frames += decoder.decode(None)  # type: ignore[attr-defined]
    assert len(frames) == 4 and (frames[-1].width, frames[-1].height) == (width, height)
    error = np.abs(frames[-1].to_ndarray(format="rgb24").astype(int) - image)
    assert error.mean() < 12 and error[-2:].mean() < 30 and error[:, -2:].mean() < 30
