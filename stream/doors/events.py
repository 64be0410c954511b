"""What a program hears on WS /v1/audio, as models: they are told in GET /asyncapi.json and held by its test. Pure.

Positions are `samples` of the program's own rate from the beginning of their segment, and `ms` of the same. An
event of a segment whose sound came as an OpenAI item carries that item's `item_id` and `content_index`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """What all events share; fields beyond those told may come."""

    model_config = ConfigDict(extra="allow")


class Hello(Event):
    """First: which call it is, and what it draws. `watch_id` lets others see it, `resume` brings back to it."""

    type: Literal["hello"]
    protocol: int
    session_id: str
    watch_id: str
    resume: str
    avatar: str
    rate: int
    max_backlog_ms: int
    fps: int
    width: int
    height: int


class Placed(Event):
    """Something about a segment."""

    segment: int
    item_id: str | None = None
    content_index: int | None = None


class Started(Placed):
    """The first frame of a segment with sound was shown."""

    type: Literal["started"]


class Played(Placed):
    """Every 100 ms of what is shown: how far, to the frame, and how much sound waits."""

    type: Literal["played"]
    samples: int
    ms: float
    backlog_ms: int


class Drained(Placed):
    """A segment that ended was shown to its end; one for each end that was not cleared."""

    type: Literal["drained"]
    samples: int
    ms: float


class Cleared(Placed):
    """An interruption is done: where it stopped. `segment` is null where nothing was being said."""

    type: Literal["cleared"]
    segment: int | None  # type: ignore[assignment]
    samples: int
    ms: float
    dropped_ms: int
    by: Literal["page", "http"]


class Truncate(Event):
    """After `cleared`, where the sound was an OpenAI item's: to be handed on to there as it is."""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int
    audio_end_ms: int


class Error(Event):
    """A message was refused and the call goes on; or the socket closes after it."""

    type: Literal["error"]
    error: str
    message: str


class Notice(Event):
    """A change of face is done, or a request was refused."""

    type: Literal["notice"]


class ControlsTold(Event):
    """Something was changed: what is in force."""

    type: Literal["controls"]
    audio_scale: float
    reference_scale: float
    listening: bool
    by: str


class Stats(Event):
    """Once a second: the figures of docs/protocol.md."""

    type: Literal["stats"]
    state: str


EVENTS: Final[dict[str, type[Event]]] = {
    str(model.model_fields["type"].annotation.__args__[0]): model  # type: ignore[union-attr]
    for model in (
        Hello,
        Started,
        Played,
        Drained,
        Cleared,
        Truncate,
        Error,
        Notice,
        ControlsTold,
        Stats,
    )
}
"""Every event's model by its type."""


def check_event(message: dict[str, Any]) -> None:
    """Hold an event to its model.

    Raises:
        KeyError: of a type that is not told.
        pydantic.ValidationError: a field is missing or wrong.
    """
    EVENTS[message["type"]].model_validate(message)
