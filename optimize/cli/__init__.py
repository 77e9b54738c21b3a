"""The command line of the fits. It only parses, calls the library and writes.

A sub-command is a module of this folder, as in `larndsim.cli`.
"""

from __future__ import annotations

from collections.abc import Sequence

from larndsim.cli.program import run_program

from . import export, fit, forecast, plot, report, scan

COMMANDS = (fit, forecast, scan, plot, report, export)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return the exit code."""
    description = "Fit the parameters of a detector: simulate, compare, follow the gradient."
    return run_program("larndsim-optimize", description, COMMANDS, argv)
