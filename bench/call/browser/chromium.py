"""The system's Chromium, with a WAV file for a microphone and nothing that reaches for the network.

In: how the microphone shall behave. Out: a Playwright browser. Playwright is a dependency of development (`make
test` installs it), so it is imported when a browser is asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

PR_CAPBSET_DROP: Final = 24
CAP_SYS_NICE: Final = 23
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

_QUIET_FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
)
_CALL_FLAGS: Final = (
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter",
    "--host-resolver-rules=MAP fada.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


class ChromiumError(Exception):
    """No browser to drive; the message is a sentence for the user."""


def find_chromium() -> str:
    """Path of a Chromium or Chrome; CHROMIUM names another one.

    Raises:
        ChromiumError: none is installed.
    """
    named = os.environ.get("CHROMIUM")
    found = named or next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if found is None or not Path(found).exists():
        raise ChromiumError(
            f"a real browser is needed, expected one of {', '.join(PROGRAMS)} on PATH and found none; "
            "install it (Debian: apt-get install chromium) or name it in the CHROMIUM variable."
        )
    return found


@contextlib.contextmanager
def open_playwright() -> Iterator[BrowserType]:
    """Playwright's hold on Chromium, until the block ends.

    Raises:
        ChromiumError: Playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ChromiumError(
            "expected the package playwright, which drives the browser, and it is not installed; "
            "run `make test` once or `.venv/bin/python -m pip install playwright`."
        ) from error
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        give_up_priority()
    with sync_playwright() as playwright:
        yield playwright.chromium


def launch(
    playwright: BrowserType,
    voice: Path | None,
    *,
    refuse_microphone: bool = False,
    once: bool = False,
) -> Browser:
    """Start a headless browser.

    Args:
        playwright: of `open_playwright`, or `sync_playwright().chromium`.
        voice: WAV file that is the microphone; the browser's own beeps if None.
        refuse_microphone: every question for permission is answered with no.
        once: the file is played once and not round and round.
    """
    flags = [*_QUIET_FLAGS, *_CALL_FLAGS]
    flags.append("--deny-permission-prompts" if refuse_microphone else "--use-fake-ui-for-media-stream")
    if voice is not None:
        flags.append(f"--use-file-for-fake-audio-capture={voice}{'%noloop' if once else ''}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox refuses to run as root
    return playwright.launch(executable_path=find_chromium(), args=flags)


def give_up_priority() -> None:
    """Keep what this process starts from raising its own priority, as an ordinary user's browser cannot either.

    As root Chromium runs its compositor at nice -8, and on two cores the server beside it gets what is left.
    Linux alone; elsewhere nothing happens. Source: prctl(2), PR_CAPBSET_DROP.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)
