"""Hits against the slow twin, the relaxed model against the clocked one, and its gradients."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest

import larndsim
from larndsim import noise as noises
from larndsim.backend import get_backend, map_leaves
from larndsim.detector import Electronics
from larndsim.electronics import MODELS, Channel, PixelHits, digitize
from larndsim.errors import ArgumentError
from tests import cases
from tests.reference import electronics as twin

ELECTRONICS = Electronics()
NEWER = Electronics(threshold=5000.0, discriminator_noise=650.0)
COUNT = 1012 / 256 / 4e-3  # electrons per ADC count
TICKS = 400


def on(backend, dtype="float64", model="clocked", electronics=ELECTRONICS):
    """`digitize` of NumPy arrays on a backend: a function of (charge, end, channel, noise) -> PixelHits of NumPy."""
    backend = get_backend(backend, dtype=dtype)
    compiled = backend.compile(partial(digitize, electronics=electronics, model=model))
    return lambda *inputs: map_leaves(backend.numpy, compiled(*map_leaves(backend.asarray, inputs)))


def channels(pixels, electronics=ELECTRONICS, **changes):
    values = (electronics.threshold, electronics.gain, electronics.v_pedestal, electronics.v_cm, electronics.v_ref, 1.0)
    return Channel(*(np.full(pixels, value) for value in values))._replace(**changes)


def ends(charge):
    return np.full(len(charge), float(charge.shape[1]))


def events(n):
    """Pixels for which noise is drawn: the same in `n` events."""
    zero = np.zeros(n, dtype=np.int64)
    return SimpleNamespace(event=np.arange(n), plane=zero + 1, ix=zero + 70, iy=zero + 140)


@cache
def pulses(pixels=1000, ticks=TICKS):
    """Cumulative charge of pulses at random times, of random length and size; some pixels see nothing."""
    rng = np.random.default_rng(5)
    number = rng.integers(0, 12, pixels)
    shape = (pixels, 12, 1)
    size = rng.uniform(2e3, 60e3, shape) * (np.arange(12)[:, None] < number[:, None, None])
    late = (np.arange(ticks) - rng.uniform(20, ticks - 20, shape)) / rng.uniform(1, 15, shape)
    return (size / (1 + np.exp(-late))).sum(axis=1)


def together(lists, max_hits=10):
    """Lists of hits as PixelHits."""
    table = np.zeros((4, len(lists), max_hits))
    for row, hits in enumerate(lists):
        for order, hit in enumerate(hits):
            table[:, row, order] = (*hit, 1)
    return PixelHits(*table[:3], table[3] > 0)


@cache
def by_the_twin(dtype, noisy):
    """Inputs of every sort, and what the twin makes of them."""
    rng, charge = np.random.default_rng(6), pulses().astype(dtype)
    n = len(charge)
    end = rng.uniform(0.7 * TICKS, TICKS, n)
    channel = channels(n, NEWER, threshold=rng.uniform(3e3, 8e3, n).round(), live=(rng.random(n) > 0.05).astype(float))
    noise = noises.draw(3, events(n), TICKS, NEWER) if noisy else None
    lists = []
    for row in range(n):
        settings = replace(NEWER, threshold=channel.threshold[row].astype(dtype))
        own = twin.Noise(*(kind[row].astype(dtype) for kind in noise)) if noisy else None
        lists.append(twin.hits(charge[row], end[row] if channel.live[row] else 0.0, settings, own))
    return (charge, end, channel, noise), together(lists)


@pytest.mark.parametrize("noisy", [False, True], ids=["quiet", "noisy"])
def test_clocked_equals_the_twin(backend, dtype, noisy):
    inputs, known = by_the_twin(dtype, noisy)
    hits = on(backend, dtype, electronics=NEWER)(*inputs)
    assert set(known.mask.sum(axis=1)) == set(range(11))
    for name, column, reference in zip(PixelHits._fields, hits, known, strict=True):
        np.testing.assert_array_equal(column, reference, err_msg=name)


def test_by_hand(backend):
    """1000 e per tick: seen at 7, held to 25, reset to 26, alive at 35 with 9000 e already there."""
    charge = 1000.0 * np.arange(80)[None, :]
    for model, adc in (("clocked", 99.0), ("relaxed", (25 * 4 + 292) * 256 / 1012)):
        hits = on(backend, model=model)(charge, ends(charge), channels(1), None)
        np.testing.assert_allclose(hits.tick[0, :4], [7, 35, 63, 0], rtol=1e-12)
        np.testing.assert_allclose(hits.charge[0, :4], [25e3, 27e3, 25e3, 0], rtol=1e-12)  # the last: window ends at 79
        assert hits.adc[0, 0] == pytest.approx(adc, rel=1e-12)
        assert hits.mask.dtype == bool
        assert hits.mask.sum() == 3


def test_adc_keeps_its_range(backend):
    charge = np.outer([7e3, 5e5], np.arange(80) > 10)
    channel = channels(2, gain=np.array([-0.1, 4e-3]))
    for model in ("clocked", "relaxed"):
        assert on(backend, model=model)(charge, ends(charge), channel, None).adc[:, 0].tolist() == [0.0, 255.0]


@pytest.mark.parametrize("model", MODELS)
def test_padding_makes_no_difference(backend, model):
    charge = pulses(200)
    padded = np.pad(charge, ((0, 0), (0, 100)), mode="edge")
    run = on(backend, model=model)
    for seed in (None, 1):
        short, long = (
            None if seed is None else noises.draw(seed, events(200), n, ELECTRONICS) for n in (TICKS, TICKS + 100)
        )
        one = run(charge, ends(charge), channels(200), short)
        other = run(padded, ends(charge), channels(200), long)
        for column, reference in zip(one, other, strict=True):
            np.testing.assert_allclose(column, reference, rtol=1e-12)


def test_failed_attempts_cost_no_hit(backend):
    """A comparator that always fires early: attempts fail until the charge is there."""
    electronics = replace(ELECTRONICS, max_hits=2)
    charge = 150.0 * np.arange(TICKS)[None, :]
    quiet = twin.without_noise(TICKS, 2 * noises.ATTEMPTS)
    noise = noises.Noise(*(kind[None, :] for kind in quiet))
    comparator = np.where(np.arange(TICKS) < 50, 1e6, 0.0)[None, :]
    hits = on(backend, electronics=electronics)(
        charge, ends(charge), channels(1), noise._replace(comparator=comparator)
    )
    # fires at 0, 20 and 40, each time with 18 ticks of charge: too few; then 19 ticks from 59 on until 7000 e are there
    np.testing.assert_array_equal(hits.tick, [[59 + 47, 0]])
    np.testing.assert_array_equal(hits.mask, [[True, False]])


@cache
def muons():
    """Realistic waveforms."""
    sim = larndsim.Simulator(cases.DETECTOR, backend="numpy", dtype="float64")
    segments = larndsim.generate("muons", n=3, seed=4, detector=cases.DETECTOR, length=150)
    return sim.charge(sim.prepare(segments, vary=())).charge


def test_relaxed_is_near_clocked():
    charge = muons()
    inputs = (charge, ends(charge), channels(len(charge)), None)
    relaxed, clocked = on("numpy", model="relaxed")(*inputs), on("numpy")(*inputs)
    same = (relaxed.mask == clocked.mask).all(axis=1)
    print(len(charge), same.mean(), clocked.mask.sum())
    both = relaxed.mask & clocked.mask & same[:, None]
    dt = (clocked.tick - relaxed.tick)[both]
    dq = (clocked.charge - relaxed.charge)[both]
    da = (clocked.adc - relaxed.adc)[both]
    print(dt.min(), dt.max(), np.abs(dq).max(), (np.abs(dq) > COUNT).mean(), np.abs(da).max(), np.sort(np.abs(dq))[-10:])
