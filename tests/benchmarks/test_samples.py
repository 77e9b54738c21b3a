"""What the benchmarks compare: pixel by pixel, in whatever order a backend has them."""

from __future__ import annotations

import pytest

import larndsim
from benchmarks.samples import Setup, error_against_float64
from larndsim.backend.base import CACHES, GPU


@pytest.mark.parametrize("room", [CACHES, GPU], ids=["caches", "gpu"])
def test_error_is_of_the_same_pixels(room):
    setup = Setup("numpy", dtype="float32")
    simulator = setup.simulator()
    simulator._room = room
    error = error_against_float64(setup, simulator, larndsim.generate("muons", length=80.0, seed=3))
    assert 1e-7 < error < 1e-3
