"""Stage "speech": the corpus' speech ahead of time, for a machine that has no speech engines.

In: a data folder and how many training clips. Out: the caches that training, `fada eval` and `fada distill` read,
in a folder that can be carried elsewhere (a clip of 6 s takes 0.2 MB).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tqdm import tqdm

from distill.data.speech_set import SpeechSet
from distill.evaluation.long_run import spoken_for
from distill.evaluation.suites import EVAL_SECONDS, SUITES

VALIDATION_CLIPS: Final = 48
LONG_RUN_S: Final = 60.0


def spoken_count(clips: int, speech: int | None, quality: str) -> int:
    """Speech clips behind ``clips`` talking clips: ``speech`` of high quality, a quarter as many of moderate.

    Never more than one each; None means one each.
    """
    if speech is None:
        return clips
    return min(clips, speech if quality == "high" else max(1, speech // 4))


def make_all_speech(data: Path, count: int) -> int:
    """Speak what is not in ``data`` yet; returns the exit code."""
    sets = list(_sets(data, count))
    with tqdm(total=sum(map(len, sets)), desc="speech", mininterval=5, file=sys.stderr) as bar:
        for spoken in sets:
            for index in range(len(spoken)):
                spoken[index]
                bar.update()
    return 0


def _sets(data: Path, count: int) -> Iterator[SpeechSet]:
    yield SpeechSet(data, "train", count)
    yield SpeechSet(data, "train", spoken_count(count, count, "moderate"), quality="moderate")
    yield SpeechSet(data, "val", VALIDATION_CLIPS)
    for split in ("val", "test"):
        clips = max(suite.clips for suite in SUITES.values())
        for length in sorted({EVAL_SECONDS, *(suite.seconds for suite in SUITES.values())}):
            yield SpeechSet(data, split, clips, length)
        yield spoken_for(data, split, people=1, seconds=LONG_RUN_S)
