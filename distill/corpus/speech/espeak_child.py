"""One espeak-ng utterance in a fresh process: JSON request on standard input, JSON line and PCM out.

Run as a script by `distill.corpus.speech.engines`, never imported. The C library keeps synthesis state between
calls (the same words sound slightly different the second time), so each utterance gets a new process: that
makes it a pure function of its request. Only the standard library is used, which keeps the start cheap.

In: `{"text", "voice", "rate_wpm", "pitch", "pitch_range"}`. Out: `{"sample_rate_hz", "events", "error"}`
on one line, events being `[IPA name, start in samples]`, then 16-bit little-endian mono PCM.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_PHONEME_EVENT = 7
_SYNCHRONOUS = 2
_OPTIONS = 0x0001 | 0x0002 | 0x8000  # phoneme events, IPA names, do not exit on error
_UTF8 = 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4


class _Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


def synthesise(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the header (rate, events, error) and the PCM bytes of one request."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _OPTIONS)
    if rate_hz <= 0:
        return {"error": "espeak-ng did not initialise: its data (Debian espeak-ng-data) is missing"}, b""
    chunks: list[bytes] = []
    events: list[tuple[str, int]] = []

    def receive(wave: Any, count: int, event: Any) -> int:
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while event[index].type != 0:
            if event[index].type == _PHONEME_EVENT:
                address = ctypes.addressof(event[index]) + _Event.string.offset
                name = ctypes.string_at(address, 8).split(b"\0")[0].decode("utf-8", "ignore")
                events.append((name, event[index].sample))
            index += 1
        return 0

    callback_type = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
    )
    callback = callback_type(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        return {"error": f"espeak-ng has no voice {request['voice']!r}"}, b""
    library.espeak_SetParameter(_RATE, int(request["rate_wpm"]), 0)
    library.espeak_SetParameter(_PITCH, int(request["pitch"]), 0)
    library.espeak_SetParameter(_PITCH_RANGE, int(request["pitch_range"]), 0)
    text = request["text"].encode("utf-8") + b"\0"
    library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return {"sample_rate_hz": rate_hz, "events": events, "error": ""}, b"".join(chunks)


if __name__ == "__main__":
    header, pcm = synthesise(json.load(sys.stdin))
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pcm)
