"""What a program may say on WS /v1/audio: its address's query, and text messages told apart by their `type`. Pure.

In: text from anybody. Out: checked values, None for a message of a type that is not ours, or a `SignalingError`
with one sentence. The events of OpenAI's Realtime interface are taken as they are, by their present names and by
those of the beta: a program may hand on all that it hears from there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from stream.engine.protocol import Controls
from stream.errors import SignalingError
from stream.live.wish import MAX_SEED, Wish
from stream.programs.sound import FORMS, RATES_HZ, SoundForm
from stream.rtc.offer.bodies import RESUME_FORM, Body, ControlsBody, Word, refusal

MAX_MESSAGE_BYTES: Final = 1024 * 1024
USUAL_RATE_HZ: Final = 24_000
Place = Annotated[int, Field(ge=0)]


class AudioQuery(Body):
    """The address's query; without any of it, the first avatar hears 24 kHz."""

    rate: int = Field(USUAL_RATE_HZ, description=f"Samples a second: {', '.join(map(str, RATES_HZ))}.")
    format: str = Field("s16le", description=f"Of binary messages and base64: {', '.join(FORMS)}; mono.")
    avatar: Word | None = Field(None, description="An id of GET /avatars; the first one by default.")
    video: Literal["none", "mp4"] = Field(
        "none",
        description="`mp4`: the call comes on this socket as fragmented MP4, H.264 and Opus, in binary.",
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(0, description="Same seed and sound, same frames.")
    audio_scale: float | None = Field(None, ge=0, allow_inf_nan=False)
    reference_scale: float | None = Field(None, ge=0, allow_inf_nan=False)
    resume: Annotated[str, Field(pattern=RESUME_FORM)] | None = Field(
        None, description="`resume` of an earlier `hello`, to come back to its call."
    )


class End(Body):
    """A segment ends: `drained` will tell when it has been shown, or `cleared` that it never will be."""

    type: Literal["end", "input_audio_buffer.commit"]


class Clear(Body):
    """Interrupt: silence at once, and nothing is left of what was said; answered by `cleared`."""

    type: Literal["clear", "input_audio_buffer.clear", "response.cancel"]


class SetControls(ControlsBody):
    """Change what callers may turn."""

    type: Literal["controls"]


class Listening(Body):
    """The other side begins to speak, or has ended: the face listens."""

    type: Literal["listening"]
    listening: bool = True


class ChangeAvatar(Body):
    """Change the face."""

    type: Literal["avatar"]
    id: Word


class Bye(Body):
    """The call is over, for good."""

    type: Literal["bye"]


class Append(Body):
    """Sound, as base64."""

    type: Literal["input_audio_buffer.append"]
    audio: str


class Delta(Body):
    """Sound of an answer, as base64; another item begins another segment."""

    type: Literal["response.output_audio.delta", "response.audio.delta"]
    delta: str
    item_id: str | None = Field(None, max_length=256)
    content_index: Place = 0


class Done(Body):
    """The answer's sound is complete: its segment ends."""

    type: Literal["response.output_audio.done", "response.audio.done"]


class SpeechStarted(Body):
    """The other side speaks: the same as `clear`, and the face listens."""

    type: Literal["input_audio_buffer.speech_started"]


class SpeechStopped(Body):
    """The other side has ended."""

    type: Literal["input_audio_buffer.speech_stopped"]


Message = (
    End
    | Clear
    | SetControls
    | Listening
    | ChangeAvatar
    | Bye
    | Append
    | Delta
    | Done
    | SpeechStarted
    | SpeechStopped
)
MESSAGES: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
REFUSED_AS: Final = {"controls": "bad_controls", "avatar": "unknown_avatar"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a program's address asks for."""

    form: SoundForm
    wish: Wish
    video: bool
    resume: str | None


def read_query(query: Mapping[str, str]) -> Asked:
    """The query of the address.

    Raises:
        SignalingError: `invalid_request` (422), a name or a value that is not taken.
    """
    unknown = sorted(set(query) - set(AudioQuery.model_fields))
    if unknown:
        known = ", ".join(AudioQuery.model_fields)
        raise _invalid(f"Expected {known} in the address, got {unknown[0][:32]!r}.")
    try:
        asked = AudioQuery.model_validate(dict(query), strict=False)
        form = SoundForm(asked.rate, asked.format)
        controls = Controls(asked.audio_scale, asked.reference_scale)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, value = str(first["loc"][-1]), str(first["input"])[:40]
        wanted = AudioQuery.model_fields[name].description or "a number of at least 0"
        raise _invalid(f"The address has {name}={value!r}, which is not taken. {name}: {wanted}") from None
    except ValueError as error:
        raise _invalid(str(error)) from None
    return Asked(form, Wish(asked.avatar, asked.seed, controls), asked.video == "mp4", asked.resume)


def read_message(text: str) -> Message | None:
    """One text message.

    Returns:
        The message; None for an object of a type that is not ours.

    Raises:
        SignalingError: no JSON object with a `type`, or a field that is missing or wrong.
    """
    try:
        return MESSAGES.validate_json(text)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        if not first["loc"]:
            raise SignalingError(
                "bad_message",
                'Expected a JSON object with a "type", such as {"type": "end"}; got something else.',
            ) from None
        raise SignalingError(
            REFUSED_AS.get(str(first["loc"][0]), "bad_message"), refusal(error).message
        ) from None


def read_base64(text: str) -> bytes:
    """The bytes of a message's sound.

    Raises:
        SignalingError: `bad_sound`, it is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignalingError(
            "bad_sound", "Expected sound as base64; the message has something else."
        ) from None


def _invalid(sentence: str) -> SignalingError:
    return SignalingError("invalid_request", sentence, 422)
