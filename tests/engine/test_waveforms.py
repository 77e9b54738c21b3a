"""The derivative of waveforms by the clouds: forwards against differences, backwards against forwards."""

from __future__ import annotations

import itertools

import eagerpy as ep
import numpy as np
import pytest

from larndsim.backend import get_backend
from larndsim.backend.operations import with_derivative
from larndsim.charge import Cloud, Folded
from larndsim.data.batch import Stack
from larndsim.engine.waveforms import _waveforms
from larndsim.response import Sampling

GROUPS, NODES = 3, 5  # of a layer
SHAPE = 3 * GROUPS, NODES  # two layers, of which the second is padding, and a stack of one
SAMPLING = Sampling(0.1, 240, 48)
WAVEFORMS = _waveforms(SAMPLING)
ALONE = [tuple(field == name for field in Cloud._fields) for name in Cloud._fields]
MOVING = [Cloud(*flags) for one in ALONE for flags in (one, tuple(not each for each in one))]


def stack_of(weights) -> Stack:
    """In each layer three groups and five tiles on two pixels; the first pixel has two rows, the other three."""
    layers = len(weights)
    own = Stack(
        wanted=np.arange(layers) == 0,
        weight=weights,
        group=np.array([0, 0, 1, 2, 2]),
        window=np.array([0, 1, 0, 0, 1]),
        row_pixel=np.array([0, 0, 1, 1, 1]),
        row_block=np.array([0, 1, 11, 12, 13]),
        row_ended=np.array([0] * 11 + [2] * 11 + [3]),
        ended=np.array([0.0] * 10 + [1.0] + [0.0] * 10 + [1.0] * 2),
    )
    return Stack(*own[:2], *(np.tile(column, (layers, 1)) for column in own[2:]))


def response_of(rng, points, basis, channels, modes) -> Folded:
    return Folded(
        points=rng.uniform(0.0, 0.2, (1, points)),
        basis=rng.uniform(0.0, 1.0, (points, basis)),
        mixing=rng.uniform(-1.0, 1.0, (basis**2, channels)),
        gather=rng.uniform(-1.0, 1.0, (16 * channels, modes)),
        show=rng.uniform(-1.0, 1.0, (modes, SAMPLING.span)),
        mean=np.zeros(SAMPLING.span),
        times=0.2 * np.arange(12),
    )


@pytest.fixture(scope="module")
def arrays():
    """Clouds; and what stays as it is: where the groups begin, their resolutions, the stacks with their responses."""
    rng = np.random.default_rng(5)
    clouds = Cloud(
        x=rng.uniform(-0.4, 0.4, SHAPE),
        y=rng.uniform(-0.4, 0.4, SHAPE),
        charge=rng.uniform(1e3, 2e3, SHAPE),
        variance_T=rng.uniform(0.001, 0.008, SHAPE),
        arrival=rng.uniform(1.5, 3.5, SHAPE),
        variance_t=rng.uniform(0.01, 0.06, SHAPE),
    )
    resolution = np.array([[0.002, 0.015, 0.005, 0.2], [0.003, 0.012, 0.004, 0.2]])
    for variance, least in ((clouds.variance_T, 0.002), (clouds.variance_t, 0.02)):
        assert 0 < (variance < least).sum() < variance.size  # some of the clouds are narrower
    weights = rng.uniform(0.2, 1.0, (3, GROUPS, NODES))
    weights[1] = 0.0
    stacks = stack_of(weights[:2]), stack_of(weights[2:])
    responses = response_of(rng, 6, 4, 2, 5), response_of(rng, 7, 3, 3, 4)
    tables = (column for pair in zip(stacks, responses, strict=True) for each in pair for column in each)
    begin = np.tile([1.0, 1.1, 0.9], 3)
    return clouds, (np.tile([3, 8, 32], 3), begin, np.repeat([0, 0, 1], GROUPS), resolution, *tables)


def differentiated(backend, arrays, moving):
    """Steps, how the value moves along them, slopes by the value, and by what moves."""
    native = get_backend(backend, dtype="float64")
    tensors = [ep.astensor(native.asarray(array)) for array in itertools.chain(*arrays)]
    value, kept = WAVEFORMS.value(*tensors)
    rng = np.random.default_rng(6)
    steps = [rng.normal(size=SHAPE) * array if moves else None for array, moves in zip(arrays[0], moving, strict=True)]
    slope = rng.normal(size=value.shape)
    given = [None if step is None else ep.astensor(native.asarray(step[None])) for step in steps]
    moved = WAVEFORMS.jvp(tuple(tensors), tuple(kept), *given)[0].numpy()
    pulled = WAVEFORMS.vjp(tuple(tensors), tuple(kept), ep.astensor(native.asarray(slope)), tuple(moving))
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

    curvature = float((slope(3e-7) - slope(-3e-7)) / 6e-7)
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
    curvature = (float(jax.grad(total)(3e-7)) - float(jax.grad(total)(-3e-7))) / 6e-7
    for twice in (jax.jacfwd(jax.grad(total)), jax.jacrev(jax.grad(total)), jax.jacfwd(jax.jacfwd(total))):
        assert float(twice(0.0)) == pytest.approx(curvature, rel=1e-6)
