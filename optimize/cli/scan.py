"""Loss and gradient along one parameter, or the loss over a grid of two, with a picture.

The target is made as for a fit. All other parameters are nominal; those that --shift-no-fit shifts are so in the target
alone.
"""

from __future__ import annotations

import argparse

from .choices import add_choices, choices_of, taken_out

EXAMPLE = "larndsim-optimize scan --input muons.h5 --params Ab --points 21 --out SCAN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The points, where the scan is written, and the choices of a fit that make the target."""
    parser.add_argument("--out", metavar="SCAN", help="folder for scan.h5 and scan.png")
    parser.add_argument("--points", type=int, default=21, metavar="N", help="points per axis (default: %(default)s)")
    parser.add_argument("--range", nargs="+", metavar="NAME=LOW:HIGH", help="where to scan (default: the bounds)")
    add_choices(parser, leave_out=USELESS)


# choices of a fit that mean nothing here
USELESS = (
    "method", "iterations", "tolerance", "optimizer", "lr", "schedule", "clip", "batches_per_step", "errors",
    "save_freq", "set_init", "vary_init", "seed_init",
)  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Scan, write, draw."""
    from larndsim.errors import ArgumentError

    from ..plots import save
    from ..records import check_folder, make_folder
    from ..scan_plots import draw_scan
    from ..scans import scan, write_scan
    from .log import log_to_stderr

    choices = choices_of(arguments)
    out = taken_out(arguments, choices)
    for name in USELESS:
        if name in choices:
            raise ArgumentError(name, "be left out of a scan", "it is given", "It is for fits.")
    check_folder("--out", out)
    with log_to_stderr():
        result = scan(points=arguments.points, ranges=_ranges(arguments.range or []), **choices)
    folder = make_folder("--out", out)
    write_scan(folder / "scan.h5", result)
    save(draw_scan(result), folder / "scan.png")
    print(f"see {folder}/scan.png; the lowest loss is {result.lowest}")


def _ranges(words: list[str]) -> dict[str, tuple[float, float]]:
    from larndsim.errors import ArgumentError

    ranges = {}
    for word in words:
        name, _, text = word.partition("=")
        low, _, high = text.partition(":")
        try:
            ranges[name] = float(low), float(high)
        except ValueError as error:
            raise ArgumentError("--range", "be given as NAME=LOW:HIGH", f"it is {word!r}", "Ab=0.79:0.85.") from error
    return ranges
