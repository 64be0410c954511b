"""The HTTP side: POST /offer, sessions' controls and viewers, GET /healthz /readyz /metrics /avatars, and the page.

In: requests. Out: JSON, Prometheus text, static files; media flows beside it over WebRTC. `create_app` builds
it around an engine loader; its lifespan loads the engine without keeping the port closed, and ends every
session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from stream.answers import (
    OF_BODIES,
    OF_OFFERS,
    OF_READINESS,
    OF_SEATS,
    AvatarRow,
    CallerAnswer,
    ControlsInForce,
    OfferedScales,
    PageConfig,
    Readiness,
    Up,
    ViewerAnswer,
    add_error_answers,
    add_openapi,
    json_body,
    told,
)
from stream.avatars.catalogue import AvatarCatalogue
from stream.avatars.served import AvatarPictures
from stream.calls.lobby import Lobby
from stream.calls.metrics import Metrics
from stream.calls.session_parts import SessionParts
from stream.clock import Clock, MonotonicClock
from stream.doors.audio_socket import AudioDoor, add_audio_socket
from stream.doors.whip import SdpDoor, add_whep, add_whip
from stream.engine.controls import offered_scales
from stream.engine.protocol import Engine, EngineSpec
from stream.engine.scheduler import Scheduler, SchedulerConfig
from stream.errors import AdmissionError, EngineError, MediaError, SignalingError, StreamError
from stream.middleware import BodyLimit, SafeHeaders
from stream.rtc.caller import WebRtcCaller
from stream.rtc.channel import PROTOCOL
from stream.rtc.ice import IceConfig, for_page, local_addresses
from stream.rtc.offer.bodies import MAX_BODY_BYTES, ControlsBody, OfferBody, ViewerOfferBody, read_body
from stream.rtc.offer.request import parse_offer, parse_viewer_offer
from stream.server_config import ServerConfig
from stream.uploads.form import MAX_FORM_BYTES
from stream.uploads.permission import UploadRule
from stream.uploads.routes import Uploads, add_upload_routes

logger = logging.getLogger(__name__)


class Server:
    """What the routes share: the scheduler, the sessions and whether loading worked."""

    def __init__(self, config: ServerConfig, load: Callable[[], Engine], clock: Clock) -> None:
        self.catalogue = AvatarCatalogue.read(config.avatars, *config.more_avatars, own=config.own_avatars)
        self.metrics = Metrics()
        self.clock = clock
        self.scheduler = Scheduler(load, clock, SchedulerConfig(max_sessions=config.max_sessions))
        addresses = config.ice_addresses
        self.ice_servers = config.ice_servers
        self.ice = IceConfig(
            local_addresses(config.host) if addresses is None else addresses,
            config.ice_servers,
            config.public_addresses,
        )
        self.lobby = Lobby(
            SessionParts(
                pool=self.scheduler,
                catalogue=self.catalogue,
                clock=clock,
                metrics=self.metrics,
                ice=self.ice,
                max_viewers=config.max_viewers,
                grace_s=config.grace_s,
            )
        )
        rule = UploadRule(config.uploads, config.host, config.own_avatars is not None)
        self.uploads = Uploads(rule, self.catalogue, self.scheduler, clock)
        self.load_error: StreamError | None = None
        self.broken = ""  # once closed: why the server did not end well
        self.loaded = asyncio.Event()

    async def load(self) -> None:
        """Load the engine; afterwards `loaded` is set and `load_error` tells how it went."""
        try:
            await self.scheduler.start()
        except StreamError as error:
            self.load_error = error
        except Exception as error:
            logger.exception("the engine did not load")
            self.load_error = EngineError("engine_failed", f"The engine could not be loaded: {error}")
        finally:
            self.loaded.set()

    async def close(self) -> None:
        await self.lobby.close()
        await self.uploads.close()
        if self.scheduler.problem is not None:
            self.broken = self.scheduler.problem.message
        if not await self.scheduler.stop():
            self.broken = self.broken or "The engine could not be stopped."

    async def refresh_avatars(self) -> None:
        """Offer what was added meanwhile, by whomever; what cannot be read leaves things as they are."""
        try:
            await asyncio.to_thread(self.catalogue.refresh)
        except MediaError as error:
            logger.warning("the avatars stay as they were: %s", error.message)

    def check_ready(self) -> None:
        """Raises: StreamError: still loading, or loading failed."""
        if self.load_error is not None:
            raise AdmissionError("not_ready", self.load_error.message)
        self.scheduler.check_ready()

    def ready_spec(self) -> EngineSpec:
        """What the engine draws. Raises: StreamError: still loading, or loading failed."""
        self.check_ready()
        return self.scheduler.spec


def create_app(config: ServerConfig, load: Callable[[], Engine], clock: Clock | None = None) -> FastAPI:
    """Build the application.

    Args:
        config: see `ServerConfig`.
        load: builds the engine; called on the engine thread after the port is open.
        clock: the time; the machine's by default.

    Raises:
        MediaError: the avatars cannot be read.
    """
    server = Server(config, load, clock or MonotonicClock())

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(server.load())
        try:
            yield
        finally:
            await server.close()
            await loading

    app = FastAPI(title="Fada Live", lifespan=lifespan, version=str(PROTOCOL), docs_url=None, redoc_url=None)
    app.state.server = server
    pictures = dict.fromkeys(("/avatars", "/avatars/preview", "/avatars/trial"), MAX_FORM_BYTES)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, larger=pictures)
    app.add_middleware(SafeHeaders)
    _add_routes(app, server)
    _add_control_routes(app, server)
    _add_viewer_routes(app, server)
    add_upload_routes(app, server.uploads)
    shared = (server.lobby, server.clock, server.ready_spec, server.refresh_avatars)
    add_audio_socket(app, AudioDoor(*shared))
    add_whip(app, SdpDoor(*shared, server.ice))
    add_whep(app, SdpDoor(*shared, server.ice))
    add_error_answers(app)
    add_openapi(app)
    app.mount("/avatars", AvatarPictures(server.catalogue), name="avatar pictures")
    app.mount("/", StaticFiles(directory=config.web_client, html=True, check_dir=False), name="page")
    return app


def _add_routes(app: FastAPI, server: Server) -> None:
    @app.post(
        "/offer",
        **told(
            *OF_BODIES,
            *OF_OFFERS,
            *OF_SEATS,
            "unknown_avatar",
            "bad_avatar",
            body=OfferBody,
            answer=CallerAnswer,
        ),
    )
    async def offer(request: Request) -> JSONResponse:
        try:
            asked = parse_offer(await json_body(request))
            server.check_ready()
            await server.refresh_avatars()
            caller = WebRtcCaller(server.ice, server.clock, server.scheduler.spec.sample_rate_hz, asked.sdp)
            session = await server.lobby.admit(asked.wish, caller, asked.resume)
        except StreamError as error:
            server.metrics.offers.labels(error.code).inc()
            logger.info("a call was refused: %s", error.message)
            raise
        server.metrics.offers.labels("answered").inc()
        ids = {"session_id": session.id, "watch_id": session.watch_id, "resume": session.secret}
        return JSONResponse({**caller.answer, **ids})

    @app.get("/offer", include_in_schema=False)
    async def offer_is_posted() -> None:
        raise HTTPException(405, "Expected POST with a JSON body", {"Allow": "POST"})

    @app.get("/config", **told(answer=PageConfig))
    async def config(request: Request) -> JSONResponse:
        uploads = server.uploads.config_for(request)
        servers = for_page(server.ice_servers)
        return JSONResponse({"protocol": PROTOCOL, "ice_servers": servers, "uploads": uploads})

    @app.get("/avatars", **told(answer=list[AvatarRow]))
    async def avatars() -> JSONResponse:
        await server.refresh_avatars()
        return JSONResponse(server.catalogue.as_json())

    @app.get("/healthz", **told(answer=Up))
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "up"})

    @app.get("/readyz", **told(*OF_READINESS, answer=Readiness))
    async def readyz() -> JSONResponse:
        server.check_ready()
        seats = server.scheduler.seats
        return JSONResponse({"status": "ready", "sessions": seats.taken, "max_sessions": seats.limit})

    @app.get("/metrics", response_class=PlainTextResponse, **told())
    async def metrics() -> Response:
        return Response(server.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _add_control_routes(app: FastAPI, server: Server) -> None:
    """What callers may turn. A session's id is only known to who made its offer."""

    @app.get("/controls", **told(*OF_READINESS, answer=OfferedScales))
    async def offered() -> JSONResponse:
        server.check_ready()
        return JSONResponse(offered_scales(server.scheduler.spec))

    @app.get("/sessions/{session_id}/controls", **told("unknown_session", answer=ControlsInForce))
    async def read(session_id: str) -> JSONResponse:
        return JSONResponse(server.lobby.find(session_id).scales)

    @app.patch(
        "/sessions/{session_id}/controls",
        **told(*OF_BODIES, "unknown_session", body=ControlsBody, answer=ControlsInForce),
    )
    async def turn(session_id: str, request: Request) -> JSONResponse:
        wanted = read_body(await json_body(request), ControlsBody)
        session = server.lobby.find(session_id)
        try:
            session.turn(wanted.model_dump(exclude_unset=True), by="http")
        except ValueError as error:
            raise SignalingError("invalid_request", str(error), 422) from error
        return JSONResponse(session.scales)

    @app.post("/sessions/{session_id}/clear", **told("unknown_session", status=204))
    async def clear(session_id: str) -> Response:
        server.lobby.find(session_id).clear(by="http")
        return Response(status_code=204)


def _add_viewer_routes(app: FastAPI, server: Server) -> None:
    """Who else may see and hear a session: everybody who knows its watch id, which turns nothing."""

    @app.post(
        "/sessions/{watch_id}/viewers",
        **told(
            *OF_BODIES,
            *OF_OFFERS,
            "unknown_session",
            "viewers_full",
            body=ViewerOfferBody,
            answer=ViewerAnswer,
        ),
    )
    async def admit(watch_id: str, request: Request) -> JSONResponse:
        sdp = parse_viewer_offer(await json_body(request))
        return JSONResponse(await server.lobby.find_watched(watch_id).admit_viewer(sdp))

    @app.delete(
        "/sessions/{watch_id}/viewers/{viewer_id}", **told("unknown_session", "unknown_viewer", status=204)
    )
    async def remove(watch_id: str, viewer_id: str) -> Response:
        await server.lobby.find_watched(watch_id).remove_viewer(viewer_id)
        return Response(status_code=204)
