"""`accuracy`: the charge of corner cases, or of pixels of a file, against the converged integral of the tests."""

from __future__ import annotations

import argparse

import numpy as np

import larndsim
from larndsim.backend import DTYPES, installed
from larndsim.data.waveforms import Waveforms
from tests import cases
from tests.reference import charge as reference

BRIGHT = 500.0  # electrons: pixels above it count
PARAMETERS, GEOMETRY = cases.DETECTOR.parameters, cases.GEOMETRY

Known = dict[tuple[int, ...], tuple[float, np.ndarray]]  # total and waveform of (event, plane, ix, iy)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backends", nargs="+", choices=installed(), default=installed())
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float64", "float32"])
    parser.add_argument("--sample", metavar="H5", help="a file of segments, instead of the corner cases")
    parser.add_argument("--generate", metavar="KIND", help="a generated sample: muons, protons or cosmics, 80 cm of it")
    parser.add_argument("--accuracy", type=float, default=1e-3, help="that is asked for (default: %(default)s)")
    parser.add_argument("--pixels", type=int, help="that are compared: of each case (default: 6), or of the file (200)")


def run(options: argparse.Namespace) -> None:
    """Print the largest error of each case, or of the file."""
    segments, events = _sample(options)
    known: Known = {}
    for backend in options.backends:
        for dtype in options.dtypes:
            simulator = larndsim.Simulator(cases.DETECTOR, backend=backend, dtype=dtype, accuracy=options.accuracy)
            waveforms = simulator.charge(simulator.prepare(segments))
            charge = simulator.backend.numpy(waveforms.charge).astype(float)
            print(f"\n{backend} {dtype}: largest error of the total and of the waveform, relative to the total")
            for name, event in events.items():
                rows = _some(waveforms, charge, event, options.pixels or (6 if event is not None else 200))
                errors = np.array([_errors(segments, waveforms, charge, row, known) for row in rows]).reshape(-1, 2)
                total, waveform = errors.max(axis=0, initial=0.0)
                print(f"  {name:32s} {total:8.1e} {waveform:8.1e}   {len(rows)} pixels", flush=True)


def _sample(options: argparse.Namespace) -> tuple[larndsim.Segments, dict[str, int | None]]:
    """Segments, and the event of each name; None for all of them."""
    if options.sample is not None:
        return larndsim.read_segments(options.sample), {options.sample.rpartition("/")[2]: None}
    if options.generate is not None:
        return larndsim.generate(options.generate, length=80.0, seed=1), {options.generate: None}
    segments, events = cases.together(cases.CASES)
    return segments, dict(events)


def _some(waveforms: Waveforms, charge: np.ndarray, event: int | None, most: int) -> np.ndarray:
    """Rows of bright pixels: the same ones on every backend. Of an event evenly spread, of a file at random."""
    bright = charge[:, -1] > BRIGHT if event is None else (charge[:, -1] > BRIGHT) & (waveforms.event == event)
    rows = np.flatnonzero(bright)
    rows = rows[np.lexsort([column[rows] for column in (*waveforms[3::-1], waveforms.burst)])]
    if event is None:
        return np.random.default_rng(7).choice(rows, min(most, len(rows)), replace=False)
    return rows[:: max(len(rows) // most, 1)]


def _errors(
    segments: larndsim.Segments, waveforms: Waveforms, charge: np.ndarray, row: int, known: Known
) -> tuple[float, float]:
    """Relative errors of total and waveform of a pixel."""
    event, *pixel = key = tuple(int(column[row]) for column in waveforms[:4])
    if key not in known:
        times = waveforms.start[row] + waveforms.tick * np.arange(charge.shape[1])
        arguments = (segments, GEOMETRY, PARAMETERS, *pixel)
        known[key] = reference.total(*arguments, event=event), reference.waveform(*arguments, times, event=event)
    total, waveform = known[key]
    return abs(charge[row, -1] / total - 1), float(np.abs(charge[row] - waveform).max() / total)
