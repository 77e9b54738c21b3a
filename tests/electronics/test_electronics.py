"""Hits against the slow twin, the relaxed model against the clocked one, and its gradients."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest

import larndsim
from larndsim.backend import get_backend, map_leaves
from larndsim.detector import Electronics
from larndsim.electronics import MODELS, Channel, PixelHits, digitize
from larndsim.electronics import noise as noises
from larndsim.errors import ArgumentError
from tests import cases
from tests.reference import electronics as twin

ELECTRONICS = Electronics()
NEWER = Electronics(threshold=5000.0, discriminator_noise=650.0)
COUNT = 1012 / 256 / 4e-3  # electrons per ADC count
TICKS = 400
WEIGHTS = 50.0, 1e-2, 2.0  # of ticks, charges, counts


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
    return SimpleNamespace(event=np.arange(n), plane=zero + 1, ix=zero + 70, iy=zero + 140, burst=zero)


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


def test_digitisation_to_the_word_below(backend, dtype):
    """Of the same charges, and of the twin; the relaxed ADC stays the number before it is made whole."""
    (charge, end, channel, _), known = by_the_twin(dtype, False)
    below = on(backend, dtype, electronics=replace(NEWER, digitisation="floor"))(charge, end, channel, None)
    nearest = on(backend, dtype, electronics=NEWER)(charge, end, channel, None)
    np.testing.assert_array_equal(below.charge, nearest.charge)
    assert set(np.unique(nearest.adc - below.adc)) == {0.0, 1.0}
    settings = replace(NEWER, digitisation="floor")
    expected = [twin.adc(float(q), settings) for q in known.charge[known.mask]]
    np.testing.assert_array_equal(below.adc[known.mask], expected)
    real = [on(backend, dtype, "relaxed", e)(charge, end, channel, None).adc for e in (settings, NEWER)]
    np.testing.assert_array_equal(*real)


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if not model.predicts])
def test_padding_makes_no_difference(backend, model):
    charge = pulses(200)
    padded = np.pad(charge, ((0, 0), (0, 100)), mode="edge")
    run = on(backend, model=model)
    short, long = (noises.draw(1, events(200), n, ELECTRONICS) for n in (TICKS, TICKS + 100))
    one = run(charge, ends(charge), channels(200), short)
    other = run(padded, ends(charge), channels(200), long)
    for column, reference in zip(one[:4], other[:4], strict=True):
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
    fired = relaxed.mask.any(axis=1) | clocked.mask.any(axis=1)  # the others agree for nothing
    same = (relaxed.mask == clocked.mask).all(axis=1)
    assert fired.sum() > 250
    assert same[fired].mean() >= 0.99
    hit = clocked.mask & same[:, None]
    assert hit.sum() > 300
    late, more, counts = (one[hit] - other[hit] for one, other in zip(clocked[:3], relaxed[:3], strict=True))
    # The exceptions: a clock sees the threshold up to a tick late. Where the current is large at the end of
    # integration, this tick of it is more than a count; and the next cycle starts late and lacks it, so it may be
    # later by more.
    assert (np.abs(late) <= 1).mean() > 0.95
    assert (np.abs(more) <= COUNT).mean() > 0.95
    assert (np.abs(counts) <= 1.5).mean() > 0.95  # one, and the rounding
    first = np.flatnonzero(hit[:, 0])
    assert np.all((clocked.tick - relaxed.tick)[first, 0] >= 0)
    assert np.all((clocked.tick - relaxed.tick)[first, 0] <= 1)
    stop = np.minimum(clocked.tick[first, 0].astype(int) + ELECTRONICS.hold_ticks, charge.shape[1] - 1)
    last_tick = charge[first, stop] - charge[first, stop - 1]
    # what a clock reads later lies within the change of that tick, up or down
    change = (clocked.charge - relaxed.charge)[first, 0]
    assert np.all(change <= np.maximum(last_tick, 0.0) + 1e-6)
    assert np.all(change >= np.minimum(last_tick, 0.0) - 1e-6)


def weighted(hits, weights):
    """A scalar that weighs all hits unevenly. Axes: (pixel,)."""
    return sum((values * weight).sum(-1) for values, weight in zip(hits[:3], weights, strict=True))


@pytest.mark.parametrize("noisy", [False, True], ids=["quiet", "noisy"])
def test_gradient_of_relaxed(differentiable_backend, noisy):
    """To every value of the waveform, against central differences: a row of pixels, each with one value moved."""
    charge = pulses(1000)[[3, 17, 29, 40, 51, 66]]
    rows, ticks = charge.shape
    weights = np.random.default_rng(8).uniform(0.5, 1.5, (3, 10)) * np.array([[100.0], [1.0], [200.0]])
    noise = noises.draw(1, events(rows), ticks, ELECTRONICS) if noisy else None
    backend = get_backend(differentiable_backend, dtype="float64")
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="relaxed"))
    rest = map_leaves(backend.asarray, (ends(charge), channels(rows), noise))
    _, gradient = backend.value_and_grad(
        lambda v: weighted(run(v["charge"], *rest), backend.asarray(weights)).sum(), {"charge": charge}
    )
    step = 1e-2 * np.eye(ticks)
    for row in range(rows):
        moved = [charge[row] + step, charge[row] - step]
        same = noise and noises.Noise(*(np.repeat(kind[row : row + 1], ticks, axis=0) for kind in noise))
        hits = [on("numpy", model="relaxed")(x, ends(x), channels(ticks), same) for x in moved]
        known = (weighted(hits[0], weights) - weighted(hits[1], weights)) / 2e-2
        np.testing.assert_allclose(backend.numpy(gradient["charge"])[row], known, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("noisy", [False, True], ids=["quiet", "noisy"])
def test_no_gradient_is_nan(differentiable_backend, noisy):
    """Of pixels with many hits, with none, with steps, with flat parts; and no gradient where there are no hits.

    One waits for more charge than there can be.
    """
    charge = pulses(200).copy()
    charge[0] = 0.0
    charge[1] = 7000.0
    charge[2] = np.where(np.arange(TICKS) > 100, 1e5, 0.0)
    charge[3] = -5e4
    backend = get_backend(differentiable_backend, dtype="float32")
    noise = noises.draw(1, events(200), TICKS, ELECTRONICS) if noisy else None
    channel = channels(200)
    channel.threshold[4] = np.inf
    rest = map_leaves(backend.asarray, (ends(charge), channel, noise))
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="relaxed"))
    silent = ~backend.numpy(run(backend.asarray(charge), *rest).mask).any(axis=1)
    _, gradient = backend.value_and_grad(
        lambda v: weighted(run(v["charge"], *rest), [1.0, 1.0, 1.0]).sum(), {"charge": charge}
    )
    gradient = backend.numpy(gradient["charge"])
    assert np.isfinite(gradient).all()
    assert silent.any()
    assert np.all(gradient[silent] == 0.0)


def test_a_clock_has_no_gradient(differentiable_backend):
    backend = get_backend(differentiable_backend, dtype="float64")
    charge = pulses(200)
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="clocked"))
    rest = map_leaves(backend.asarray, (ends(charge), channels(200), None))

    def total(values):
        return run(values["charge"], *rest).charge.sum() + values["charge"].sum()

    assert np.all(backend.numpy(backend.value_and_grad(total, {"charge": charge})[1]["charge"]) == 1.0)


def test_forward_mode(differentiable_backend):
    """How all hits change with one scalar."""
    charge = pulses(200)
    backend = get_backend(differentiable_backend, dtype="float64")
    rest = map_leaves(backend.asarray, (ends(charge), channels(200), None))
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="relaxed"))
    _, slopes = backend.jacobian(lambda v: run(v["gain"] * backend.asarray(charge), *rest)[:3], {"gain": np.float64(1)})
    on_numpy = on("numpy", model="relaxed")
    above, below = (on_numpy(charge * (1 + step), ends(charge), channels(200), None) for step in (1e-7, -1e-7))
    steady = (above.mask == below.mask) & (np.abs(above.tick - below.tick) < 1e-3)
    assert steady.mean() > 0.99
    for slope, one, other in zip(slopes["gain"], above[:3], below[:3], strict=True):
        known = (one - other) / 2e-7
        np.testing.assert_allclose(backend.numpy(slope)[steady], known[steady], rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("noisy", [False, True], ids=["quiet", "noisy"])
def test_backwards_is_the_transposed_of_forwards(differentiable_backend, noisy):
    charge = pulses(200)
    rng = np.random.default_rng(9)
    direction, weights = rng.normal(size=charge.shape), rng.uniform(0.5, 1.5, (3, 10))
    backend = get_backend(differentiable_backend, dtype="float64")
    noise = noises.draw(1, events(200), TICKS, ELECTRONICS) if noisy else None
    rest = map_leaves(backend.asarray, (ends(charge), channels(200), noise))
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="relaxed"))
    fixed = backend.asarray(weights), backend.asarray(direction), backend.asarray(charge)

    def total(values):
        return weighted(run(values["charge"], *rest), fixed[0]).sum()

    _, slope = backend.value_and_grad(total, {"charge": charge})
    _, moved = backend.jacobian(lambda v: total({"charge": fixed[2] + v["u"] * fixed[1]}), {"u": np.float64(0.0)})
    known = (backend.numpy(slope["charge"]) * direction).sum()
    assert float(moved["u"]) == pytest.approx(known, rel=1e-10)


def test_a_threshold_moves_ticks_and_charges(differentiable_backend):
    charge = pulses(50)
    backend = get_backend(differentiable_backend, dtype="float64")
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="relaxed"))
    charge, end, channel = map_leaves(backend.asarray, (charge, ends(charge), channels(50)))

    def total(v):
        return weighted(
            run(charge, end, channel._replace(threshold=v["more"] + channel.threshold), None), WEIGHTS
        ).sum()

    near, far = (float(total({"more": backend.asarray(np.float64(step))})) for step in (-1e-3, 1e-3))
    known = (far - near) / 2e-3
    assert known != 0.0
    assert float(backend.value_and_grad(total, {"more": np.float64(0.0)})[1]["more"]) == pytest.approx(known, rel=1e-6)
    assert float(backend.jacobian(total, {"more": np.float64(0.0)})[1]["more"]) == pytest.approx(known, rel=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at its first forward derivative
def test_second_derivatives(differentiable_backend):
    charge = pulses(50)
    backend = get_backend(differentiable_backend, dtype="float64")
    rest = map_leaves(backend.asarray, (ends(charge), channels(50), None))
    run = backend.compile(partial(digitize, electronics=ELECTRONICS, model="relaxed"))
    functions = importlib.import_module("jax" if differentiable_backend == "jax" else "torch.func")
    waves = backend.asarray(charge)

    def slope(gain):
        return functions.grad(lambda gain: weighted(run(gain * waves, *rest), WEIGHTS).sum())(gain)

    near, far = (float(slope(backend.asarray(np.float64(1.0 + step)))) for step in (-1e-7, 1e-7))
    known = (far - near) / 2e-7
    assert abs(known) > 1.0
    for twice in (functions.jacfwd(slope), functions.grad(slope)):
        assert float(twice(backend.asarray(np.float64(1.0)))) == pytest.approx(known, rel=1e-5)


def mean_and_error(values):
    return np.mean(values), np.std(values) / len(values) ** 0.5


def agree(ours, theirs):
    """Two samples of one distribution: their means and widths, within three standard errors."""
    (mean, error), (known, its_error) = mean_and_error(ours), mean_and_error(theirs)
    assert abs(mean - known) <= 3 * np.hypot(error, its_error)
    ours, theirs = (ours - mean) ** 2, (theirs - known) ** 2
    (width, error), (known, its_error) = mean_and_error(ours), mean_and_error(theirs)
    assert abs(width - known) <= 3 * np.hypot(error, its_error)


def many_draws(charge, electronics, n):
    """Hits of one pixel for `n` draws of the noise: ours, and the twin's with noise of its own."""
    rows = np.broadcast_to(charge, (n, len(charge)))
    noise = noises.draw(11, events(n), len(charge), electronics)
    rng = np.random.default_rng(12)
    lists = [
        twin.hits(charge, len(charge), electronics, twin.random_noise(rng, len(charge), electronics)) for _ in range(n)
    ]
    run = on("numpy", electronics=electronics)
    return run(rows, ends(rows), channels(n, electronics), noise), together(lists)


def test_noise_of_a_hit():
    charge = 15e3 / (1 + np.exp(-(np.arange(90.0) - 40) / 4))
    ours, theirs = many_draws(charge, NEWER, 10_000)
    agree(ours.mask[:, 0].astype(float), theirs.mask[:, 0].astype(float))
    agree(ours.mask.sum(axis=1).astype(float), theirs.mask.sum(axis=1).astype(float))
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        agree(one[:, 0][ours.mask[:, 0]], other[:, 0][theirs.mask[:, 0]])


def test_an_empty_pixel_fires_at_the_rate_of_the_twin():
    electronics = replace(NEWER, threshold=2000.0)
    ours, theirs = many_draws(np.zeros(100), electronics, 5_000)
    number = ours.mask.sum(axis=1).astype(float)
    assert 0.05 < number.mean() < 1.0
    agree(number, theirs.mask.sum(axis=1).astype(float))


def test_unknown_model_is_refused(backend):
    with pytest.raises(
        ArgumentError, match="Argument `electronics` must be one of clocked, expected, relaxed, but it is 'relax'"
    ):
        on(backend, model="relax")(np.zeros((1, 5)), np.ones(1), channels(1), None)
