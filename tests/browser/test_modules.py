"""The page's modules one by one, run in the browser that will run them."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.served.servers import ServerProcess


def test_waits_grow_and_are_bounded(fake_server: ServerProcess, open_page: OpenPage) -> None:
    waits = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { waitBefore, MOST_TRIES } = await import("/rtc/backoff.js");
            const tries = [...Array(MOST_TRIES).keys()].map((k) => k + 1);
            return tries.map((attempt) => [waitBefore(attempt, () => 0), waitBefore(attempt, () => 1)]);
        }"""
    )
    longest = [pair[0] for pair in waits]
    assert longest[:5] == [0.5, 1, 2, 4, 8]
    assert max(longest) == 8
    assert 60 < sum(longest) < 120
    assert all(low == pytest.approx(0.8 * high) for high, low in waits)


def test_a_call_cannot_jump_between_states(fake_server: ServerProcess, open_page: OpenPage) -> None:
    message = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { CallMachine } = await import("/caller/state.js");
            const machine = new CallMachine();
            try { machine.move("live"); } catch (error) { return error.message; }
        }"""
    )
    assert message == "expected one of requesting, stopped after idle, got live"


@pytest.mark.parametrize(("amplitude", "rms_dbfs"), [(1.0, -3.01), (0.1, -23.01), (0.0, -180.0)])
def test_level_of_a_tone(
    fake_server: ServerProcess, open_page: OpenPage, amplitude: float, rms_dbfs: float
) -> None:
    level = open_page(fake_server.url).page.evaluate(
        """async (amplitude) => {
            const { measureLevel } = await import("/ui/level.js");
            const tone = Array.from({ length: 4800 }, (_, n) => amplitude * Math.sin(n * Math.PI / 24));
            return measureLevel(Float32Array.from(tone));
        }""",
        amplitude,
    )
    assert level["rms_dbfs"] == pytest.approx(rms_dbfs, abs=0.02)


def test_every_state_and_problem_has_words(fake_server: ServerProcess, open_page: OpenPage) -> None:
    captions = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { captionFor } = await import("/caller/captions.js");
            const { Problem } = await import("/rtc/problems.js");
            const codes = ["insecure_context", "unsupported", "no_microphone", "permission_refused",
              "microphone_busy", "microphone_lost", "server_full", "not_ready", "unknown_avatar",
              "unreachable", "lost", "no_video", "broke_off", "blocked_network", "refused",
              "gave_up", "autoplay_blocked", "no_session", "unknown_session", "session_ended",
              "viewers_full", "session_away", "too_old", "replaced", "own_fault", "microphone_replaced",
              "microphone_kept", "microphone_silent"];
            const plain = ["idle", "requesting", "connecting", "live", "stopped"]
              .map((state) => captionFor({ state, problem: null, attempt: 0, wait_s: 0 }, "Ada"));
            const troubled = codes.flatMap((code) => ["retrying", "stopped"]
              .map((state) => ({ state, problem: new Problem(code), attempt: 2, wait_s: 4 }))
              .map((change) => captionFor(change, "Ada")));
            return [...plain, ...troubled];
        }"""
    )
    for caption in captions:
        assert caption["headline"]
        assert caption["detail"].endswith("."), caption
        assert len(caption["headline"]) <= 36, "one line on a phone"


@pytest.mark.parametrize(
    ("arch", "corners"),
    [
        ("50% 50% 7% 7% / 44% 44% 8% 9%", [(100, 44), (100, 44), (14, 8), (14, 9)]),
        ("", None),
        ("50% / 20%", None),
    ],
)
def test_the_arch_of_the_mat(
    fake_server: ServerProcess, open_page: OpenPage, arch: str, corners: list[tuple[float, float]] | None
) -> None:
    found = open_page(fake_server.url).page.evaluate(
        """async (arch) => {
            const { cornersOf } = await import("/ui/mat.js");
            return cornersOf(arch, 200, 100);
        }""",
        arch,
    )
    assert (found and [pytest.approx((corner["x"], corner["y"])) for corner in found]) == corners


def test_pictures_wait_for_a_voice_that_the_network_holds_up(
    fake_server: ServerProcess, open_page: OpenPage
) -> None:
    told = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { Aligner } = await import("/rtc/aligner.js");
            const [voice, picture] = [{ jitterBufferTarget: null }, { jitterBufferTarget: null }];
            const aligner = new Aligner();
            aligner.ahead_ms = 70;
            aligner.take("audio", voice);
            aligner.take("video", picture);
            const late = [], targets = [];
            let [waited_s, played] = [0, 0];
            for (const wait_ms of [65, 65, ...Array(8).fill(160), ...Array(8).fill(65)]) {
              waited_s += 48 * wait_ms;
              played += 48000;
              late.push(aligner.follow({ voiceWaited_s: waited_s, voicePlayed: played }));
              targets.push(picture.jitterBufferTarget);
            }
            late.push(aligner.follow({ voiceWaited_s: waited_s, voicePlayed: played }));
            return { voice: voice.jitterBufferTarget, late, targets };
        }"""
    )
    assert told["voice"] == 60
    assert told["targets"][:2] == [None, None], "what the server makes up for is left alone"
    assert told["targets"][9] == pytest.approx(80, abs=5) and told["targets"][-1] <= 5
    assert told["late"][0] == pytest.approx(65 - 70)
    assert told["late"][-1] is None, "nothing was played"


def test_a_browser_without_targets_plays_as_it_comes(fake_server: ServerProcess, open_page: OpenPage) -> None:
    late = open_page(fake_server.url).page.evaluate(
        """async () => {
            const { Aligner } = await import("/rtc/aligner.js");
            const aligner = new Aligner();
            aligner.take("audio", {});
            aligner.take("video", {});
            return aligner.follow({ voiceWaited_s: 4800, voicePlayed: 48000 });
        }"""
    )
    assert late == pytest.approx(100)


@pytest.mark.parametrize(
    ("said", "link", "skew_ms"),
    [
        ({"skew_ms": 0}, {"voiceLate_ms": 20, "way_ms": 18, "skew_ms": None}, -2),
        ({"skew_ms": 40}, {"voiceLate_ms": 20, "way_ms": 18, "skew_ms": None}, 38),
        ({}, {"voiceLate_ms": 20, "way_ms": 9, "skew_ms": 70}, -11),
        ({"skew_ms": 7}, {"voiceLate_ms": None, "way_ms": 18, "skew_ms": 30}, 37),
        ({"skew_ms": 7}, {"voiceLate_ms": 20, "way_ms": None, "skew_ms": None}, 7),
        ({"skew_ms": None}, {"voiceLate_ms": None, "way_ms": None, "skew_ms": None}, None),
    ],
)
def test_skew_is_what_was_sent_and_what_this_browser_adds(
    fake_server: ServerProcess,
    open_page: OpenPage,
    said: dict[str, float | None],
    link: dict[str, float | None],
    skew_ms: float | None,
) -> None:
    told = open_page(fake_server.url).page.evaluate(
        """async ([said, link]) => (await import("/rtc/stats.js")).skewOf(link, said)""", [said, link]
    )
    assert told == skew_ms


OFFER = "a=candidate:1 1 udp 99 {host} 5000 typ {kind}"


@pytest.mark.parametrize(
    ("here", "there", "page", "servers", "words"),
    [
        ([], ["10.0.0.5"], "fada.example", [], "WebRTC is held back by a setting"),
        (["a.local"], [], "fada.example", [], "The server names no address"),
        (["a.local"], ["127.0.0.1"], "fada.example", [], "start it with HOST=0.0.0.0"),
        (["a.local"], ["10.0.0.5"], "fada.example", [], "(10.0.0.5): it needs --public-address"),
        (["a.local"], ["10.0.0.5"], "10.0.0.5", [], "which this browser hides"),
        (["10.0.0.9"], ["10.0.0.5"], "10.0.0.5", [], "A relay (--ice-server turn:…) helps."),
        (["10.0.0.9"], ["203.0.113.7"], "fada.example", ["stun:x"], "A relay (--ice-server turn:…) helps."),
        (["10.0.0.9"], ["203.0.113.7"], "fada.example", ["turn:x"], "The relay (TURN) gives no address"),
        (["10.0.0.9", "relay"], ["203.0.113.7"], "fada.example", ["turn:x"], "Not even the relay"),
        (["127.0.0.1"], ["127.0.0.1"], "localhost", [], "A firewall blocks UDP"),
    ],
)
def test_why_there_is_no_way_through_the_network(
    fake_server: ServerProcess,
    open_page: OpenPage,
    here: list[str],
    there: list[str],
    page: str,
    servers: list[str],
    words: str,
) -> None:
    def described(hosts: list[str]) -> str:
        lines = [
            OFFER.format(
                host="198.51.100.1" if host == "relay" else host, kind="relay" if host == "relay" else "host"
            )
            for host in hosts
        ]
        return "\r\n".join(["v=0", *lines, ""])

    sentence = open_page(fake_server.url).page.evaluate(
        """async (tried) => (await import("/rtc/ice.js")).explainNoWay(tried)""",
        {
            "offer": described(here),
            "answer": described(there),
            "page": page,
            "servers": [{"urls": url} for url in servers],
        },
    )
    assert words in sentence and sentence.endswith(".")
