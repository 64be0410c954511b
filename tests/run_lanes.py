"""Runs the tests in lanes: what waits for clocks beside what computes, then what is timed, alone.

As many lanes run at once as there are processors, two at least; whatever ends makes room for the next.

In: arguments for pytest. Out: every lane's output, line by line with the lane's name before it, then the failures
and closing lines of all lanes and one sum. The exit code is 0 only where every lane's is. The main thread waits;
a thread a lane reads what its pytest prints. Ctrl-C asks every pytest to end as it would by itself; a second one
ends them and what they started at once.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final

from tests.lanes import CLOCK, LANES, NETWORKS, REST, TESTS, TIMED, TRAINING

ROUNDS: Final = ((CLOCK, TRAINING, NETWORKS, REST), (TIMED,))
"""Lanes of a round run side by side, in this order; a timed test would measure its neighbour as well."""
QUICK: Final = "not gpu and not slow"
EVERYTHING: Final = "not gpu"
NOTHING_SELECTED: Final = 5  # pytest's exit code
INTERRUPTED: Final = 130
LEAST_NICE: Final = "19"
COUNTED: Final = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|warnings?)")
CLOSING: Final = re.compile(r"^=+ (?:.*\bin [\d.]+s\b.*) =+$")
COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")


@dataclass(slots=True)
class Lane:
    """One pytest and what it said.

    Attributes:
        closing: pytest's last line, without its rules.
        broken: its lines about tests that failed.
        counts: how many tests passed, failed and so on.
        processor_s: what the lane and all that it started have used.
    """

    name: str
    process: subprocess.Popen[str]
    closing: str = "ended without a closing line"
    broken: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    processor_s: float = 0.0
    code: int | None = None

    def read(self, screen: threading.Lock, ended: SimpleQueue[Lane]) -> None:
        """Passes on what pytest prints, and itself when that has ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with screen:
                print(f"{self.name:<9}| {line}", end="", flush=True)
            self.note(COLOUR.sub("", line).strip())
        _, status, used = os.wait4(self.process.pid, 0)
        self.processor_s = used.ru_utime + used.ru_stime
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
        ended.put(self)

    def note(self, line: str) -> None:
        """Keeps what the end of the run repeats."""
        if line.startswith(("FAILED ", "ERROR ")):
            self.broken.append(line)
        if CLOSING.match(line):
            self.closing = line.strip("= ")
            self.counts = Counter({kind.rstrip("s"): int(count) for count, kind in COUNTED.findall(line)})

    def end(self, how: signal.Signals) -> None:
        """Sends a signal: SIGINT to pytest alone, which ends its servers; SIGKILL to all that it started."""
        try:
            if how == signal.SIGKILL:
                os.killpg(self.process.pid, how)
            elif self.code is None:
                os.kill(self.process.pid, how)
        except ProcessLookupError:
            pass


def start(name: str, marks: str, arguments: Sequence[str]) -> Lane:
    """Starts the pytest of a lane; one that computes takes one core, and only what clocks leave of it."""
    command = [sys.executable, "-m", "pytest", "--lane", name, "-m", marks]
    command += ["-o", f"cache_dir=.pytest_cache/{name}", "--no-header", "--durations=10", "--durations-min=1"]
    command += [*(["--color=yes"] if sys.stdout.isatty() else []), *arguments]
    environment = dict(os.environ)
    if name not in (CLOCK, TIMED):
        command = ["nice", "-n", LEAST_NICE, *command]
        environment |= {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=TESTS.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,  # and no session: where Linux shares the processor by session, nice counts within one
    )
    return Lane(name, process)


def run_round(
    names: Sequence[str], marks: str, arguments: Sequence[str], at_once: int
) -> tuple[list[Lane], bool]:
    """Runs lanes side by side; returns those that began, and whether somebody stopped them."""
    screen = threading.Lock()
    ended: SimpleQueue[Lane] = SimpleQueue()
    lanes: list[Lane] = []
    waiting, how, stopped = list(names), signal.SIGINT, False
    while True:
        try:
            while waiting and sum(lane.code is None for lane in lanes) < at_once:
                lanes.append(start(waiting.pop(0), marks, arguments))
                threading.Thread(target=lanes[-1].read, args=(screen, ended), daemon=True).start()
            if all(lane.code is not None for lane in lanes):
                return lanes, stopped
            ended.get()
        except KeyboardInterrupt:
            stopped, waiting = True, []
            for lane in lanes:
                lane.end(how)
            how = signal.SIGKILL


def tell(lanes: Sequence[Lane], seconds: float) -> None:
    """Prints what failed, each lane's closing line, and the sum."""
    print()
    for lane in lanes:
        for line in lane.broken:
            print(f"{lane.name:<9}| {line}")
    for lane in lanes:
        print(f"{lane.name:<9}| {lane.closing}; {lane.processor_s:.0f} s of processor time")
    total: Counter[str] = Counter()
    for lane in lanes:
        total += lane.counts
    parts = [f"{total['passed']} passed", f"{total['failed']} failed"]
    parts += [f"{count} {kind}" for kind, count in total.items() if kind not in ("passed", "failed")]
    used = sum(lane.processor_s for lane in lanes)
    print(f"tests: {', '.join(parts)} in {seconds / 60:.1f} min ({used / 60:.1f} min of processor time)")


def exit_code(lanes: Sequence[Lane], stopped: bool) -> int:
    """0 where every lane passed; a lane that had nothing to do passes, unless none had."""
    if stopped:
        return INTERRUPTED
    codes = {lane.code for lane in lanes}
    if codes == {NOTHING_SELECTED}:
        print("No test fits these arguments. The slow ones run with `make test-all` (scripts/test --all).")
        return NOTHING_SELECTED
    return 0 if codes <= {0, NOTHING_SELECTED} else 1


def main(arguments: Sequence[str]) -> int:
    """Runs every lane. `--all` takes the slow tests as well; the rest goes to pytest as it is."""
    for how in (signal.SIGINT, signal.SIGTERM):  # heard even where a shell started this in the background
        signal.signal(how, signal.default_int_handler)
    assert {name for names in ROUNDS for name in names} == set(LANES)
    marks = EVERYTHING if "--all" in arguments else QUICK
    rest = [argument for argument in arguments if argument != "--all"]
    begin_s = time.monotonic()
    done: list[Lane] = []
    stopped = False
    for names in ROUNDS:
        if not stopped:
            lanes, stopped = run_round(names, marks, rest, max(2, os.cpu_count() or 1))
            done += lanes
    tell(done, time.monotonic() - begin_s)
    return exit_code(done, stopped)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
