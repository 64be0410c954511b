"""This machine: what a figure was measured on, where this checkout lies, where things made here are kept.

In: nothing but this machine. Out: plain values for JSON (no host name) and two folders. Imports nothing heavy.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
"""This checkout. What is shipped (weights, faces, pages) lies under it, whatever the working folder."""

_VERSIONS_OF = ("torch", "torchaudio", "triton", "onnxruntime", "numpy", "av", "aiortc")
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def cache_root() -> Path:
    """Where things made here are kept: $FADA_CACHE, else ~/.cache/fada-live, else, without a home, below /tmp."""
    if named := os.environ.get("FADA_CACHE"):
        return Path(named)
    try:
        return Path.home() / ".cache" / "fada-live"
    except RuntimeError:  # neither $HOME nor an account for this user's number, as in many containers
        return _homeless_cache()


@lru_cache(maxsize=1)
def _homeless_cache() -> Path:
    """A folder of this user's alone below the temporary one; a new one where somebody else owns that name."""
    folder = Path(tempfile.gettempdir()) / f"fada-live-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    # libraries are loaded from here, so nobody else may have put anything in
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
        return Path(tempfile.mkdtemp(prefix="fada-live-"))
    return folder


def describe_machine() -> dict[str, Any]:
    """CPU, its relevant features, memory and GPUs; no host name."""
    name, features = _cpu()
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_features": features,
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def describe_versions() -> dict[str, str | None]:
    """Versions of Python and of what the figures depend on; None where a package is missing."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _VERSIONS_OF:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def describe_commit() -> str | None:
    """The checkout's short commit, with "+changes" where files differ from it; None outside git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def load_average() -> list[float] | None:
    """The 1, 5 and 15 minute load, where the system tells it."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _git(*arguments: str) -> str:
    run = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
    )
    return run.stdout.strip()


def _cpu() -> tuple[str, list[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), []
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name") or platform.machine(), [name for name in _CPU_FEATURES if name in flags]


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _gpus() -> list[str]:
    try:
        run = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()]
