"""A sound card for browsers on machines that have none: a PulseAudio of its own, with ears and a microphone.

Firefox starts no AudioContext where there is no sound card, and its own fake microphone hums; so it gets a private
server with a sink that nobody hears and a microphone that plays a file round and round. Nothing of the user's own
sound is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final

START_WITHIN_S: Final = 20.0
MICROPHONE: Final = "Voice of the tests"
MODULES: Final = (
    "load-module module-native-protocol-unix auth-anonymous=1 socket={socket}",
    "load-module module-null-sink sink_name=ears rate=48000",
    "load-module module-null-sink sink_name=throat rate=48000 channels=1",
    "load-module module-remap-source source_name=voice master=throat.monitor"
    " source_properties='device.description=\"{microphone}\"'",
    "set-default-sink ears",
    "set-default-source voice",
)


class SoundCard:
    """A running sound server.

    Args:
        environment: with which a program finds it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def plug_in(self, name: str) -> list[str]:
        """Adds another, silent microphone; the answer takes it away again in `unplug`."""
        throat = self._control("load-module", "module-null-sink", f"sink_name={name}_throat")
        described = f"source_properties=device.description={name}"
        source = self._control(
            "load-module",
            "module-remap-source",
            f"source_name={name}",
            f"master={name}_throat.monitor",
            described,
        )
        return [source.strip(), throat.strip()]

    def unplug(self, modules: list[str]) -> None:
        for module in modules:
            self._control("unload-module", module)

    def _control(self, *command: str) -> str:
        done = subprocess.run(
            ["pactl", *command], env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout


@contextlib.contextmanager
def running_sound_card(voice: Path) -> Iterator[SoundCard]:
    """A sound server whose default microphone plays a mono 16-bit WAV file, until the block ends."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        socket = home / "socket"
        script = home / "setup.pa"
        script.write_text("\n".join(MODULES).format(socket=socket, microphone=MICROPHONE) + "\n")
        environment = os.environ | {
            "HOME": str(home),
            "PULSE_RUNTIME_PATH": str(home),
            "PULSE_STATE_PATH": str(home),
            "PULSE_SERVER": f"unix:{socket}",
        }
        if shutil.which("pulseaudio") is None:
            raise FileNotFoundError(
                "the tests need PulseAudio, to give Firefox a microphone, expected `pulseaudio` on PATH and found "
                "none; install it (Debian: apt-get install pulseaudio)."
            )
        flags = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "--use-pid-file=no"]
        log = home / "log"
        with log.open("wb") as file:
            server = subprocess.Popen(
                ["pulseaudio", *flags, "-F", str(script)], env=environment, stdout=file, stderr=file
            )
        stack.callback(_end, server)
        limit = time.monotonic() + START_WITHIN_S
        while not socket.exists():
            if server.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"expected a sound server, it said: {log.read_text()}")
            time.sleep(0.05)
        stack.enter_context(_speaking(voice, environment))
        yield SoundCard(environment)


@contextlib.contextmanager
def _speaking(voice: Path, environment: dict[str, str]) -> Iterator[None]:
    """The file, played into the microphone round and round."""
    with wave.open(str(voice), "rb") as file:
        rate_hz, sound = file.getframerate(), file.readframes(file.getnframes())
    form = ["--format=s16le", f"--rate={rate_hz}", "--channels=1"]
    player = subprocess.Popen(
        ["pacat", "--raw", "--playback", "--device=throat", "--latency-msec=100", *form],
        env=environment,
        stdin=subprocess.PIPE,
    )
    assert player.stdin is not None

    def feed() -> None:
        with contextlib.suppress(OSError, ValueError):
            while player.stdin is not None:
                player.stdin.write(sound)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        yield
    finally:
        _end(player)
        feeder.join()
        with contextlib.suppress(OSError):
            player.stdin.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
