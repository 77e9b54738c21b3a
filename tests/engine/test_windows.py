"""Waveforms on fixed windows: against a loop over pixels and ticks, and the derivative both ways."""

from __future__ import annotations

import eagerpy as ep
import numpy as np
import pytest

from larndsim.engine.windows import on_windows

TICKS = 7
BLOCK = 4
FIRST, OWN = np.array([0, 2, 3]), np.array([8, 4, 4])  # blocks of three pixels
ALL, WANTED = np.array([0.0, 99.0, 5.0, -3.0]), np.array([0, 2, 3])  # ticks at which waveforms start
STARTS = ALL[WANTED].astype(int)


def laid_out(charge: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Nothing before a waveform starts, its last value after it ends."""
    found = np.zeros((len(FIRST), TICKS))
    for pixel, (block, own) in enumerate(zip(FIRST, OWN, strict=True)):
        waveform = charge[block : block + own // BLOCK].ravel()
        for tick in range(TICKS):
            column = begins[pixel] + tick - STARTS[pixel]
            if column >= 0:
                found[pixel, tick] = waveform[min(column, own - 1)]
    return found


@pytest.mark.parametrize("shift", (-100, -TICKS, -6, -1, 0, 1, 3, 8, 100))
def test_windows_and_their_derivatives(shift: int) -> None:
    rng, begins = np.random.default_rng(0), STARTS + shift
    charge, steps, slope = rng.random((4, BLOCK)), rng.random((2, 4, BLOCK)), rng.random((len(FIRST), TICKS))
    derived = on_windows(TICKS)
    tensors = tuple(map(ep.astensor, (charge, ALL, WANTED, begins.astype(np.int32), FIRST, OWN)))
    np.testing.assert_array_equal(derived.value(*tensors)[0].numpy(), laid_out(charge, begins))
    moved = derived.jvp(tensors, (), ep.astensor(steps)).numpy()
    np.testing.assert_array_equal(moved, [laid_out(step, begins) for step in steps])
    (back,) = derived.vjp(tensors, (), ep.astensor(slope), (True,))
    np.testing.assert_allclose((back.numpy() * steps).sum(axis=(1, 2)), (slope * moved).sum(axis=(1, 2)), rtol=1e-13)
