"""Draw runs: parameters with targets, losses, the convergence of many runs, correlations.

The pictures of one run go to its folder, those of several to the folder --out.
"""

from __future__ import annotations

import argparse

EXAMPLE = "larndsim-optimize plot RUN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and where the pictures go."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")
    parser.add_argument("--out", metavar="FOLDER", help="folder for the pictures (default: that of the only run)")


def run(arguments: argparse.Namespace) -> None:
    """Draw and write."""
    from larndsim.errors import ArgumentError

    from ..plots import draw_all, save
    from ..records import Run, make_folder

    runs = [Run(path) for path in arguments.runs]
    if arguments.out is None and len(runs) > 1:
        raise ArgumentError("--out", "be given with several runs", "it is not", "Name a folder for the pictures.")
    folder = make_folder("--out", arguments.out or arguments.runs[0])
    for name, figure in draw_all(runs).items():
        save(figure, folder / f"{name}.png")
        print(f"{folder}/{name}.png")
