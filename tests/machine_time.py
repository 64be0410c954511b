"""Whether a measuring test had the machine to itself, and another measurement where it had not.

In: a test that holds a rate or a delay to a bound. Out: its verdict. What an undisturbed machine showed is judged;
what a disturbed one spoilt is measured again, `TRIES` times in all, and what fails then fails. Nothing that is
asked changes. Three signs tell of a disturbance, none of which the tested program can give by being slow:

- the host says that it withheld processors (steal in `/proc/stat`);
- a waiter, a process that only sleeps and wakes on every processor, woke late. On two processors kept busy by four
  programs it woke 6 ms late at most, so `LATE_AT_MOST_S` means that nothing ran there at all;
- programs that this process did not start worked beside it.
"""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

Found = TypeVar("Found")
Test = TypeVar("Test", bound=Callable[..., Any])
Nap = Callable[[float], None]

PROC: Final = Path("/proc")
WITHHELD_AT_MOST: Final = 0.01
"""Of the processors' time, by the host."""
LATE_AT_MOST_S: Final = 0.04
"""A frame's time."""
OTHERS_AT_MOST: Final = 0.1
"""Of the processors' time, by programs that this process did not start."""
TRIES: Final = 4
CALM_S: Final = 3.0
WAIT_AT_MOST_S: Final = 30.0
PROCESSORS_WATCHED: Final = 8
KERNEL: Final = 2  # the parent of its own threads
WAITER: Final = f"""
import os, sys, threading, time

def wait(processors, latest):
    if processors:
        os.sched_setaffinity(0, processors)
    before_s = time.monotonic()
    while not over.wait(0.01):
        now_s = time.monotonic()
        latest[0] = max(latest[0], now_s - before_s - 0.01)
        before_s = now_s

over = threading.Event()
places = [None]
if hasattr(os, "sched_getaffinity"):
    places = [[processor] for processor in sorted(os.sched_getaffinity(0))[:{PROCESSORS_WATCHED}]]
found = [[0.0] for _ in places]
threads = [threading.Thread(target=wait, args=each) for each in zip(places, found)]
for thread in threads:
    thread.start()
print("waiting", flush=True)
sys.stdin.read()
over.set()
for thread in threads:
    thread.join()
print(max(latest for (latest,) in found))
"""


@dataclass(frozen=True, slots=True)
class Ticks:
    """Processor time so far, in ticks; zeros where the system does not tell.

    Attributes:
        total: of all processors, since the machine's start.
        withheld: what the host took of it.
        others: what was used by programs that are neither the kernel nor descend from this process.
    """

    total: int = 0
    withheld: int = 0
    others: int = 0

    @staticmethod
    def now(proc: Path = PROC, own: int | None = None) -> Ticks:
        """Read the system's counts: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user."""
        try:
            first = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0]
            counts = [int(count) for count in first.split()[1:9]]
        except (OSError, ValueError):
            return Ticks()
        if len(counts) != 8:
            return Ticks()
        return Ticks(sum(counts), counts[7], _work_of_others(proc, os.getpid() if own is None else own))


def _work_of_others(proc: Path, own: int) -> int:
    """Ticks used by all processes but the kernel's and `own` with its descendants; by children that ended too."""
    used: dict[int, int] = {}
    parents: dict[int, int] = {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        process = int(stat.parent.name)
        parents[process] = int(fields[1])
        used[process] = sum(int(ticks) for ticks in fields[11:15])

    def is_others(process: int) -> bool:
        while process in parents:
            if process in (own, KERNEL):
                return False
            process = parents[process]
        return True

    return sum(ticks for process, ticks in used.items() if is_others(process))


class Watch:
    """Looks on while something is measured. A context; `signs` tells afterwards what disturbed it.

    Attributes:
        signs: a few words for each sign; empty where the machine was this process's own.
    """

    def __init__(self, ticks: Callable[[], Ticks] = Ticks.now) -> None:
        self.signs: list[str] = []
        self.waiter: subprocess.Popen[str] | None = None
        self._ticks = ticks
        self._before = Ticks()

    def __enter__(self) -> Watch:
        self.signs = []
        self.waiter = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", WAITER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.waiter.stdout is not None
        assert self.waiter.stdout.readline() == "waiting\n"
        self._before = self._ticks()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        after, before = self._ticks(), self._before
        assert self.waiter is not None
        told, _ = self.waiter.communicate()
        total = max(after.total - before.total, 1)
        withheld, others = (after.withheld - before.withheld) / total, (after.others - before.others) / total
        if withheld > WITHHELD_AT_MOST:
            self.signs.append(f"the host withheld {withheld:.1%} of the processors' time")
        if float(told) > LATE_AT_MOST_S:
            self.signs.append(f"a processor stood still for {1000 * float(told):.0f} ms")
        if others > OTHERS_AT_MOST:
            self.signs.append(f"other programs used {others:.0%} of the processors' time")


def wait_for_calm(watch: Callable[[], Watch] = Watch, nap: Nap = time.sleep) -> None:
    """Until nothing disturbed the machine for `CALM_S`, at most `WAIT_AT_MOST_S`. Holds its thread."""
    for _ in range(int(WAIT_AT_MOST_S / CALM_S)):
        with watch() as looking:
            nap(CALM_S)
        if not looking.signs:
            return


class Attempt:
    """One measurement and its verdict, a context: keeps back what failed in it where there will be another one.

    Attributes:
        done: this one counts.
        strict: it does not count where it was disturbed, though nothing failed.
    """

    def __init__(self, watch: Watch, last: bool) -> None:
        self.done = False
        self.strict = False
        self._watch = watch
        self._last = last

    def __enter__(self) -> Attempt:
        self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        self._watch.__exit__(kind, error, where)
        wanting = isinstance(error, Exception) or (error is None and self.strict)
        self.done = not wanting or not self._watch.signs or self._last
        if wanting:
            print(f"{'judged' if self.done else 'measured again'}: {self._watch.signs}, {error!r:.500}")
        return not self.done


def attempts(watch: Callable[[], Watch] = Watch, nap: Nap = time.sleep) -> Iterator[Attempt]:
    """``for attempt in attempts(): with attempt: measure and assert``; ends with the first that passes.

    What fails in an undisturbed attempt, or in the last of `TRIES`, is raised.
    """
    for number in range(TRIES):
        attempt = Attempt(watch(), number == TRIES - 1)
        yield attempt
        if attempt.done:
            return
        wait_for_calm(watch, nap)


def measured_undisturbed(
    take: Callable[[], Found], watch: Callable[[], Watch] = Watch, nap: Nap = time.sleep
) -> Found:
    """``take()``, for several tests to judge: the first that was not disturbed, or the last of `TRIES`."""
    found: list[Found] = []
    for attempt in attempts(watch, nap):
        attempt.strict = True
        with attempt:
            found.append(take())
    return found[-1]


def measured_anew(test: Test) -> Test:
    """The test as one measurement: all of it runs again where the machine was disturbed and it failed."""
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def run_async(*args: Any, **more: Any) -> None:
            for attempt in attempts():
                with attempt:
                    await test(*args, **more)

        return run_async  # type: ignore[return-value]

    @functools.wraps(test)
    def run(*args: Any, **more: Any) -> None:
        for attempt in attempts():
            with attempt:
                test(*args, **more)

    return run  # type: ignore[return-value]
