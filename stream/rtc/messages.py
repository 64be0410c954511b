"""What a page may say over the data channel, as models told apart by their `type`. Pure.

In: text from anybody. Out: a message, None for what is no message of this protocol (either side may learn new types
first), or a `SignalingError` with one sentence for one of our types whose fields are wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from stream.errors import SignalingError
from stream.rtc.offer.bodies import Body, ControlsBody, Word, refusal


class Ping(Body):
    """Sent every second, answered by `pong` with its `t`; whatever else `t` is, null is sent back."""

    type: Literal["ping"]
    t: Any = None


class Bye(Body):
    """The call is over."""

    type: Literal["bye"]


class Clear(Body):
    """Interrupt: what was heard and not yet shown is dropped."""

    type: Literal["clear"]


class SetControls(ControlsBody):
    """Change what callers may turn."""

    type: Literal["controls"]


class ChangeAvatar(Body):
    """Change the face."""

    type: Literal["avatar"]
    id: Word


Message = Ping | Bye | Clear | SetControls | ChangeAvatar
MESSAGES: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


REFUSED_AS: Final = {"controls": "bad_controls", "avatar": "unknown_avatar"}


def read_message(text: str) -> Message | None:
    """One message of a page.

    Returns:
        The message; None for what is no JSON, no object or of a type that is not ours.

    Raises:
        SignalingError: a field is missing or wrong; its code is the notice's, such as `bad_controls`.
    """
    try:
        return MESSAGES.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            return None
        code = REFUSED_AS.get(str(first["loc"][0]), "bad_message")
        raise SignalingError(code, refusal(error).message) from None
