"""The command line's own server with `--preset base`: random weights, 64 px, a real peer; and what it refuses.

The networks have their full width (2.1 G parameters, 9 GB in fp32); only the picture is small. The server is a
process of its own, so that this memory is gone when the test ends.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

import fada
from models.runtimes.options import EngineOptions
from models.weights import open_model
from stream.engine.torch_engine import load_engine
from stream.errors import EngineError
from tests.stream.rig import Caller, Running, bursts, make_avatars

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
async def test_the_server_runs_the_base_preset_end_to_end(tmp_path: Path) -> None:
    options = "--preset base --weights random --size 64 --nfe 1 --device cpu --backend torch-fp32 --port 0"
    avatars = make_avatars(tmp_path / "avatars")
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "fada.py"), "serve", *options.split()),
        *("--max-sessions", "1", "--avatars", str(avatars)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"TRITON_INTERPRET": "0"},
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(900):
            announced = (await server.stdout.readline()).decode()
        found = re.search(r"http://\S+", announced)
        assert found is not None, announced
        async with httpx.AsyncClient(base_url=found.group(), timeout=60) as http:
            assert (await http.get("/readyz")).status_code == 200
            caller = Caller(bursts)
            await caller.call(cast(Running, SimpleNamespace(http=http)))
            await caller.until(lambda: drawn(caller) >= 2, within_s=300)
            assert caller.received.pictures[-1][2].shape == (64, 64, 3)
            hello = caller.received.of_type("hello")[0]
            assert (hello["fps"], hello["audio_scale"]) == (25, 1.4)
            assert len(caller.received.voice) > 20  # slow pictures never hold up the voice
            metrics = (await http.get("/metrics")).text
            assert "fada_sessions_closed_total" in metrics
            await caller.hang_up()
    finally:
        if server.returncode is None:
            server.terminate()
        ended = await asyncio.wait_for(server.wait(), 60)
    assert ended in (0, -signal.SIGTERM)  # uvicorn closes everything, then raises the signal anew


def drawn(caller: Caller) -> int:
    """Windows that the networks drew, by the server's own account."""
    return sum(1 for stats in caller.received.of_type("stats") if _engine_ms(stats) > 0)


def _engine_ms(stats: dict[str, Any]) -> float:
    return float(stats["stages"].get("engine", {}).get("p50") or 0.0)


def test_without_weights_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--weights random to try the path with noise"):
        load_engine(EngineOptions("base"))
    with pytest.raises(EngineError, match=r"Expected reference_unet .* found none; docs/base.md"):
        load_engine(EngineOptions("base", weights=tmp_path))


def test_random_weights_are_asked_for_by_name() -> None:
    engine = load_engine(EngineOptions("small", nfe=1, device="cpu", weights="random"))
    assert engine.spec.width == 512
    one, other = (open_model("small", "random").state_dict() for _ in range(2))
    assert all(bool((one[key] == other[key]).all()) for key in one)


def test_render_says_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = tmp_path / "voice.wav"
    write_silence(sound)
    face = ROOT / "avatars" / "mira.png"
    arguments = ["render", "--image", str(face), "--audio", str(sound), "--out", str(tmp_path / "a.mp4")]
    assert fada.main([*arguments, "--preset", "base"]) == 1
    assert "docs/base.md" in capsys.readouterr().err


def write_silence(path: Path) -> None:
    """A tenth of a second of nothing, 16 kHz."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\0" * 1600)
