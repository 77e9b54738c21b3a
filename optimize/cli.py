"""The command line of the fits."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from larndsim.cli.program import run_program

COMMANDS: tuple[ModuleType, ...] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return the exit code."""
    description = "Fit the parameters of a detector. This version has no sub-command yet."
    return run_program("larndsim-optimize", description, COMMANDS, argv)
