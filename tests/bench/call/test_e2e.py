"""What surrounds the measured call: the server's figures and the client's words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest

from bench.call.e2e import summarise_stats
from bench.call.peer import CallLog, PeerError, cut_mouth, post_offer
from bench.call.recording import MOUTH_VIEW
from bench.call.server_process import free_port, read_stages

METRICS = """\
# HELP fada_stage_seconds Time by stage.
# TYPE fada_stage_seconds histogram
fada_stage_seconds_bucket{le="0.1",stage="encode"} 4.0
fada_stage_seconds_sum{stage="encode"} 0.2
fada_stage_seconds_count{stage="encode"} 4.0
fada_stage_seconds_sum{stage="idle"} 0.0
fada_stage_seconds_count{stage="idle"} 0.0
fada_latency_seconds_sum 3.0
fada_latency_seconds_count 10.0
other_seconds_sum 1.0
other_seconds_count 1.0
"""


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives one answer to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_stages_are_means_of_the_servers_histograms() -> None:
    with answering(200, METRICS.encode()) as url:
        assert read_stages(url) == {"encode": 50.0, "latency": 300.0}


def test_no_metrics_is_no_fault() -> None:
    assert read_stages(f"http://127.0.0.1:{free_port()}") == {}


def test_the_servers_messages_are_summarised_by_number() -> None:
    stats = [
        {"type": "stats", "at_s": 1.0, "fps": 24.0, "speaking": True},
        {"type": "stats", "at_s": 2.0, "fps": 26.0, "dropped": 1},
    ]
    figures = summarise_stats(stats)
    assert set(figures) == {"fps", "dropped"}
    assert figures["fps"]["p50"] == 25.0


def test_only_stats_messages_are_kept() -> None:
    log = CallLog()
    for message in ('{"type": "stats", "fps": 25}', '{"type": "pong"}', "no json", "[1]", b"\x00"):
        log.note_message(message)
    (kept,) = log.stats
    assert kept == {"type": "stats", "fps": 25, "at_s": pytest.approx(time.monotonic(), abs=1.0)}


def test_a_refusal_is_told_in_the_servers_words() -> None:
    body = json.dumps({"error": "server_full", "message": "All seats are taken."}).encode()
    with answering(503, body) as url, pytest.raises(PeerError, match=r"503.*All seats are taken"):
        post_offer(url, {"sdp": "", "type": "offer"})


def test_no_server_gets_a_sentence() -> None:
    with pytest.raises(PeerError, match="expected a server at"):
        post_offer(f"http://127.0.0.1:{free_port()}", {})


@pytest.mark.parametrize("side", [128, 256, 512])
def test_the_mouth_is_cut_alike_from_pictures_of_any_size(side: int) -> None:
    rows, columns = np.mgrid[:side, :side] * 256 // side
    picture = ((rows + columns) // 2).astype(np.uint8)
    left, top, width, height = MOUTH_VIEW
    cut = cut_mouth(picture)
    assert cut.shape == (height, width)
    expected = (top + np.arange(height)[:, None] + left + np.arange(width)[None]) / 2
    assert np.abs(cut - expected).max() <= 2
