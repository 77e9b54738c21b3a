"""A sample in which two tracks of an event lie over the same pixels: each track again, further along the drift."""

from __future__ import annotations

import argparse

import larndsim
from benchmarks.closure import sample
from larndsim.data.segments import Segments, concatenate

FURTHER = 3.0  # cm: their charges overlap in time where tracks are inclined
TRACKS = 1000  # more than an event has


def add_arguments(p: argparse.ArgumentParser) -> None:
    """How much, and where to."""
    p.add_argument("file", metavar="OUT.h5", help="file of segments")
    p.add_argument("--muons", type=float, default=100.0, metavar="CM", help="before doubling (default: %(default)s)")
    p.add_argument("--protons", type=float, default=25.0, metavar="CM", help="before doubling (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Write the file."""
    segments = doubled(sample(arguments.muons, arguments.protons))
    larndsim.write_segments(arguments.file, segments)
    print(f"{arguments.file}: {len(segments.dE)} segments")


def doubled(segments: Segments) -> Segments:
    """The segments, and the same again."""
    again = segments._replace(
        track=segments.track + TRACKS,
        segment=segments.segment + len(segments.segment),
        z_start=segments.z_start + FURTHER,
        z_end=segments.z_end + FURTHER,
    )
    return concatenate(segments, again)
