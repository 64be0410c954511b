"""The system's Firefox, driven by WebDriver BiDi, with a sound card of the tests and no way to the network.

Playwright drives only a Firefox that it has patched itself; this one is what people have.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import connect

from bench.call.browser.chromium import give_up_priority
from tests.browser.drivers.bidi import Bidi, BidiError
from tests.browser.drivers.visit import Visit, hang_up

PROGRAMS: Final = ("firefox-esr", "firefox")
START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 20.0
SIZE: Final = {"width": 1280, "height": 800}
NOWHERE: Final = "http://127.0.0.1:9/"
"""Where everything that Firefox would fetch for itself is sent: nobody listens there."""
PREFERENCES: Final[dict[str, bool | int | str]] = {
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.gmp-manager.url": NOWHERE,
    "media.gmp-manager.updateEnabled": False,
    "dom.events.testing.asyncClipboard": True,
    "dom.min_background_timeout_value": 4,
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "extensions.update.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "services.settings.server": NOWHERE,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


def find_firefox() -> str:
    """Path of a Firefox; FIREFOX names another one.

    Raises:
        FileNotFoundError: none is installed.
    """
    named = os.environ.get("FIREFOX")
    found = named or next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if found is None or not Path(found).exists():
        raise FileNotFoundError(
            f"a real Firefox is needed, expected one of {', '.join(PROGRAMS)} on PATH and found none; "
            "install it (Debian: apt-get install firefox-esr) or name it in the FIREFOX variable."
        )
    return found


class FirefoxVisit:
    """A `Visit` in a window of its own."""

    def __init__(self, bidi: Bidi, context: str) -> None:
        self.complaints: list[str] = []
        self._bidi = bidi
        self._context = context

    def go_to(self, url: str) -> None:
        self._bidi.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, function: str, argument: object = None) -> Any:
        answer = self._bidi.ask(
            "script.callFunction",
            functionDeclaration=f"async () => JSON.stringify(await ({function})({json.dumps(argument)}) ?? null)",
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise BidiError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def press(self, selector: str) -> None:
        found = self._bidi.ask(
            "browsingContext.locateNodes",
            context=self._context,
            locator={"type": "css", "value": selector},
            maxNodeCount=1,
        )["nodes"]
        if not found:
            raise BidiError(f"expected an element {selector}, found none")
        self.evaluate(
            "selector => document.querySelector(selector).scrollIntoView({block: 'center'})", selector
        )
        where = {"type": "element", "element": {"sharedId": found[0]["sharedId"]}}
        pointer = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": where},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        actions = [{"type": "pointer", "id": "mouse", "actions": pointer}]
        self._bidi.ask("input.performActions", context=self._context, actions=actions)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """Takes an event of the session; only complaints of this window count."""
        here = params.get("source", {}).get("context") == self._context
        if here and method == "log.entryAdded" and params["level"] in ("error", "warn"):
            self.complaints.append(str(params["text"]))


class Firefox:
    """A running Firefox.

    Args:
        bidi: its session.
    """

    name = "firefox"

    def __init__(self, bidi: Bidi) -> None:
        self._bidi = bidi

    @contextlib.contextmanager
    def open(self, *, before: str = "") -> Iterator[Visit]:
        """See `VisitedBrowser.open`."""
        user = self._bidi.ask("browser.createUserContext")["userContext"]
        context = self._bidi.ask("browsingContext.create", type="window", userContext=user)["context"]
        self._bidi.ask("browsingContext.setViewport", context=context, viewport=SIZE)
        visit = FirefoxVisit(self._bidi, context)
        self._bidi.listen(visit.hear)
        if before:
            self._bidi.ask(
                "script.addPreloadScript", functionDeclaration=f"() => {{ {before} }}", contexts=[context]
            )
        try:
            yield visit
            hang_up(visit)
        finally:
            self._bidi.ask("browser.removeUserContext", userContext=user)


@contextlib.contextmanager
def running_firefox(environment: dict[str, str]) -> Iterator[Firefox]:
    """A headless Firefox with a profile of its own, until the block ends.

    Args:
        environment: of its process; names the sound card.
    """
    with contextlib.ExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()
        ]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        log = profile / "log"
        child = _start(profile, log, environment)
        stack.callback(_end, child)
        address = _address(child, log)
        bidi = Bidi(stack.enter_context(connect(address, proxy=None, max_size=None)))
        bidi.ask("session.new", capabilities={})
        bidi.ask("session.subscribe", events=["log.entryAdded"])
        yield Firefox(bidi)
        bidi.ask("session.end")


def _start(profile: Path, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        give_up_priority()
    flags = ["--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    with log.open("wb") as file:
        return subprocess.Popen(
            [find_firefox(), *flags],
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment | {"MOZ_CRASHREPORTER_DISABLE": "1", "HOME": str(profile)},
        )


def _address(child: subprocess.Popen[bytes], log: Path) -> str:
    """Where the browser listens for a session, as it says itself."""
    limit = time.monotonic() + START_WITHIN_S
    while time.monotonic() < limit and child.poll() is None:
        said = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", said):
            return f"{found[1]}/session"
        time.sleep(0.1)
    raise RuntimeError(f"expected Firefox to listen within {START_WITHIN_S} s, it said: {log.read_text()}")


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
