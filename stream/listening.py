"""Where the server listens: a host and a port in, a socket and the address to open in a browser out.

Runs before anything is loaded, so that a port that is taken is told at once, in one sentence.
"""

from __future__ import annotations

import errno
import os
import socket

BACKLOG = 128


def read_host(text: str) -> str:
    """A host as it may be written: ``[::1]``, as in an address, is ``::1``."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: with one sentence, when the port is taken or the address is not this machine's.
    """
    host = read_host(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise OSError(_port_problem(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _port_problem(host: str, port: int, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        other = _option("port", port + 1)
        return f"Port {port} on {host} is taken by another program; stop it or choose another with {other}."
    if number == errno.EACCES:
        other = _option("port", 8080)
        return f"Port {port} needs more rights than this account has; choose one above 1023 with {other}."
    if number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        own = _option("host", "127.0.0.1")
        return f"{host} is not an address of this machine; try {own}, or 0.0.0.0 for all of them."
    return f"Cannot listen on {host}:{port}: {error}."


def _option(name: str, value: object) -> str:
    """An option as it is written to whatever started this: ``PORT=8081`` under make, else ``--port 8081``."""
    return f"{name.upper()}={value}" if "MAKELEVEL" in os.environ else f"--{name} {value}"


def page_address(host: str, port: int) -> str:
    """The address to open in a browser."""
    host = read_host(host)
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
