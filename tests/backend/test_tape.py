"""Derivatives of chains of compiled functions, which JAX does not trace, are those of JAX."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np
import pytest

from larndsim.backend import get_backend, installed

jax = pytest.importorskip("jax") if "jax" in installed() else pytest.skip("jax is not installed", True)


class Pair(NamedTuple):
    wave: object
    positive: object


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


@pytest.fixture
def not_by_jax(monkeypatch):
    """JAX derives no function by itself."""

    def refused(*_, **__):
        raise AssertionError("traced")

    monkeypatch.setattr(jax, "value_and_grad", refused)
    monkeypatch.setattr(jax, "linearize", refused)


A, B = np.linspace(-1.0, 2.0, 7), np.linspace(0.5, 1.5, 7)


@pytest.mark.parametrize("keep", [True, False])
def test_the_same_gradient(chain, keep, request):
    backend, run = chain

    def loss(p, chained):
        one, other, positive = (backend.chained(run, keep) if chained else run)(p["a"], p["b"] * B)
        return (one * positive).sum() + 0.5 * (other**2).sum() / 3.0 - 1.0

    start = {"a": A, "b": 1.3}
    known, expected = jax.value_and_grad(lambda p: loss(p, False))(start)
    request.getfixturevalue("not_by_jax")
    value, slopes = backend.value_and_grad(lambda p: loss(p, True), start)
    assert float(value) == pytest.approx(float(known), rel=1e-14)
    for name in start:
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-13)


@pytest.mark.parametrize("keep", [True, False])
def test_the_same_jacobian(chain, keep, request):
    backend, run = chain

    def waves(p, chained):
        one, other, positive = (backend.chained(run, keep) if chained else run)(p["a"] * A, B - p["b"])
        return Pair(one + 2.0 * other, positive)

    start = {"a": 1.1, "b": 1.3, "c": 1.0}
    known, push = jax.linearize(lambda p: waves(p, False).wave, start)
    expected = {name: push({other: float(other == name) for other in start}) for name in start}
    backend.jacobian(lambda p: waves(p, True), start)  # what is compiled then is derived by JAX, once
    request.getfixturevalue("not_by_jax")
    value, columns = backend.jacobian(lambda p: waves(p, True), start)
    np.testing.assert_allclose(value.wave, known, rtol=1e-14)
    np.testing.assert_array_equal(value.positive, A > 0)
    for name in start:
        np.testing.assert_allclose(columns[name].wave, expected[name], rtol=1e-13, atol=1e-15)
        assert columns[name].positive.shape == A.shape


@pytest.mark.parametrize("keep", [True, False])
def test_what_does_not_move_has_no_slope(chain, keep):
    backend, run = chain
    value, slopes = backend.value_and_grad(
        lambda p: (backend.chained(run, keep)(p["a"], np.ones(3))[1] * 0.0).sum() + p["c"], {"a": np.ones(3), "c": 2.0}
    )
    assert float(value) == 2.0 and float(slopes["c"]) == 1.0 and not np.asarray(slopes["a"]).any()
    fixed = backend.chained(lambda a, b: run(backend.asarray(b), b), keep)
    value, slopes = backend.value_and_grad(lambda p: (fixed(p["a"], A)[0] * p["c"]).sum(), {"a": A, "c": 2.0})
    assert not np.asarray(slopes["a"]).any() and float(slopes["c"]) == pytest.approx(float(value) / 2.0)


@pytest.mark.parametrize(
    "between",
    [jax.numpy.sin, lambda x: x[::-1], lambda x: jax.numpy.stack([x, x])[1], lambda x: x.max() * x, jax.jit(abs)],
    ids=["sin", "index", "stack", "method", "jit"],
)
def test_what_stand_ins_do_not_know_is_left_to_jax(chain, between):
    backend, run = chain
    start = {"a": A, "b": 1.3}

    def loss(p):
        return (between(run(p["a"], p["b"] * B)[0]) ** 2).sum()

    value, slopes = backend.value_and_grad(loss, start)
    known, expected = jax.value_and_grad(loss)(start)
    assert float(value) == pytest.approx(float(known), rel=1e-14)
    for name in start:
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-13)
    waves, columns = backend.jacobian(lambda p: between(run(A * p["b"], B)[0]), {"b": 1.3})
    known, step = jax.jvp(lambda b: between(run(A * b, B)[0]), (1.3,), (1.0,))
    np.testing.assert_allclose(waves, known, rtol=1e-14)
    np.testing.assert_allclose(columns["b"], step, rtol=1e-13)


def test_no_array_is_made_of_a_stand_in(chain):
    """That would lose the gradient without a word: JAX refuses its own stand-ins, too."""
    backend, run = chain
    with pytest.raises(jax.errors.TracerArrayConversionError):
        backend.value_and_grad(lambda p: np.asarray(run(p["a"], B)[0]).sum(), {"a": A})


def test_derivatives_of_derivatives(chain):
    backend, run = chain

    def slope(p):
        return backend.value_and_grad(lambda q: (run(q["a"], B)[0] ** 2).sum() * p["b"], {"a": A * p["b"]})[1]["a"]

    _, slopes = backend.value_and_grad(lambda p: slope(p).sum(), {"b": 1.3})
    expected = jax.grad(lambda b: jax.grad(lambda a: (run(a, B)[0] ** 2).sum() * b)(A * b).sum())(1.3)
    np.testing.assert_allclose(slopes["b"], expected, rtol=1e-12)


def test_many_arrays_are_put_together(request):
    """Some that move and one that does not, without the rows at their ends; backwards and forwards."""
    backend, weight = get_backend("jax", dtype="float64"), np.arange(3.0 + 2.0 + len(A))
    rows = [np.arange(count) for count in (3, 2, len(A))]
    double, square = backend.compile(lambda x: x + x), backend.compile(lambda x: x * x)

    def run(a):
        return backend.rows([double(a), B, square(a)], rows)

    backend.jacobian(lambda p: run(p["b"] * A), {"b": 1.0})  # compiled with the help of JAX
    request.getfixturevalue("not_by_jax")
    known = np.concatenate([2 * A[:3], B[:2], A**2])
    value, slopes = backend.value_and_grad(lambda p: (run(p["a"]) * weight).sum(), {"a": A})
    assert float(value) == pytest.approx((known * weight).sum(), rel=1e-12)
    expected = 2 * A * weight[5:] + 2 * np.pad(weight[:3], (0, 4))
    np.testing.assert_allclose(slopes["a"], expected, rtol=1e-12)

    value, steps = backend.jacobian(lambda p: run(p["b"] * A), {"b": 1.0})
    np.testing.assert_allclose(value, known, rtol=1e-12)
    np.testing.assert_allclose(steps["b"], np.concatenate([2 * A[:3], [0, 0], 2 * A**2]), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(run)(A), known, rtol=1e-12)


def test_a_tape_holds_only_what_it_needs(not_by_jax):
    """An array between two calls goes, unless the way back through one of them wants it."""
    backend = get_backend("jax", dtype="float64")
    double, square = backend.compile(lambda x: x + x), backend.compile(lambda x: x * x)
    held = {}

    def loss(p):
        first = double(p["a"])
        second = double(first)
        third = square(second)
        held.update(first=weakref.ref(first.array), second=weakref.ref(second.array))
        del first, second
        jax.block_until_ready(third.array)
        assert (held["first"]() is None, held["second"]() is None) == (True, False)
        return third.sum()

    _, slopes = backend.value_and_grad(loss, {"a": A})
    np.testing.assert_allclose(slopes["a"], 32.0 * A, rtol=1e-12)
    assert held["second"]() is None


def test_what_is_compiled_is_forgotten_in_time(monkeypatch):
    """A process may have only so many pieces of memory: XLA ends it when there are no more."""
    from larndsim.backend.jax import eviction

    backend = get_backend("jax", dtype="float64")
    double = backend.compile(lambda x: x + x)
    monkeypatch.setattr(eviction, "FULL", 0.0)
    double(A)
    assert double.plain._cache_size() == 1
    monkeypatch.setattr(eviction, "_looked", eviction.compilations() - eviction.EVERY)
    given_back = []
    monkeypatch.setattr(eviction, "give_back", lambda: given_back.append(double.plain._cache_size()))
    np.testing.assert_array_equal(double(A[:3]), 2 * A[:3])
    assert double.plain._cache_size() == 1  # what there was before is gone
    assert given_back == [0]  # and its memory
