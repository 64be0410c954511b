"""`fada serve`: load the engine, open the port, print the address, run until Ctrl-C.

In: command-line options. Out: a running server; exit code 0 after a clean stop, 1 if it could not run, 2 for
options that make no sense, 128 and the signal's number where it was stopped while it was loading.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kernels.machine import ROOT
from models.runtimes.options import add_engine_arguments, add_size_argument, read_engine_options
from stream.app import create_app
from stream.avatars.own_avatars import own_folder_or_none
from stream.engine.protocol import Engine, EngineSpec
from stream.errors import StreamError
from stream.listening import open_port, page_address, read_host
from stream.logs import start_logging
from stream.running import AnnouncedServer
from stream.server_config import ServerConfig

if TYPE_CHECKING:
    from models.runtimes.hop_fit import HopFit

SUMMARY = "serve the live avatar: open a page, speak, and a face speaks with you"

AVATARS = ROOT / "avatars"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fada serve`: people's first, then those of the networks."""
    group = parser.add_argument_group("the server")
    group.add_argument(
        "--avatars",
        type=Path,
        default=AVATARS,
        help="folder of faces: pictures, or index.json and what it names (default: the bundled ones and your own)",
    )
    group.add_argument(
        "--uploads",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="let people add and remove pictures of their own (default: from this machine alone)",
    )
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    group.add_argument(
        "--port", type=int, default=8080, help="port; 0 takes a free one (default: %(default)s)"
    )
    group.add_argument("--max-sessions", type=int, default=2, help="callers at a time (default: %(default)s)")
    group.add_argument(
        "--max-viewers",
        type=int,
        default=16,
        help="viewers of each call at a time, 0 for none (default: %(default)s)",
    )
    group.add_argument(
        "--ice-server",
        action="append",
        default=[],
        metavar="URL[,USER,PASSWORD]",
        help="STUN or TURN server for callers behind a NAT; none by default; may be repeated",
    )
    group.add_argument(
        "--public-address",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address under which a 1:1 NAT (cloud, container host) hands on to this machine; may be repeated",
    )
    group.add_argument("--verbose", action="store_true", help="log every request too")
    add_size_argument(group)
    add_engine_arguments(parser, "all cores but one, which hears, encodes and sends")


def run(args: argparse.Namespace) -> int:
    """Serve with the project's own engine.

    Raises:
        ValueError: an option of the engine makes no sense.
    """
    # The networks' threads spin only shortly for each other. On two cores with one other busy program a window
    # took 444 ms with the library's own waiting and 175 ms with this; on two idle cores 68 and 86 ms (small
    # preset, 4 evaluations). The OpenMP library reads it when torch is imported, which `load` does first.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    options = read_engine_options(args, args.size, max_batch=args.max_sessions, fit=True)

    def load() -> Engine:
        # torch is imported here, on the engine's own thread
        from models.runtimes.backends import live_threads
        from stream.engine.torch_engine import load_engine

        engine = load_engine(replace(options, threads=options.threads or live_threads()))
        for sentence in what_to_tell(engine.spec, engine.fitted, engine.slower, engine.why):
            print(sentence, file=sys.stderr, flush=True)
        return engine

    return serve(args, load)


def serve(args: argparse.Namespace, load: Callable[[], Engine]) -> int:
    """Serve with any engine.

    Returns:
        The exit code.
    """
    start_logging(args.verbose)
    try:
        if not 0 <= args.port <= 65535:
            raise ValueError(f"Expected --port between 0 and 65535, got {args.port}.")
        config = ServerConfig(
            avatars=args.avatars,
            own_avatars=own_folder_or_none() if args.avatars == AVATARS or args.uploads else None,
            uploads=args.uploads,
            host=read_host(args.host),
            max_sessions=args.max_sessions,
            max_viewers=args.max_viewers,
            public_addresses=tuple(read_public_address(text) for text in args.public_address),
            ice_servers=tuple(read_ice_server(text) for text in args.ice_server),
        )
        app = create_app(config, load)
        listener = open_port(args.host, args.port)
    except ValueError as error:
        return _fail(str(error), 2)
    except (StreamError, OSError) as error:
        return _fail(str(error), 1)
    with contextlib.closing(listener):
        address = page_address(args.host, listener.getsockname()[1])
        server = AnnouncedServer(app, address, args.verbose)
        server.run(sockets=[listener])
    problem = server.problem or app.state.server.broken
    return _fail(problem, 1) if problem else 0


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


def read_public_address(text: str) -> str:
    """An address that others can reach.

    Raises:
        ValueError: the text is no IP address, or one that nobody reaches.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast:
        raise ValueError(f"Expected --public-address to be an IP address such as 203.0.113.7, got {text!r}.")
    return str(address)


def what_to_tell(spec: EngineSpec, fitted: HopFit | None, slower: str, why: str) -> list[str]:
    """What the operator should know of the engine that was loaded, in sentences; nothing where all is well.

    Args:
        spec: of the engine.
        fitted: what the hop was fitted to, if it was.
        slower: why it draws slower than it could here, and what helps.
        why: its runtime was taken: "measured", "rule" or "asked".
    """
    told = [what_fits(fitted, spec)] if fitted is not None else []
    if slower:
        told.append(f"Drawing is slower than it could be here. {slower}")
    elif why == "rule":
        told.append("`fada doctor --calibrate` measures, in about a minute, how this machine draws fastest.")
    return [sentence for sentence in told if sentence]


def what_fits(fitted: HopFit, spec: EngineSpec) -> str:
    """A sentence for the operator where this machine is slower than the preset wants; empty where it is not."""
    hop, shortest = fitted.hop_frames, min(fitted.cost_ms)
    if not fitted.in_time:
        share = fitted.cost_ms[hop] / (1000 * hop / spec.fps)
        return (
            f"This machine is slow for a live face: drawing takes {share:.0%} of the time there is, so frames may "
            "be held. Close other programs, or use a faster machine."
        )
    if hop == shortest:
        return ""
    later_ms = 1000 * (hop - shortest) / spec.fps
    return (
        f"Frames are drawn {hop} at a time, since this machine is too slow for {shortest} at a time: the face "
        f"answers {later_ms:.0f} ms later. `--hop {shortest}` insists."
    )


def _fail(sentence: str, code: int) -> int:
    print(f"fada serve: {sentence}", file=sys.stderr)
    return code
