"""The likelihood of what pixels record, of given waveforms: against its slow twin, against draws, as a probability."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from larndsim.backend import get_backend
from larndsim.detector import Electronics, adc_cell
from larndsim.electronics import digitize
from larndsim.electronics.chip import Cycle
from larndsim.electronics.likelihood import Likelihood, grid_of, likelihood
from larndsim.electronics.noise import draw
from larndsim.electronics.renewal import Noise, Quadrature, Seen, all_attempts
from tests.electronics.test_electronics import channels, events, pulses
from tests.reference import likelihood as twin

EXACT = Quadrature(low=np.inf, fail=np.inf, dropped=0.0, flat=False, apart=1)  # every attempt at every tick
FINE = EXACT._replace(step=0.125, fine=0.2, reach=6.5)
SLOPES = Likelihood._fields[1:]
TICKS = 100
QUICK = {"hold_ticks": 4, "reset_ticks": 1, "busy_ticks": 3}  # many hits in a small window
# in the last, every other discriminator has no noise, the first word of the ADC is recorded, and a hit needs no wait
SETTINGS = {
    "module0": Electronics(),
    "quick": Electronics(threshold=5000.0, **QUICK),
    "newer": Electronics(threshold=5000.0, discriminator_noise=650.0, digitisation="floor", **QUICK),
    "low": Electronics(
        threshold=3000.0, discriminator_noise=np.array([0.0, 400.0]), **QUICK | {"busy_ticks": 0}, v_pedestal=260.0
    ),
}
CUT, SILENT, DEAD = 6, 7, 10  # rows; in the first a word is cut by the threshold


@cache
def waveforms():
    """Random pulses, and: near the threshold, a step, silence, charge from the first tick to the last, beyond the ADC,
    a channel that is off, and charge for ten hits. Axes: (pixel, tick)."""
    t, random = np.arange(float(TICKS)), pulses(9, TICKS)
    others = [
        7.2e3 / (1 + np.exp(-(t - 60) / 9)),
        np.where(t > 30, 7e3, 0.0) + np.where(t > 60, 12e3, 0.0),
        0.0 * t,
        9e3 + 120.0 * t,
        9e5 / (1 + np.exp(-(t - 40) / 0.7)),
        random[1],
        3e3 * t,
    ]
    return np.array([*random[1:6], *others])


@cache
def recorded(name):
    """What the waveforms, and the noise of a seed, let a chip record; with thresholds of each pixel's own."""
    charge, rng, rows = waveforms(), np.random.default_rng(3), len(waveforms())
    e = SETTINGS[name].per_pixel(np.arange(rows) % 2)
    until, live = np.full(rows, TICKS), np.arange(rows) != DEAD
    until[[2, 6]] = 70, 95
    channel = channels(rows, e, threshold=e.threshold * rng.uniform(0.8, 1.2, rows).round(2), live=1.0 * live)
    backend = get_backend("numpy", dtype="float64")
    run = backend.compile(lambda *inputs: digitize(*inputs, electronics=e, model="clocked"))
    hits = run(charge, 1.0 * until, channel, draw(8, events(rows), TICKS, e))
    low, high = adc_cell(hits.adc, channels(1, e), e)
    low[CUT, 0], high[CUT, 0] = channel.threshold[CUT] - 300.0, channel.threshold[CUT] + 700.0
    seen = Seen(charge, until, live, hits.mask.sum(axis=1), hits.tick.astype(int), low, high)
    widths = (e.reset_noise, e.uncorrelated_noise, e.discriminator_noise)
    return seen, Noise(channel.threshold, *(np.full(rows, width) for width in widths))


def skip_what_compiles_for_long(backend, name, dtype="float64"):
    """JAX takes seconds for each shape of each kind of attempts, in each precision."""
    if backend == "jax" and (name == "low" or (dtype == "float32" and name != "newer")):
        pytest.skip("it compiles for long")


@cache
def found(name, backend, dtype="float64", q=EXACT):
    one = get_backend(backend, dtype=dtype)
    return likelihood(*recorded(name), Cycle.of(SETTINGS[name]), one, q)


def test_all_sorts_of_things_are_recorded():
    counts = {name: recorded(name)[0].count for name in SETTINGS}
    assert all(count.max() == (10 if name != "module0" else 4) for name, count in counts.items())
    for name, count in counts.items():
        seen, noise = recorded(name)
        real = np.arange(10) < count[:, None]
        assert {0, 2} <= set(count) and count[[SILENT, DEAD]].max() == 0
        assert (seen.high[real] == np.inf).any()
        assert real[CUT, 0] and (seen.low < noise.threshold[:, None])[real].any()
    assert (recorded("low")[0].low[np.arange(10) < counts["low"][:, None]] == -np.inf).any()


def twin_of(name, row, q=EXACT):
    """log P of a pixel, as a function of all that it depends on."""
    (seen, noise), cycle = recorded(name), Cycle.of(SETTINGS[name])
    grid = grid_of(noise, q)  # the twin has its own points in words

    def value(charge, threshold, reset, uncorrelated, discriminator, low, high):
        chip = twin.Chip(threshold, reset, uncorrelated, discriminator, *cycle)
        pixel = twin.Pixel(charge, seen.until[row], chip, grid.nodes, np.exp(grid.log_weights))
        hits = zip(seen.tick[row].tolist(), zip(low, high, strict=True), strict=True)
        return pixel.log_probability([*hits][: seen.count[row]])

    return value, (seen.charge[row], *(width[row] for width in noise), seen.low[row], seen.high[row])


@cache
def directions(name):
    """A random direction for each argument of the likelihood."""
    rng, (seen, _) = np.random.default_rng(4), recorded(name)
    shapes = [seen.charge.shape, *4 * [seen.until.shape], *2 * [seen.low.shape]]
    return dict(zip(SLOPES, map(rng.standard_normal, shapes), strict=True))


TOGETHER = {"charge": ("charge",), "electronics": SLOPES[1:5], "words": SLOPES[5:]}  # what is moved at once


@cache
def by_the_twin(name):
    """log P of each pixel, and how it moves along the directions. Axis: (pixel,)."""
    value, slopes = np.zeros(len(waveforms())), {each: np.zeros(len(waveforms())) for each in TOGETHER}
    for row in np.flatnonzero(recorded(name)[0].live):
        function, given = twin_of(name, row)
        value[row] = function(*given)
        for each, moved in TOGETHER.items():
            steps = [directions(name)[one][row] * (one in moved) for one in SLOPES]
            steps[4] *= given[4] > 0.0  # a discriminator without noise has no slope by its width
            slopes[each][row] = twin.slope(function, given, steps)
    return value, slopes


@pytest.mark.parametrize("name", SETTINGS)
def test_equals_the_twin(backend, name):
    skip_what_compiles_for_long(backend, name)
    own, (value, slopes) = found(name, backend), by_the_twin(name)
    np.testing.assert_allclose(own.value, value, rtol=1e-9, atol=1e-9)
    for each, known in slopes.items():
        parts = [getattr(own, one) * directions(name)[one] for one in TOGETHER[each]]
        along = sum(part if part.ndim == 1 else part.sum(axis=1) for part in parts)
        np.testing.assert_allclose(along, known, rtol=1e-9, atol=1e-9 * np.abs(known).max(), err_msg=each)
    assert np.all(own.discriminator[recorded(name)[1].discriminator == 0.0] == 0.0)


def close(one, other, relative, of_slopes):
    """Whether two likelihoods and their derivatives are: the latter to a part of the largest."""
    np.testing.assert_allclose(one.value, other.value, rtol=relative, atol=relative)
    for each in SLOPES:
        known = getattr(other, each)
        limits = {"rtol": of_slopes, "atol": of_slopes * np.abs(known).max()}
        np.testing.assert_allclose(getattr(one, each), known, **limits, err_msg=each)


@pytest.mark.parametrize("name", SETTINGS)
def test_backends_agree(backend, name):
    skip_what_compiles_for_long(backend, name)
    close(found(name, backend), found(name, "numpy"), 1e-9, 1e-9)


def smoothed(one):
    """Derivatives by parts of the waveforms, rather than by the charge of each tick: flat ones are taken together."""
    size, early = waveforms(), np.gradient(waveforms(), axis=1)
    return one._replace(charge=np.stack([(one.charge * move).sum(axis=1) for move in (size, early)]))


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_left_out_does_not_matter(backend, dtype, name):
    """The usual number of nodes; what cannot have led to the data, and flat pieces tick by tick, are not looked at."""
    skip_what_compiles_for_long(backend, name, dtype)
    close(smoothed(found(name, backend, dtype, Quadrature())), smoothed(found(name, "numpy", q=FINE)), 1e-3, 2e-3)


def test_what_is_digitised_may_be_finer_than_what_the_comparator_sees(monkeypatch):
    """The nodes follow the finest of both."""
    finer = Electronics(threshold=5000.0, uncorrelated_noise=150.0, discriminator_noise=650.0, **QUICK)
    monkeypatch.setitem(SETTINGS, "finer", finer)
    close(smoothed(found("finer", "numpy", q=Quadrature())), smoothed(found("finer", "numpy", q=FINE)), 1e-3, 2e-3)


def test_what_follows_common_failures_is_interpolated():
    """A threshold of four widths of the noise: an attempt may fail at every tick of a long, nearly flat waveform."""
    e = Electronics(threshold=5000.0, discriminator_noise=650.0)
    rise = np.exp(np.minimum(np.arange(400.0) - 330.0, 0.0) / 12.0)
    charge = np.array([0.0, 1.5e3, 9e3, 2e4])[:, None] * rise
    draws = draw(2, events(4), 400, e)
    run = get_backend("numpy", dtype="float64").compile(lambda *each: digitize(*each, electronics=e, model="clocked"))
    hits = run(charge, np.full(4, 400.0), channels(4, e), draws)
    cells = adc_cell(hits.adc, channels(1, e), e)
    seen = Seen(charge, np.full(4, 400), np.full(4, True), hits.mask.sum(axis=1), hits.tick.astype(int), *cells)
    widths = e.threshold, e.reset_noise, e.uncorrelated_noise, e.discriminator_noise
    noise, cycle = Noise(*(np.full(4, width) for width in widths)), Cycle.of(e)
    assert hits.mask.any(axis=1).tolist() == [False, False, True, True]
    usual, every = Quadrature(), Quadrature(dropped=1e-8, apart=1)
    counts = [len(all_attempts(seen, noise, cycle, q)[0].pixel) for q in (usual, every)]
    assert 5 * counts[0] < counts[1]
    backend = get_backend("numpy", dtype="float64")
    one, other = (likelihood(seen, noise, cycle, backend, q).value for q in (usual, every))
    np.testing.assert_allclose(one, other, atol=1e-3)
