"""What the benchmarks compare: pixel by pixel, in whatever order a backend has them."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from benchmarks.__main__ import main
from benchmarks.samples import Setup, error_against_float64
from benchmarks.scaling import once_compiled
from larndsim.backend.base import CACHES, GPU


@pytest.mark.parametrize("room", [CACHES, GPU], ids=["caches", "gpu"])
def test_error_is_of_the_same_pixels(room):
    setup = Setup("numpy", dtype="float32")
    simulator = setup.simulator()
    simulator._room = room
    error = error_against_float64(setup, simulator, larndsim.generate("muons", length=80.0, seed=3))
    assert 1e-7 < error < 1e-3


def test_what_compiles_is_not_timed(backend):
    simulator = Setup(backend).simulator()
    double, calls = simulator.backend.compile(lambda x: x + x), []
    once_compiled(simulator, lambda: calls.append(double(simulator.backend.asarray(np.ones(3)))), lambda _: None)
    assert len(calls) == (2 if backend == "jax" else 1)


@pytest.mark.parametrize(("flag", "value"), [("--most", "10"), ("--batch", "0")])
def test_samples_that_cannot_be(flag, value, tmp_path, capsys):
    assert main(["scaling", "--backends", "numpy", "--most", "100", flag, value, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"Argument `{flag[2:]}` must be")
    assert not list(tmp_path.iterdir())
