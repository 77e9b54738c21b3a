"""Write a sample of segments that looks like a file of edep-sim.

The drift is along x in the file, as in edep-sim's own.
"""

from __future__ import annotations

import argparse

EXAMPLE = "larndsim generate muons muons.h5 --n 100 --seed 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to generate, how much of it, for which detector."""
    parser.add_argument("kind", help="the kind of sample, such as muons")
    parser.add_argument("output", metavar="OUT.h5", help="the file to write")
    parser.add_argument(
        "--n", type=int, metavar="N", help="number of events (default: 10); with --length, at most so many"
    )
    parser.add_argument("--length", type=float, metavar="CM", help="end the sample after so many cm of track in all")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same seed, same sample (default: %(default)s)"
    )
    parser.add_argument("--detector", default="module0", help="name or YAML file (default: %(default)s)")
    parser.add_argument("--layout", nargs="+", metavar="YAML", help="file of the pixel layout, or one per module")


def run(arguments: argparse.Namespace) -> None:
    """Generate, write, and say what was written."""
    import larndsim

    detector = larndsim.load_detector(arguments.detector, layout=arguments.layout)
    amount = {"n": arguments.n, "length": arguments.length}
    if amount == {"n": None, "length": None}:
        amount["n"] = 10
    segments = larndsim.generate(arguments.kind, seed=arguments.seed, detector=detector, **amount)
    larndsim.write_segments(arguments.output, segments, swap_xz=True)
    events = len(set(segments.event.tolist()))
    print(f"{arguments.output}: {events} events, {len(segments.dE)} segments, {segments.dE.sum():.1f} MeV")
