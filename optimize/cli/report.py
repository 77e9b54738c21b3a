"""Write one self-contained HTML page about a run: its result, its pictures, its settings."""

from __future__ import annotations

import argparse

EXAMPLE = "larndsim-optimize report RUN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and where the page goes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run; several are shown together")
    parser.add_argument("--out", metavar="PAGE.html", help="the page (default: report.html in the first folder)")


def run(arguments: argparse.Namespace) -> None:
    """Write the page, and say where it is."""
    from pathlib import Path

    from ..records import Run
    from ..report import write_report

    path = Path(arguments.out or Path(arguments.runs[0]) / "report.html")
    write_report(path, [Run(folder) for folder in arguments.runs])
    print(f"see {path}")
