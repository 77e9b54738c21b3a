"""The command line. It only parses, calls the library and writes.

A sub-command is a module of this folder, listed in `COMMANDS`. Its name is the sub-command's, its docstring the help;
it holds an `EXAMPLE`, `add_arguments(parser)` and `run(arguments)`, which imports what takes long to import.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import display, generate, info, simulate
from .program import run_program

COMMANDS = (generate, simulate, info, display)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return the exit code."""
    description = "Simulate liquid-argon detectors with pixel readout, with exact gradients."
    return run_program("larndsim", description, COMMANDS, argv)
