"""Write the electron lifetime of runs for the calibration chain: npz, with a row per run and its interval of 68 %.

Runs have to be fits of the lifetime that have converged.
"""

from __future__ import annotations

import argparse

EXAMPLE = "larndsim-optimize export RUN --unix-time 1718000000 --out lifetime.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, when their data were taken, and where the file goes."""
    when = "when the data of each run were taken, seconds since 1970"
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or of several at different times")
    parser.add_argument("--unix-time", nargs="+", type=float, required=True, metavar="S", help=when)
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="the file")


def run(arguments: argparse.Namespace) -> None:
    """Write the file, and say where it is."""
    from ..export import export_lifetime
    from ..records import Run

    export_lifetime(arguments.out, [Run(folder) for folder in arguments.runs], arguments.unix_time)
    print(f"see {arguments.out}")
