"""`fada serve`: load the engine, open the port, print the address, run until Ctrl-C.

In: command-line options. Out: a running server; exit code 0 after a clean stop, 1 if it could not run, 2 for
options that make no sense.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from models.runtimes.options import add_hop_arguments, read_hop
from stream.app import ServerConfig, create_app
from stream.engine.protocol import Engine, EngineSpec
from stream.errors import StreamError

if TYPE_CHECKING:
    from models.runtimes.hop_fit import HopFit

SUMMARY = "serve the live avatar: open a page, speak, and a face speaks with you"

AVATARS = Path(__file__).resolve().parent.parent / "avatars"
STOP_WITHIN_S = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fada serve`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8080, help="port; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--preset", default="small", help="networks to load (default: %(default)s)")
    parser.add_argument(
        "--weights",
        default=None,
        metavar="PATH",
        help="checkpoint, folder of EchoMimic's files, or 'random' to try a preset (default: the shipped weights)",
    )
    parser.add_argument(
        "--size", type=int, default=None, metavar="PX", help="side of the picture; base presets alone take it"
    )
    parser.add_argument(
        "--nfe", type=int, default=None, help="evaluations per window (default: the preset's)"
    )
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument(
        "--backend",
        default="auto",
        help="auto, native, native-bf16, torch-fp32, torch-bf16, torch-compile, torch-fp8, onnx or onnx-int8 "
        "(default: %(default)s: what `fada doctor --calibrate` measured, else a rule)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=None,
        help="CPU threads of the networks (default: all cores but one, which hears, encodes and sends)",
    )
    add_hop_arguments(parser)
    parser.add_argument(
        "--max-sessions", type=int, default=2, help="callers at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--max-viewers",
        type=int,
        default=16,
        help="viewers of each call at a time, 0 for none (default: %(default)s)",
    )
    parser.add_argument("--avatars", type=Path, default=AVATARS, help="folder of faces with index.json")
    parser.add_argument(
        "--ice-server",
        action="append",
        default=[],
        metavar="URL[,USER,PASSWORD]",
        help="STUN or TURN server for callers behind a NAT; none by default; may be repeated",
    )
    parser.add_argument("--verbose", action="store_true", help="log every request and session")


def run(args: argparse.Namespace) -> int:
    """Serve with the project's own engine."""
    # The networks' threads spin only shortly for each other. On two cores with one other busy program a window
    # took 444 ms with the library's own waiting and 175 ms with this; on two idle cores 68 and 86 ms (small
    # preset, 4 evaluations). The OpenMP library reads it when torch is imported, which `load` does first.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

    def load() -> Engine:
        # torch is imported here, on the engine's own thread
        from models.runtimes.backends import live_threads
        from stream.engine.torch_engine import load_engine

        engine = load_engine(
            args.preset,
            args.nfe,
            args.device,
            args.backend,
            weights=args.weights,
            threads=args.threads or live_threads(),
            hop=read_hop(args),
            size=args.size,
            max_batch=args.max_sessions,
            fit=args.hop is None,
        )
        if engine.fitted is not None and (said := _what_fits(engine.fitted, engine.spec)):
            print(said, file=sys.stderr, flush=True)
        if engine.why == "rule":
            hint = "chosen by rule; `fada doctor --calibrate` measures which is fastest here"
            print(f"The networks run as {engine.backend} ({hint}).", file=sys.stderr, flush=True)
        return engine

    return serve(args, load)


def serve(args: argparse.Namespace, load: Callable[[], Engine]) -> int:
    """Serve with any engine.

    Returns:
        The exit code.
    """
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
    )
    logging.getLogger("aioice").setLevel(logging.WARNING)
    problem = _wrong_option(args)
    if problem:
        return _fail(problem, 2)
    try:
        config = ServerConfig(
            avatars=args.avatars,
            host=args.host,
            max_sessions=args.max_sessions,
            max_viewers=args.max_viewers,
            ice_servers=tuple(read_ice_server(text) for text in args.ice_server),
        )
        app = create_app(config, load)
        listener = open_port(args.host, args.port)
    except (StreamError, ValueError, OSError) as error:
        return _fail(str(error), 1)
    with contextlib.closing(listener):
        server = _AnnouncedServer(
            uvicorn.Config(
                app,
                log_level="info" if args.verbose else "warning",
                timeout_graceful_shutdown=STOP_WITHIN_S,
                server_header=False,
            ),
            page_address(args.host, listener.getsockname()[1]),
        )
        # uvicorn raises the signal again once it has stopped; for Ctrl-C that is the ordinary end.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return _fail(server.problem, 1) if server.problem else 0


class _AnnouncedServer(uvicorn.Server):
    """Prints the address once sessions can start, and stops if the engine cannot be loaded."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self.problem = ""
        self._address = address
        self._announcing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        print("Loading the networks ...", file=sys.stderr, flush=True)
        self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        state = self.config.app.state.server  # type: ignore[union-attr]
        await state.loaded.wait()
        if state.load_error is not None:
            self.problem = state.load_error.message
            self.should_exit = True
        else:
            print(f"Fada Live is ready: {self._address}  (Ctrl-C stops it)", flush=True)


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: with one sentence, when the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise OSError(_port_problem(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _port_problem(host: str, port: int, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another program; stop it or choose another with --port."
    if number == errno.EACCES:
        return f"Port {port} needs more rights than this account has; choose one above 1023 with --port."
    if number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is not an address of this machine; try --host 127.0.0.1 or --host 0.0.0.0."
    return f"Cannot listen on {host}:{port}: {error}."


def page_address(host: str, port: int) -> str:
    """The address to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def read_ice_server(text: str) -> tuple[str, str | None, str | None]:
    """`stun:host:port` or `turn:host:port,user,password`.

    Raises:
        ValueError: another form.
    """
    parts = text.split(",", 2)
    url = parts[0].strip()
    stun = url.startswith(("stun:", "stuns:")) and len(parts) == 1
    turn = url.startswith(("turn:", "turns:")) and len(parts) == 3
    if not (stun or turn):
        raise ValueError(
            f"Expected --ice-server stun:HOST:PORT or turn:HOST:PORT,USER,PASSWORD, got {url!r}."
        )
    return (url, parts[1], parts[2]) if turn else (url, None, None)


def _what_fits(fitted: HopFit, spec: EngineSpec) -> str:
    """A sentence for the operator where windows are longer than the preset's; empty where they are not."""
    hop, cost_ms = fitted.hop_frames, fitted.cost_ms[fitted.hop_frames]
    of_ms = 1000 * hop / spec.fps
    if not fitted.in_time:
        return (
            f"A window of {hop} frames takes {cost_ms:.0f} ms here, of the {of_ms:.0f} ms it covers: the face may "
            "fall behind while other programs run."
        )
    shortest = min(fitted.cost_ms)
    if hop == shortest:
        return ""
    return (
        f"Windows have {hop} frames ({cost_ms:.0f} ms of {of_ms:.0f}): one of {shortest} took "
        f"{fitted.cost_ms[shortest]:.0f} ms, of the {1000 * shortest / spec.fps:.0f} ms it covers. "
        "Choose with --hop."
    )


def _wrong_option(args: argparse.Namespace) -> str:
    if not 0 <= args.port <= 65535:
        return f"Expected --port between 0 and 65535, got {args.port}."
    if args.max_sessions < 1:
        return f"Expected --max-sessions of at least 1, got {args.max_sessions}."
    if args.max_viewers < 0:
        return f"Expected --max-viewers of at least 0, got {args.max_viewers}."
    if args.nfe is not None and args.nfe < 1:
        return f"Expected --nfe of at least 1, got {args.nfe}."
    if args.threads is not None and args.threads < 1:
        return f"Expected --threads of at least 1, got {args.threads}."
    try:
        for text in args.ice_server:
            read_ice_server(text)
    except ValueError as error:
        return str(error)
    return ""


def _fail(sentence: str, code: int) -> int:
    print(f"fada serve: {sentence}", file=sys.stderr)
    return code
