"""POST /avatars and what goes with it: a look at a picture, a film to try it, keeping it, removing it.

In: forms of people who may (`stream.uploads.permission`). Out: JSON, a film, and a catalogue that offers one face
more or less at once. Nothing is kept before the consent is given. Event loop; pictures are read in a process of
their own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from stream.answers import OF_SEATS, Answer, AvatarRow, SeenPicture, told
from stream.avatars.catalogue import AvatarCatalogue
from stream.clock import Clock
from stream.engine.admission import Pool
from stream.errors import AdmissionError, SignalingError, StreamError
from stream.media import UInt8Array
from stream.middleware import drain
from stream.uploads.form import (
    MAX_FORM_BYTES,
    AvatarBody,
    PictureForm,
    PreviewBody,
    missing,
    read_picture_form,
)
from stream.uploads.permission import UploadRule
from stream.uploads.reader import PictureReader
from stream.uploads.trial import FORMS, make_trial

logger = logging.getLogger(__name__)

CONSENT: Final = "This is me, or nobody real, or somebody who has agreed to be seen speaking."
MOST_OWN: Final = 100
MOST_FORMS: Final = 16
"""At a time, those that still come in included: each is a file meanwhile."""
OF_FORMS: Final = (
    "uploads_off",
    "other_origin",
    "bad_form",
    "too_slow",
    "too_large",
    "bad_type",
    "invalid_request",
)
OF_PICTURES: Final = ("not_a_picture", "bad_image", "no_face", "bad_points", "uploads_busy")


class Lines(Answer):
    """Where eyes and mouth belong on the canvas, as shares of its side, and how much each counts."""

    points: list[tuple[float, float]]
    weights: list[float]


class Preview(Answer):
    """What was found: the picture, eyes and mouth in pixels of the upright file, and how it would be framed."""

    picture: SeenPicture
    points: list[tuple[float, float]]
    framed: str
    notes: list[str]
    lines: Lines


class AddedAvatar(Answer):
    avatar: AvatarRow
    notes: list[str]


class Uploads:
    """What the routes share.

    Args:
        rule: who may.
        catalogue: gets the faces.
        pool: draws the films.
        clock: the time.
    """

    def __init__(self, rule: UploadRule, catalogue: AvatarCatalogue, pool: Pool, clock: Clock) -> None:
        self.rule = rule
        self.catalogue = catalogue
        self.pool = pool
        self.clock = clock
        self.reader = PictureReader()
        self._forms = 0  # being received or read

    def config_for(self, request: Request) -> dict[str, Any] | None:
        """What GET /config says to who asks; None where they may not."""
        if not self.rule.allows(request):
            return None
        return {"consent": CONSENT, "max_bytes": MAX_FORM_BYTES, "max_avatars": MOST_OWN}

    @contextlib.asynccontextmanager
    async def form(self, request: Request) -> AsyncIterator[PictureForm]:
        """The form of a request whose sender may.

        Raises:
            SignalingError: they may not, or the form is wrong.
            AdmissionError: there are too many already.
        """
        try:
            self.rule.check(request)
            if self._forms >= MOST_FORMS:
                raise AdmissionError(
                    "uploads_busy", f"{MOST_FORMS} pictures wait to be read; try again in a few seconds."
                )
        except StreamError:
            await drain(request.receive)
            raise
        self._forms += 1
        try:
            async with read_picture_form(request) as form:
                yield form
        finally:
            self._forms -= 1

    async def canvas(self, form: PictureForm) -> UInt8Array:
        """A picture framed for the engine, (side, side, 3) uint8."""
        side = self.pool.spec.width
        cut = await self.reader.ask("cut", form, side=side)
        return np.frombuffer(base64.b64decode(cut["canvas"]), np.uint8).reshape(side, side, 3)

    async def keep(self, form: PictureForm) -> dict[str, Any]:
        """Store a picture and offer it at once.

        Raises:
            SignalingError: the name or the consent is wrong, or the picture cannot be used.
        """
        own = self.catalogue.own
        assert own is not None, "the rule has seen to it"
        name = form.name()
        if "consent" not in form.words:
            raise missing("consent", f'send the sentence "{CONSENT}"')
        if form.words["consent"].strip() != CONSENT:
            raise SignalingError(
                "no_consent", f'Expected as consent the sentence "{CONSENT}", word by word.', 422
            )
        at = datetime.now(UTC).isoformat(timespec="seconds")
        kept = await self.reader.ask(
            "keep",
            form,
            name=name,
            folder=str(own.folder.absolute()),
            taken=[avatar.id for avatar in self.catalogue if not self.catalogue.is_own(avatar.id)],
            consent={"sentence": CONSENT, "at": at},
            most=MOST_OWN,
        )
        await asyncio.to_thread(self.catalogue.refresh)
        logger.info("the avatar %s was added", kept["id"])
        row = next(row for row in self.catalogue.as_json() if row["id"] == kept["id"])
        return {"avatar": row, "notes": kept["notes"]}

    async def remove(self, avatar_id: str) -> None:
        """Forget an avatar of one's own and delete its picture.

        Raises:
            SignalingError: there is none (404), or it is the house's (403).
        """
        avatar = self.catalogue.find(avatar_id)
        if self.catalogue.own is None or not self.catalogue.is_own(avatar.id):
            raise SignalingError(
                "not_own", f"{avatar.name} came with the server; only added avatars can be removed.", 403
            )
        await asyncio.to_thread(self.catalogue.own.remove, avatar.id)
        logger.info("the avatar %s was removed", avatar.id)
        await asyncio.to_thread(self.catalogue.refresh)

    async def close(self) -> None:
        """End the process that reads."""
        await self.reader.close()


def add_upload_routes(app: FastAPI, uploads: Uploads) -> None:
    """Add the routes; they answer 403 to who may not."""

    @app.post(
        "/avatars/preview",
        **told(*OF_FORMS, *OF_PICTURES, form=PreviewBody, answer=Preview),
    )
    async def preview(request: Request) -> JSONResponse:
        async with uploads.form(request) as form:
            return JSONResponse(await uploads.reader.ask("look", form))

    @app.post(
        "/avatars/trial",
        **told(*OF_FORMS, *OF_PICTURES, *OF_SEATS, form=PreviewBody, files=tuple(FORMS)),
    )
    async def trial(request: Request) -> Response:
        async with uploads.form(request) as form:
            uploads.pool.check_ready()
            canvas = await uploads.canvas(form)
        accepted = request.headers.get("accept", "")
        kind = "video/webm" if "video/webm" in accepted and "video/mp4" not in accepted else "video/mp4"
        film = await make_trial(uploads.pool, uploads.clock, canvas, kind)
        return Response(film, media_type=kind)

    @app.post(
        "/avatars",
        **told(
            *OF_FORMS,
            *OF_PICTURES,
            "no_consent",
            "avatars_full",
            form=AvatarBody,
            answer=AddedAvatar,
            status=201,
        ),
    )
    async def add(request: Request) -> JSONResponse:
        async with uploads.form(request) as form:
            return JSONResponse(await uploads.keep(form), 201)

    @app.delete(
        "/avatars/{avatar_id}",
        **told("uploads_off", "other_origin", "not_own", "unknown_avatar", status=204),
    )
    async def remove(avatar_id: str, request: Request) -> Response:
        uploads.rule.check(request)
        await uploads.remove(avatar_id)
        return Response(status_code=204)
