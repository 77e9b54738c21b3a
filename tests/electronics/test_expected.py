"""The expected model against its slow twin, against many draws of the clocked one, and its derivatives."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from larndsim.backend import get_backend, map_leaves
from larndsim.detector import Electronics
from larndsim.electronics import digitize, firing
from larndsim.electronics import noise as noises
from larndsim.electronics.noise import Widths
from tests.electronics.test_electronics import ELECTRONICS, NEWER, channels, ends, events, pulses
from tests.reference import expected as twin

TICKS = 140
LOW = Electronics(threshold=2500.0, discriminator_noise=650.0)  # where noise alone makes hits, and many attempts fail
SETTINGS = {"module0": ELECTRONICS, "newer": NEWER, "low": LOW}
COLUMNS = ("probability", "tick", "charge", "tick_spread", "charge_spread")


def widths(pixels, electronics):
    return Widths(
        *(
            np.full(pixels, value)
            for value in (electronics.reset_noise, electronics.uncorrelated_noise, electronics.discriminator_noise)
        )
    )


def rest_of(pixels, ticks, electronics):
    """All that `digitize` is given beside the charge."""
    return np.full(pixels, float(ticks)), channels(pixels, electronics), widths(pixels, electronics)


def compiled(backend, electronics):
    return backend.compile(partial(digitize, electronics=electronics, model="expected"))


def on(name, charge, electronics=ELECTRONICS, dtype="float64", end=None):
    """The hits of some waveforms, as NumPy arrays."""
    backend = get_backend(name, dtype=dtype)
    all_ticks, *rest = rest_of(*charge.shape, electronics)
    inputs = map_leaves(backend.asarray, (charge, all_ticks if end is None else end, *rest))
    return map_leaves(backend.numpy, compiled(backend, electronics)(*inputs))


@cache
def waveforms():
    """Rises of every sort: slow, fast, in steps, to just below or above a threshold, and none."""
    t = np.arange(float(TICKS))
    rises = [
        15e3 / (1 + np.exp(-(t - 40) / 4)),
        60e3 / (1 + np.exp(-(t - 60) / 12)),
        7.5e3 / (1 + np.exp(-(t - 60) / 2)),
        6.0e3 / (1 + np.exp(-(t - 50) / 6)),
        np.where(t > 30, 1e5, 0.0),
        np.where(t > 30, 7e3, 0.0) + np.where(t > 60, 12e3, 0.0),
        180.0 * t,
        9e3 / (1 + np.exp(-(t - 30) / 3)) + 14e3 / (1 + np.exp(-(t - 85) / 5)),
        0.0 * t,
    ]
    return np.array(rises)


ENDS = np.array([TICKS, TICKS, 120.3, TICKS, TICKS, 95.0, TICKS, TICKS, TICKS])


@cache
def by_the_twin(settings):
    return np.array([twin.hits(row, end, SETTINGS[settings]) for row, end in zip(waveforms(), ENDS, strict=True)])


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_the_twin(backend, dtype, settings):
    hits = on(backend, waveforms(), SETTINGS[settings], dtype, ENDS)
    known = by_the_twin(settings)
    np.testing.assert_allclose(hits.probability, known[:, :, 0], atol=1e-4)
    there = hits.mask & (known[:, :, 0] > 1e-3)
    assert there.sum() > 12 and not hits.tick[~hits.mask].any()
    errors = {name: getattr(hits, name)[there] - known[there, row] for row, name in enumerate(COLUMNS)}
    assert np.abs(errors["tick"]).max() < 1e-2
    assert np.abs(errors["charge"] / known[there, 2]).max() < 1e-3
    assert np.abs(errors["tick_spread"]).max() < 2e-2
    assert np.abs(errors["charge_spread"] / known[there, 4]).max() < 1e-2


DRAWS = 100_000
DRAWN = 1, 2, 7  # the waveforms that are drawn


@cache
def many_draws(settings):
    """Hits of the clocked model: those of each waveform."""
    electronics = SETTINGS[settings]
    clocked = get_backend("numpy").compile(partial(digitize, electronics=electronics, model="clocked"))
    noise = noises.draw(5, events(DRAWS), TICKS, electronics)
    rows = [np.broadcast_to(waveforms()[row].astype(np.float32), (DRAWS, TICKS)) for row in DRAWN]
    return [clocked(charge, ends(charge), channels(DRAWS, electronics), noise) for charge in rows]


@pytest.mark.parametrize("settings", ["module0", "newer"])
def test_equals_many_draws(backend, dtype, settings):
    """Each mean and each spread within 4.5 standard errors of those of the clocked model."""
    prediction = on(backend, waveforms(), SETTINGS[settings], dtype)
    for row, drawn in zip(DRAWN, many_draws(settings), strict=True):
        number, p = drawn.mask.sum(axis=1), prediction.probability[row]
        assert abs(number.mean() - p.sum()) <= 4.5 * max(number.std(), 3e-3) / np.sqrt(DRAWS)
        for order in range(3):
            there = drawn.mask[:, order]
            assert abs(there.mean() - p[order]) <= 4.5 * np.sqrt(max(p[order] * (1 - p[order]), 1e-5) / DRAWS)
            if there.sum() > 500:
                for name in ("tick", "charge"):
                    values, spread = getattr(drawn, name)[there, order], getattr(prediction, f"{name}_spread")
                    error = values.std() / np.sqrt(len(values))
                    assert abs(values.mean() - getattr(prediction, name)[row, order]) <= 4.5 * error
                    squares = (values - values.mean()) ** 2
                    off = squares.mean() - spread[row, order] ** 2
                    assert abs(off) <= 4.5 * squares.std() / np.sqrt(len(values))


@pytest.mark.parametrize("settings", ["module0", "newer"])
def test_closed_forms_of_the_digitised_value(backend, settings):
    """Against the integral over u, with the normal distribution of d."""
    e, z = SETTINGS[settings], np.linspace(-2500.0, 4000.0, 27)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    low = np.maximum(-9.0 * e.uncorrelated_noise, -z if e.discriminator_noise == 0 else np.full(27, -np.inf))
    half = 0.5 * (9.0 * e.uncorrelated_noise - low)
    u = low[:, None] + half[:, None] * (nodes + 1.0)
    density = half[:, None] * weights * twin.norm.pdf(u, scale=e.uncorrelated_noise)
    if e.discriminator_noise:
        density = density * twin.norm.cdf((z[:, None] + u) / e.discriminator_noise)
    value = z[:, None] + u
    known = [density.sum(axis=1), (density * value).sum(axis=1), (density * value**2).sum(axis=1)]
    one = get_backend(backend, dtype="float64")

    def outcomes(z, threshold, widths):
        return tuple(firing.outcomes(0.0 * z + 1.0, z, firing.Chip.of(threshold, widths)))

    given = map_leaves(one.asarray, (z[None, None, :], np.array([e.threshold]), widths(1, e)))
    kept, failed, charge, square = map_leaves(one.numpy, one.compile(outcomes)(*given))
    np.testing.assert_allclose(kept[0, 0], known[0], atol=1e-9)
    np.testing.assert_allclose(failed[0, 0], 1.0 - known[0], atol=1e-9)
    np.testing.assert_allclose(charge[0, 0], known[1], atol=1e-5)
    np.testing.assert_allclose(square[0, 0], known[2], rtol=1e-7, atol=1e-2)


def test_without_much_noise_it_is_the_clock(backend):
    quiet = replace(ELECTRONICS, reset_noise=20.0, uncorrelated_noise=20.0)
    charge = waveforms()[[0, 1, 7]]
    run = get_backend("numpy", dtype="float64").compile(partial(digitize, electronics=quiet, model="clocked"))
    known, hits = run(charge, ends(charge), channels(3), None), on(backend, charge, quiet)
    first = slice(None), 0
    np.testing.assert_allclose(hits.probability[first], 1.0, atol=1e-5)
    assert known.mask[first].all() and np.abs(hits.tick[first] - known.tick[first]).max() < 0.5
    np.testing.assert_allclose(hits.charge[first], known.charge[first], rtol=0.02)


def test_padding_makes_no_difference(backend):
    charge = waveforms()
    padded = np.pad(charge, ((0, 0), (0, 100)), mode="edge")
    for one, other in zip(on(backend, charge, end=ENDS), on(backend, padded, end=ENDS), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_pixels_are_independent(backend):
    """Whichever are computed together: many, more than at once."""
    charge = pulses(150)
    together = on(backend, charge)
    for one, other in zip(on(backend, charge[120:140]), together, strict=True):
        np.testing.assert_allclose(one, other[120:140], rtol=1e-9, atol=1e-9)
    assert np.all(np.diff(together.probability, axis=1) <= 1e-6) and together.probability.max() < 1 + 1e-5


def weights_of(hits):
    """Uneven weights of all columns, which bring them to like sizes."""
    scale = np.array([10.0, 1.0, 1e-3, 1.0, 1e-3])
    return np.random.default_rng(8).uniform(0.5, 1.5, (5, *hits)) * scale[:, None, None]


def weighted(hits, weights):
    """A scalar of each pixel. Axes: (pixel,)."""
    return sum((getattr(hits, name) * weights[row]).sum(-1) for row, name in enumerate(COLUMNS))


@cache
def derivatives(name):
    """Gradient to every value of the waveforms, and how the sum moves in a direction and with a common factor."""
    electronics, charge = NEWER, waveforms()
    backend = get_backend(name, dtype="float64")
    rest = map_leaves(backend.asarray, rest_of(*charge.shape, electronics))
    run, direction = compiled(backend, electronics), np.random.default_rng(9).normal(size=charge.shape)
    fixed = map_leaves(backend.asarray, (charge, direction, weights_of((len(charge), 10))))

    def total(values):
        return weighted(run(values["charge"], *rest), fixed[2]).sum()

    _, slope = backend.value_and_grad(total, {"charge": charge})
    _, moved = backend.jacobian(
        lambda v: total({"charge": fixed[0] * (1.0 + v["factor"]) + v["along"] * fixed[1]}),
        {"along": np.float64(0.0), "factor": np.float64(0.0)},
    )
    return backend.numpy(slope["charge"]), float(moved["along"]), float(moved["factor"]), direction


@cache
def differences():
    """The gradient by central differences: of each row of pixels, of which each has one value moved, of every third."""
    charge, found = waveforms(), []
    weights = weights_of((len(charge), 10))
    for row in range(len(charge)):
        step = 0.1 * np.eye(TICKS)[row % 3 :: 3]
        above, below = (on("numpy", charge[row] + move, NEWER) for move in (step, -step))
        found.append((weighted(above, weights[:, [row]]) - weighted(below, weights[:, [row]])) / 0.2)
    return found


def test_gradient(differentiable_backend):
    """To the values of the waveforms, every third of each."""
    gradient, known = derivatives(differentiable_backend)[0], differences()
    for row, other in enumerate(known):
        one = gradient[row, row % 3 :: 3]
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6 * max(np.abs(other).max(), 1e-5))


def test_backwards_is_the_transposed_of_forwards(differentiable_backend):
    gradient, along, factor, direction = derivatives(differentiable_backend)
    assert along == pytest.approx((gradient * direction).sum(), rel=1e-9)
    assert factor == pytest.approx((gradient * waveforms()).sum(), rel=1e-9)


def test_backends_agree():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    one, other = derivatives("torch"), derivatives("jax")
    np.testing.assert_allclose(one[0], other[0], rtol=1e-9, atol=1e-9 * np.abs(one[0]).max())
    assert one[1:3] == pytest.approx(other[1:3], rel=1e-9)
    for a, b in zip(on("torch", pulses(20)), on("jax", pulses(20)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_no_gradient_is_nan(differentiable_backend):
    """Of pixels with many hits, with none, with steps, in single precision; one waits for more than there can be."""
    charge = pulses(40).copy()
    charge[0] = 0.0
    charge[1] = 7000.0
    charge[2] = np.where(np.arange(charge.shape[1]) > 100, 1e5, 0.0)
    charge[3] = -5e4
    backend = get_backend(differentiable_backend, dtype="float32")
    end, channel, noise = rest_of(*charge.shape, ELECTRONICS)
    channel.threshold[4] = np.inf
    channel.live[5] = 0.0
    rest, run = map_leaves(backend.asarray, (end, channel, noise)), compiled(backend, ELECTRONICS)
    value = map_leaves(backend.numpy, run(backend.asarray(charge), *rest))
    assert all(np.isfinite(column).all() for column in value)
    silent = ~value.mask.any(axis=1)
    assert {3, 4, 5} <= set(np.flatnonzero(silent))
    weights = backend.asarray(weights_of((40, 10)))
    _, gradient = backend.value_and_grad(lambda v: weighted(run(v["charge"], *rest), weights).sum(), {"charge": charge})
    gradient = backend.numpy(gradient["charge"])
    assert np.isfinite(gradient).all()
    assert np.all(np.abs(gradient[[3, 4, 5]]) < 1e-12)
