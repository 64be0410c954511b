"""`fada doctor --parity DIR`: hold the base networks against EchoMimic's own outputs, and print every error.

In: a folder of fixtures (docs/base.md), the salt and the cases to run. Out: a table, and JSON where asked for.
The process needs about 7 GB of memory; the cases A, B, C and D cost 4, 8, 15 and 24 frames of 128 px or more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.parity.networks import Check, Fixtures, exact_convolutions, network_checks, salts
from bench.parity.parts import extra_checks

PARTS = ("extras", "acc", "normal", "kernels")
"""What can be asked for besides the cases by name: everything around the UNets, the two sampling loops, and the
first case asked for once more with both UNets in the Triton kernels."""


def examine_parity(folder: Path, salt: str | None, asked: Sequence[str], figures: Path | None) -> int:
    """Run and report; 1 if an error is above its limit.

    Args:
        folder: with the fixtures.
        salt: of the fixtures; None takes the only one there.
        asked: cases and parts; empty takes all that the folder has.
        figures: JSON file to write.

    Raises:
        ValueError: no such folder, salt, case or part.
    """
    fixtures = Fixtures(folder, salt or _only_salt(folder))
    chosen = list(asked) or _available(fixtures)
    unknown = sorted(set(chosen) - set(fixtures.cases) - set(PARTS))
    if unknown:
        raise ValueError(
            f"Expected cases out of {', '.join([*fixtures.cases, *PARTS])}, got {', '.join(unknown)}."
        )
    started_s, rows, bad = time.perf_counter(), [], 0
    with exact_convolutions():
        for check in checks_of(fixtures, chosen):
            bad += not check.good
            sign = "ok" if check.good else "!!"
            print(f"{sign}  {check.name:<45} {check.error:.1e}  (limit {check.limit:.0e})", flush=True)
            rows.append({**asdict(check), "good": check.good})
    left_out = sorted({*fixtures.cases, *PARTS} - set(chosen))
    verdict = "all within their limits" if not bad else f"{bad} above their limits, marked !!"
    took_s = time.perf_counter() - started_s
    print(f"\n{len(rows)} comparisons of salt '{fixtures.salt}' in {took_s:.0f} s: {verdict}.", flush=True)
    if left_out:
        print(f"Not run: {', '.join(left_out)}.", flush=True)
    if figures is not None:
        content = {"salt": fixtures.salt, "checks": rows, "not_run": left_out, "seconds": round(took_s, 1)}
        figures.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(bad > 0)


def checks_of(fixtures: Fixtures, chosen: Sequence[str]) -> Iterator[Check]:
    """The comparisons of those cases and parts, one after the other."""
    if "extras" in chosen:
        yield from extra_checks(fixtures)
    cases = [name for name in chosen if name in fixtures.cases]
    loops = [name for name in chosen if name in ("acc", "normal")]
    kernels = cases[:1] if "kernels" in chosen else []
    if "kernels" in chosen and not (kernels and interpreted()):
        raise ValueError(
            "The kernels are compared on a case, in Triton's interpreter; name a case beside 'kernels' and set "
            "TRITON_INTERPRET=1."
        )
    if cases or loops:
        yield from network_checks(fixtures, cases, loops, kernels)


def interpreted() -> bool:
    """Whether Triton was told to interpret its kernels, so that they run without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _available(fixtures: Fixtures) -> list[str]:
    extras = ["extras"] if fixtures.has("extras") else []
    loops = ["acc", "normal"] if fixtures.has("pipeline") else []
    return [*extras, *fixtures.cases, *loops, *(["kernels"] if interpreted() else [])]


def _only_salt(folder: Path) -> str:
    found = salts(folder)
    if len(found) != 1:
        shown = ", ".join(found) or "none"
        raise ValueError(
            f"Expected one echomimic_parity_SALT.npz in {folder}, found {shown}; choose with --salt."
        )
    return found[0]
