"""Fit parameters of a detector to data, or to a simulated target.

A fit is recorded in a folder, and --resume goes on where it was interrupted. Exit codes: 0 converged, 3 not converged
(the result says why), 130 interrupted (a checkpoint is written).
"""

from __future__ import annotations

import argparse
import math

from .choices import add_choices, choices_of, taken_out

EXAMPLE = "larndsim-optimize fit --input muons.h5 --params Ab lifetime --seed 1 --out RUN"
NOT_CONVERGED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the run is recorded, and all choices."""
    parser.add_argument("--out", metavar="RUN", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    add_choices(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fit, and print a table of the result."""
    from ..fitting import fit
    from ..tables import probability
    from .log import log_to_stderr

    choices = choices_of(arguments)
    out = taken_out(arguments, choices)
    with log_to_stderr():
        result = fit(out=out, resume=arguments.resume, **choices)
    print(result.table())
    if result.p_value is not None and math.isfinite(result.p_value):
        print(f"p-value of the data among simulated ones: {probability(result.p_value)}")
    for remark in result.remarks:
        print(f"mind: {remark}")
    print(f"{result.status} after {result.iterations} steps and {result.wall_s:.1f} s: {result.message}")
    print(f"see {out}/result.json")
    return 0 if result.converged else NOT_CONVERGED
