"""The derivative of waveforms by the clouds: forwards against differences, backwards against forwards."""

from __future__ import annotations

import itertools

import eagerpy as ep
import numpy as np
import pytest

from larndsim.backend import get_backend
from larndsim.backend.operations import with_derivative
from larndsim.induction import WAVEFORMS, Cloud, Tables
from larndsim.response import SPAN

SHAPE = 3, 5
BLOCKS = 3
MOVING = [Cloud(*flags) for flags in itertools.product((True, False), repeat=6) if any(flags)]


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(5)
    clouds = Cloud(
        x=rng.uniform(-0.4, 0.4, SHAPE),
        y=rng.uniform(-0.4, 0.4, SHAPE),
        charge=rng.uniform(1e3, 2e3, SHAPE),
        variance_T=rng.uniform(0.001, 0.008, SHAPE),
        arrival=rng.uniform(1.5, 3.5, SHAPE),
        variance_t=rng.uniform(0.01, 0.06, SHAPE),
    )
    tables = Tables(
        start=np.array([10.0, 11.0, 12.0]),
        weight=rng.uniform(0.2, 1.0, SHAPE),
        times=0.1 * np.arange(BLOCKS * 16),
        points=rng.uniform(0.0, 0.2, (6, 1)),
        basis=rng.uniform(0.0, 1.0, (4, 6)),
        mixing=rng.uniform(-1.0, 1.0, (2, 16)),
        gather=rng.uniform(-1.0, 1.0, (2 * 16, 5)),
        show=rng.uniform(-1.0, 1.0, (5, SPAN)),
        kernel_variance=np.array(0.005),
        smallest=np.array([np.sqrt(0.002), 0.015]),  # some of the clouds are narrower
    )
    assert 0 < (clouds.variance_T < 0.002).sum() < clouds.charge.size
    assert 0 < (clouds.variance_t < 0.02).sum() < clouds.charge.size
    return clouds, tables


def differentiated(backend, arrays, moving):
    """Steps, how the value moves along them, slopes by the value, and by what moves."""
    native = get_backend(backend, dtype="float64")
    tensors = [ep.astensor(native.asarray(array)) for array in itertools.chain(*arrays)]
    value, kept = WAVEFORMS.value(*tensors)
    rng = np.random.default_rng(6)
    steps = [rng.normal(size=SHAPE) * array if moves else None for array, moves in zip(arrays[0], moving, strict=True)]
    slope = rng.normal(size=value.shape)
    given = [None if step is None else ep.astensor(native.asarray(step[None])) for step in steps]
    moved = WAVEFORMS.push(tuple(tensors), tuple(kept), *given)[0].numpy()
    pulled = WAVEFORMS.pull(tuple(tensors), tuple(kept), ep.astensor(native.asarray(slope)), tuple(moving))
    return steps, moved, slope, [None if one is None else one.numpy() for one in pulled]


def value_at(arrays, steps, size):
    """The value a little along the steps, in NumPy."""
    moved = [array if step is None else array + size * step for array, step in zip(arrays[0], steps, strict=True)]
    return with_derivative(WAVEFORMS, *map(ep.astensor, (*moved, *arrays[1]))).numpy()


@pytest.mark.parametrize("name", Cloud._fields)
def test_forwards_against_differences(name, arrays, differentiable_backend):
    moving = Cloud(*(field == name for field in Cloud._fields))
    steps, moved, _, _ = differentiated(differentiable_backend, arrays, moving)
    expected = (value_at(arrays, steps, 1e-6) - value_at(arrays, steps, -1e-6)) / 2e-6
    np.testing.assert_allclose(moved, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("moving", MOVING, ids=lambda flags: "".join("01"[flag] for flag in flags))
def test_backwards_is_the_transposed_of_forwards(moving, arrays, differentiable_backend):
    steps, moved, slope, pulled = differentiated(differentiable_backend, arrays, moving)
    assert [one is not None for one in pulled] == [*moving]
    there = sum((one * step).sum() for one, step in zip(pulled, steps, strict=False) if step is not None)
    assert there == pytest.approx((moved * slope).sum(), rel=1e-11)


def stretched(clouds, tables, stretch):
    """A smooth scalar of one number that moves all clouds."""
    moved = [cloud * (1.0 + stretch * (row + 1.0)) for row, cloud in enumerate(clouds)]
    return (with_derivative(WAVEFORMS, *map(ep.astensor, (*moved, *tables))).raw ** 2).sum() * 1e-6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at its first forward derivative
def test_second_derivatives_on_torch(arrays):
    torch = pytest.importorskip("torch")
    backend = get_backend("torch", dtype="float64")
    clouds, tables = (tuple(map(backend.asarray, part)) for part in arrays)

    def slope(place):
        return torch.func.grad(lambda stretch: stretched(clouds, tables, stretch))(backend.asarray(place))

    curvature = float((slope(1e-5) - slope(-1e-5)) / 2e-5)
    place = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(stretched(clouds, tables, place), place, create_graph=True)
    assert float(torch.autograd.grad(first, place)[0]) == pytest.approx(curvature, rel=1e-6)
    twice = torch.func.jacfwd(torch.func.grad(lambda stretch: stretched(clouds, tables, stretch)))
    assert float(twice(backend.asarray(0.0))) == pytest.approx(curvature, rel=1e-6)


def test_second_derivatives_and_many_places_on_jax(arrays):
    jax = pytest.importorskip("jax")
    backend = get_backend("jax", dtype="float64")
    clouds, tables = (tuple(map(backend.asarray, part)) for part in arrays)

    def total(stretch):
        return stretched(clouds, tables, stretch)

    places = np.array([0.0, 0.02, -0.01])
    slopes = [float(jax.grad(total)(place)) for place in places]
    np.testing.assert_allclose(jax.vmap(jax.grad(total))(places), slopes, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(total))(places), slopes, rtol=1e-10)
    curvature = (float(jax.grad(total)(1e-5)) - float(jax.grad(total)(-1e-5))) / 2e-5
    for twice in (jax.jacfwd(jax.grad(total)), jax.jacrev(jax.grad(total)), jax.jacfwd(jax.jacfwd(total))):
        assert float(twice(0.0)) == pytest.approx(curvature, rel=1e-6)
