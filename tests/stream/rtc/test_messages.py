"""What a page says over its data channel: read as it is meant, refused with a sentence, or let pass."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import SignalingError
from stream.rtc.messages import Bye, ChangeAvatar, Clear, Message, Ping, SetControls, read_message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "ping", "t": 1.5}', Ping(type="ping", t=1.5)),
        ('{"type": "ping"}', Ping(type="ping")),
        ('{"type": "ping", "t": ["x"]}', Ping(type="ping", t=["x"])),
        ('{"type": "bye", "reason": "new field"}', Bye(type="bye")),
        ('{"type": "clear"}', Clear(type="clear")),
        ('{"type": "controls", "audio_scale": 2}', SetControls(type="controls", audio_scale=2.0)),
        ('{"type": "controls", "listening": null}', SetControls(type="controls", listening=None)),
        ('{"type": "avatar", "id": "ada"}', ChangeAvatar(type="avatar", id="ada")),
    ],
)
def test_a_message_is_read_as_its_kind(text: str, message: Message) -> None:
    read = read_message(text)
    assert read == message and type(read) is type(message)


def test_what_was_left_out_is_not_said() -> None:
    read = read_message('{"type": "controls", "audio_scale": null}')
    assert read is not None and read.model_fields_set == {"type", "audio_scale"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", "{}", '{"type": "later"}', '{"type": ["ping"]}', "[" * 4000, '"ping"'],
)
def test_what_is_no_message_of_ours_is_let_pass(text: str) -> None:
    assert read_message(text) is None


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ('{"type": "controls", "audio_scale": "2"}', "bad_controls", "audio_scale"),
        ('{"type": "controls", "audio_scale": true}', "bad_controls", "audio_scale"),
        ('{"type": "controls", "reference_scale": -1}', "bad_controls", "at least 0"),
        ('{"type": "controls", "reference_scale": 1e999}', "bad_controls", "reference_scale"),
        ('{"type": "controls", "listening": "yes"}', "bad_controls", "true, false or null"),
        ('{"type": "avatar"}', "unknown_avatar", '"id" is missing'),
        ('{"type": "avatar", "id": 5}', "unknown_avatar", "a non-empty string"),
    ],
)
def test_a_message_with_a_wrong_field_is_one_sentence(text: str, code: str, word: str) -> None:
    with pytest.raises(SignalingError) as raised:
        read_message(text)
    assert raised.value.code == code and word in raised.value.message
    assert raised.value.message.endswith(".") and "\n" not in raised.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["ping", "bye", "clear", "controls", "avatar", "later"])
FIELDS = st.dictionaries(st.sampled_from(["t", "id", "audio_scale", "reference_scale", "listening"]), JSON)


@given(kind=KINDS, fields=FIELDS, cut=st.integers(0, 400))
def test_any_message_is_read_refused_or_let_pass(kind: str, fields: dict[str, object], cut: int) -> None:
    for text in (whole := json.dumps({"type": kind, **fields}), whole[:cut]):
        outcome = heard(text)
        assert outcome in (kind, "") or outcome.endswith(".")


def heard(text: str) -> str:
    """The type of a message; nothing for what is let pass; the sentence for what is refused."""
    try:
        read = read_message(text)
    except SignalingError as error:
        return error.message
    return "" if read is None else read.type
