"""Loss and gradient along one parameter, or the loss over a grid of two, with a picture; or a profile.

The target is made as for a fit. All other parameters are nominal; those that --shift-no-fit shifts are so in the target
alone. With --profile NAME, all --params are fitted, then all but NAME anew at each point: -2 log L above its minimum,
and the intervals, or over two parameters the contours, of 68 and 95 %.
"""

from __future__ import annotations

import argparse
from typing import Any

from .choices import add_choices, choices_of, taken_out

EXAMPLE = "larndsim-optimize scan --input muons.h5 --params Ab --points 21 --out SCAN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The points, where the scan is written, and the choices of a fit that make the target."""
    points = "points per axis (default: 21; 11 in a profile over two parameters)"
    where = "where to scan (default: the bounds; in a profile 2.5 errors to both sides, or 3 over two parameters)"
    along = "hold one or two of --params at the points, and fit the others anew"
    parser.add_argument("--out", metavar="SCAN", help="folder for scan.h5 and scan.png, or profile.h5 and profile.png")
    parser.add_argument("--profile", nargs="+", metavar="NAME", help=along)
    parser.add_argument("--points", type=int, metavar="N", help=points)
    parser.add_argument("--range", nargs="+", metavar="NAME=LOW:HIGH", help=where)
    add_choices(parser, leave_out=USELESS)


# choices of a fit that mean nothing here
USELESS = (
    "method", "iterations", "tolerance", "optimizer", "lr", "schedule", "clip", "batches_per_step", "errors",
    "save_freq", "set_init", "vary_init", "seed_init",
)  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Scan, write, draw."""
    from larndsim.errors import ArgumentError

    from ..records import check_folder
    from .log import log_to_stderr

    choices = choices_of(arguments)
    out = taken_out(arguments, choices)
    for name in USELESS if arguments.profile else (*USELESS, "toys"):
        if name in choices:
            raise ArgumentError(name, "be left out of a scan", "it is given", "It is for fits.")
    check_folder("--out", out)
    choices["ranges"] = _ranges(arguments.range or [])
    if arguments.points is not None:
        choices["points"] = arguments.points
    with log_to_stderr():
        found = _profile(out, arguments.profile, choices) if arguments.profile else _scan(out, choices)
    print(found)


def _scan(out: str, choices: dict[str, Any]) -> str:
    """Scan, write, draw; and what came out, in words."""
    from ..plots import save
    from ..records import make_folder
    from ..scan_plots import draw_scan
    from ..scans import scan, write_scan

    result = scan(**choices)
    folder = make_folder("--out", out)
    write_scan(folder / "scan.h5", result)
    save(draw_scan(result), folder / "scan.png")
    return f"see {folder}/scan.png; the lowest loss is {result.lowest}"


def _profile(out: str, along: list[str], choices: dict[str, Any]) -> str:
    """The same of a profile."""
    from ..plots import save
    from ..profile_plots import draw_profile
    from ..profiles import profile, write_profile
    from ..records import make_folder

    result = profile(along=along, **choices)
    folder = make_folder("--out", out)
    write_profile(folder / "profile.h5", result)
    save(draw_profile(result), folder / "profile.png")
    return f"{result.summary()}\nsee {folder}/profile.png"


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
