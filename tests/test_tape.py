"""Gradients by the tape of compiled functions are those of JAX."""

from __future__ import annotations

import numpy as np
import pytest

from larndsim.backend import get_backend, installed

jax = pytest.importorskip("jax") if "jax" in installed() else pytest.skip("jax is not installed", True)


@pytest.fixture(scope="module")
def chain():
    """A chain that uses arrays more than once, passes one on as it is, and gives whole numbers, too."""
    backend = get_backend("jax", dtype="float64")
    first = backend.compile(lambda a, b: (a * b, (a, a > 0)), moves=(0,))
    second = backend.compile(lambda x, y: (x * y).tanh())
    last = backend.compile(lambda some: some[0] * some[1] + some[0] ** 2)

    def run(a, b):
        product, (same, positive) = first(a, b)
        wave = second(product, same)
        return last((wave, same)), second(wave, wave), positive

    return backend, run


@pytest.mark.parametrize("keep", [True, False])
def test_the_same_gradient(chain, keep):
    backend, run = chain
    a, b = np.linspace(-1.0, 2.0, 7), np.linspace(0.5, 1.5, 7)

    def loss(p, chained):
        one, other, positive = (backend.chained(run, keep) if chained else run)(p["a"], p["b"] * b)
        return (one * positive).sum() + (other**2).sum()

    start = {"a": a, "b": 1.3}
    value, slopes = backend.value_and_grad(lambda p: loss(p, True), start)
    known, expected = jax.value_and_grad(lambda p: loss(p, False))(start)
    assert float(value) == pytest.approx(float(known), rel=1e-14)
    for name in start:
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-13)


def test_what_does_not_move_has_no_slope(chain):
    backend, run = chain
    value, slopes = backend.value_and_grad(
        lambda p: (backend.chained(run, True)(p["a"], np.ones(3))[1] * 0.0).sum() + p["c"], {"a": np.ones(3), "c": 2.0}
    )
    assert float(value) == 2.0 and float(slopes["c"]) == 1.0 and not np.asarray(slopes["a"]).any()
