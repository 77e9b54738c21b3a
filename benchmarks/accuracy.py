"""`accuracy`: the charge of corner cases against the converged brute-force integral of the tests."""

from __future__ import annotations

import argparse

import numpy as np

import larndsim
from larndsim.backend import DTYPES, installed
from tests import cases
from tests.reference import charge as reference
from tests.reference.pixelization import touched_pixels

BRIGHT = 500.0  # electrons: pixels above it count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backends", nargs="+", choices=installed(), default=installed())
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float64", "float32"])
    parser.add_argument("--pixels", type=int, default=6, help="pixels above 500 electrons that are compared, per case")


def run(options: argparse.Namespace) -> None:
    """Print the largest error of each case."""
    segments, events = cases.together(cases.CASES)
    known: dict[tuple, tuple[float, np.ndarray]] = {}
    for backend in options.backends:
        for dtype in options.dtypes:
            simulator = larndsim.Simulator(cases.DETECTOR, backend=backend, dtype=dtype)
            waveforms = simulator.charge(simulator.prepare(segments))
            charge = simulator.backend.numpy(waveforms.charge).astype(float)
            print(f"\n{backend} {dtype}: largest error of the total and of the waveform, relative to the total")
            for name, event in events.items():
                total, waveform = _errors(segments, event, waveforms, charge, options.pixels, known)
                print(f"  {name:32s} {total:8.1e} {waveform:8.1e}")


def _errors(
    segments: larndsim.Segments, event: int, waveforms: larndsim.Waveforms, charge: np.ndarray, most: int, known: dict
) -> tuple[float, float]:
    """Largest relative error of total and waveform over some pixels of an event."""
    parameters, geometry = cases.DETECTOR.parameters, cases.GEOMETRY
    found = sorted(touched_pixels(segments, geometry, parameters, event, BRIGHT))
    totals, shapes = [0.0], [0.0]
    for pixel in found[:: max(len(found) // most, 1)]:
        same = (waveforms.event == event) & (np.stack(waveforms[1:4], axis=1) == pixel).all(axis=1)
        row = int(np.flatnonzero(same)[0])
        if (event, pixel) not in known:
            times = waveforms.start[row] + waveforms.tick * np.arange(charge.shape[1])
            arguments = (segments, geometry, parameters, *pixel)
            waveform = reference.waveform(*arguments, times, event=event)
            known[event, pixel] = reference.total(*arguments, event=event), waveform
        total, waveform = known[event, pixel]
        totals.append(abs(charge[row, -1] / total - 1))
        shapes.append(np.abs(charge[row] - waveform).max() / total)
    return max(totals), max(shapes)
