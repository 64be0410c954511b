"""`fada doctor`: what this machine has, what would run on it, and what is missing.

In flow nothing; out flow findings, each good, a remark or a fault with what to do about it. Looks, draws for some
seconds, changes nothing, needs no network, and works with half of the packages missing. With ``--calibrate`` it
first measures which runtime is fastest here and keeps the answer in the cache folder, where `fada serve` and
`fada render` find it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench.engine_looks import calibrate_engine, look_at_engine, look_at_kernels, look_at_speed
from bench.finding import Finding, Verdict, verdict_of
from kernels.machine import ROOT, describe_commit, describe_machine, describe_versions, load_average

SUMMARY = "Say what this machine has, which engine would run on it, and what is missing."

_SIGNS: dict[Verdict, str] = {"good": "ok", "remark": "--", "fault": "!!"}
_RUN_TIME = (
    "torch",
    "torchaudio",
    "numpy",
    "av",
    "aiortc",
    "fastapi",
    "uvicorn",
    "websockets",
    "safetensors",
)
_SPEECH = ("espeak-ng", "flite", "festival")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address the server would listen on")
    parser.add_argument("--port", type=int, default=8080, help="port the server would listen on")
    parser.add_argument("--preset", default="small", help="networks the server would load")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="measure which runtime is fastest here (about a minute on an idle machine) and remember it",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings here")
    parser.add_argument(
        "--parity", type=Path, metavar="DIR", help="compare the base networks with EchoMimic's outputs in DIR"
    )
    parser.add_argument("--salt", help="of the outputs, where DIR has several")
    parser.add_argument(
        "--cases", nargs="+", default=[], metavar="NAME", help="A B C D extras acc normal (default: all)"
    )


def run(args: argparse.Namespace) -> int:
    """Look, print, and write where asked; 1 if something is at fault."""
    if args.parity is not None:
        from bench.parity.report import examine_parity  # torch and gigabytes, for this question alone

        return examine_parity(args.parity, args.salt, args.cases, args.json)
    if args.calibrate:
        calibrate_engine(args.preset)
    findings = examine(args.host, args.port, args.preset)
    for finding in findings:
        print(f"{_SIGNS[finding.verdict]}  {finding.topic:<12} {finding.text}")
    faults = sum(finding.verdict == "fault" for finding in findings)
    print(f"\n{verdict_of(findings)}")
    if args.json is not None:
        content = {
            "findings": [asdict(finding) for finding in findings],
            "machine": describe_machine(),
            "versions": describe_versions(),
            "commit": describe_commit(),
            "load_average": load_average(),
        }
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 1 if faults else 0


def examine(host: str, port: int, preset: str) -> list[Finding]:
    """Everything looked at, in the order shown. A look that breaks becomes a fault itself."""
    looks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("python", look_at_python),
        ("machine", look_at_machine),
        ("packages", look_at_packages),
        ("cuda", look_at_cuda),
        ("kernels", look_at_kernels),
        ("engine", lambda: look_at_engine(preset)),
        ("speed", lambda: look_at_speed(preset)),
        ("codecs", look_at_codecs),
        ("weights", lambda: look_at_weights(preset)),
        ("port", lambda: look_at_port(host, port)),
        ("speech", look_at_speech),
    ]
    findings: list[Finding] = []
    for topic, look in looks:
        try:
            findings += look()
        except Exception as error:
            findings.append(
                Finding(topic, "fault", f"could not be looked at: {type(error).__name__}: {error}")
            )
    return findings


def look_at_python() -> list[Finding]:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return [Finding("python", "good", version)]
    return [
        Finding(
            "python", "fault", f"expected 3.11 or 3.12, got {version}; run `make setup` with another one."
        )
    ]


def look_at_machine() -> list[Finding]:
    """Processor and memory."""
    machine = describe_machine()
    features = ", ".join(machine["cpu_features"]) or "no known vector features"
    text = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; {features}"
    return [Finding("machine", "good" if (machine["cores"] or 0) >= 2 else "remark", text)]


def look_at_packages() -> list[Finding]:
    """What the server imports."""
    missing = [name for name in _RUN_TIME if importlib.util.find_spec(name) is None]
    if missing:
        return [Finding("packages", "fault", f"missing: {', '.join(missing)}; run `make setup`.")]
    for name in ("torch", "torchaudio", "av", "aiortc"):
        try:
            importlib.import_module(name)
        except Exception as error:
            return [Finding("packages", "fault", f"{name} does not import ({error}); run `make setup`.")]
    versions = describe_versions()
    shown = ("torch", "torchaudio", "av", "aiortc", "onnxruntime")
    findings = [
        Finding("packages", "good", ", ".join(f"{name} {versions[name] or 'missing'}" for name in shown))
    ]
    if importlib.util.find_spec("transformers") or importlib.util.find_spec("diffusers"):
        findings.append(
            Finding(
                "packages", "remark", "transformers or diffusers is installed here; Fada Live needs neither."
            )
        )
    return findings


def look_at_cuda() -> list[Finding]:
    """GPU and Triton; their absence is no fault."""
    import torch

    if not torch.cuda.is_available():
        return [Finding("cuda", "good", "no CUDA device; the small preset needs none")]
    triton = describe_versions()["triton"]
    text = f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}, Triton {triton or 'missing'}"
    if triton is None:
        return [Finding("cuda", "remark", f"{text}; without Triton attention takes PyTorch's own kernels")]
    return [Finding("cuda", "good", text)]


def look_at_codecs() -> list[Finding]:
    """Video and audio coders inside PyAV."""
    import av

    missing = [name for name in ("libx264", "libvpx", "libopus") if name not in av.codecs_available]
    if missing:
        return [
            Finding("codecs", "fault", f"this PyAV lacks {', '.join(missing)}; install PyAV from its wheels.")
        ]
    return [Finding("codecs", "good", "H.264, VP8 and Opus")]


def look_at_weights(preset: str) -> list[Finding]:
    """Shipped weights and faces."""
    weights = ROOT / "weights" / preset / "student.safetensors"
    index = ROOT / "avatars" / "index.json"
    findings = []
    if weights.is_file():
        size_mb = weights.stat().st_size / 1e6
        findings.append(Finding("weights", "good", f"{weights.relative_to(ROOT)}, {size_mb:.1f} MB"))
    else:
        text = (
            f"expected {weights.relative_to(ROOT)}, found none; restore it with git or choose another preset"
        )
        text += ", or name your own with --weights (docs/base.md)." if preset.startswith("base") else "."
        findings.append(Finding("weights", "fault", text))
    try:
        faces = len(json.loads(index.read_text(encoding="utf-8")))
        findings.append(Finding("avatars", "good", f"{faces} in {index.parent.relative_to(ROOT)}/"))
    except (OSError, ValueError):
        text = f"expected {index.relative_to(ROOT)}, found none that can be read; restore it with git."
        findings.append(Finding("avatars", "fault", text))
    return findings


def look_at_port(host: str, port: int) -> list[Finding]:
    """Whether the server could listen there."""
    from stream.listening import read_host

    host = read_host(host)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            text = f"{host}:{port} cannot be used ({error.strerror}); free it or choose another PORT."
            return [Finding("port", "fault", text)]
    return [Finding("port", "good", f"{host}:{port} is free")]


def look_at_speech() -> list[Finding]:
    """Speech engines, which only training and tests need."""
    missing = [name for name in _SPEECH if shutil.which(name) is None]
    if missing:
        text = f"{', '.join(missing)} not installed; only training and tests need them"
        return [Finding("speech", "remark", text)]
    return [Finding("speech", "good", ", ".join(_SPEECH))]
