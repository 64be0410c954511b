"""The command line: `fada COMMAND ...`, one module per command.

In flow the arguments; out flows an exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted. Only the
module of the command asked for is imported, so `fada doctor` works where aiortc is missing and `fada --help`
is instant. A command module defines `SUMMARY`, `add_arguments(parser)` and `run(args) -> int`.

What a command raises becomes one sentence on stderr: a ValueError is the caller's mistake (2), anything else
a failure (1). Set FADA_DEBUG=1 to see the traceback instead.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from kernels import __version__


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the module behind it and the line `fada --help` shows."""

    module: str
    summary: str


class CommandModule(Protocol):
    """What every command module defines."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


COMMANDS: dict[str, Command] = {
    "serve": Command("stream.serve", "start the live server and its page"),
    "render": Command("stream.offline.render", "turn a face image and a WAV into an MP4, offline"),
    "prepare": Command("distill.prepare.command", "turn a folder of talking-head videos into a dataset"),
    "train": Command("distill.train", "train or distil a stage; resumes where it stopped"),
    "distill": Command(
        "distill.ladder.command", "make the ladder from teacher to one evaluation, as a table"
    ),
    "eval": Command("bench.faces.command", "measure weights on held-out data, or on any folder of pictures"),
    "bench": Command("bench.command", "measure this machine: kernels, engine, end to end"),
    "doctor": Command("bench.doctor", "say what this machine has and what would run on it"),
    "export": Command("models.runtimes.export", "export the shipped networks to ONNX and check them"),
    "avatar": Command(
        "stream.avatars.command", "add pictures of your own as faces, list, show and remove them"
    ),
    "avatars": Command("distill.avatars", "draw the bundled avatars"),
}


OWN_ROOMS = frozenset({"bench", "distill", "kernels", "models", "stream"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 done, 1 failed, 2 used wrongly, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        chosen = _top_parser().parse_args(arguments[:1])
        if chosen.command is None:
            _top_parser().print_help()
            return 2
        return _run_command(chosen.command, arguments[1:])
    except SystemExit as stop:  # argparse has printed its own sentence
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away: no fault of ours, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("FADA_DEBUG") == "1":
            raise
        print(f"fada {' '.join(arguments[:1])}: {_sentence(error)}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) and not isinstance(error, UnicodeError) else 1


def _top_parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<9} {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="fada",
        description="A live talking avatar.",
        epilog=f"commands:\n{listing}\n\n`fada COMMAND --help` says more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fada {__version__}")
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="see below")
    return parser


def _run_command(name: str, arguments: list[str]) -> int:
    command = COMMANDS[name]
    module = cast(CommandModule, importlib.import_module(command.module))
    parser = argparse.ArgumentParser(prog=f"fada {name}", description=module.SUMMARY)
    module.add_arguments(parser)
    return module.run(parser.parse_args(arguments))


def _sentence(error: Exception) -> str:
    """The one line a person gets: what was expected, what came, what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        if missing in OWN_ROOMS:
            return f"the module {error.name} is missing from this checkout; restore it with git."
        return f"the Python package {missing} is not installed here; run `make setup` and try again."
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"expected a file at {error.filename}, found none; check the path."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}."
    text = " ".join(str(error).split())
    own = type(error).__module__.partition(".")[0] in OWN_ROOMS
    if text and (own or isinstance(error, ValueError)):
        return text
    return f"{type(error).__name__}: {text or 'no message'} (set FADA_DEBUG=1 for the traceback)"


if __name__ == "__main__":
    sys.exit(main())
