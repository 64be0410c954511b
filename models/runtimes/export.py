"""Command ``fada export``: write a student's networks as ONNX graphs and check them against PyTorch.

In: a student checkpoint. Out: four .onnx files and their relative differences from PyTorch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from models.presets import shipped
from models.runtimes.onnx_networks import cache_folder, export_graphs
from models.weights import load_model

SUMMARY = "write the student's networks as ONNX graphs, checked against PyTorch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--preset", default="small")
    parser.add_argument("--weights", type=Path, help="student checkpoint (default: the shipped one)")
    parser.add_argument(
        "--out", type=Path, help="folder (default: the cache that `serve --backend onnx` reads)"
    )
    parser.add_argument("--json", type=Path, help="write the differences here")


def run(args: argparse.Namespace) -> int:
    """Export and report; returns the exit code."""
    model = load_model(args.weights or shipped(args.preset))
    folder = args.out or cache_folder(model)
    differences = export_graphs(model, folder)
    for name, value in differences.items():
        print(f"{name:8s} {value:.1e} relative difference from PyTorch  {folder / (name + '.onnx')}")
    if args.json:
        args.json.write_text(json.dumps({"folder": str(folder), "relative_l2": differences}, indent=2) + "\n")
    return 0
