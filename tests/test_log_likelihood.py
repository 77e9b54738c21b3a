"""The likelihood of the whole chain: which hits count for which pixels, and its derivatives by parameters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import chi2

import larndsim
from larndsim import ArgumentError, Simulator
from larndsim.data.segments import concatenate
from tests import cases

PARAMETERS = cases.DETECTOR.parameters
NAMES = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
LATE = cases.segment((1.1, 2.05, 14.0), (1.9, 2.7, 15.5), t=9e3)  # a burst of its own, in the same pixels
SEGMENTS = concatenate(
    cases.CASES["oblique"], LATE, cases.segment((3.0, -4.0, 20.0), (4.5, -3.1, 23.0), event=2**24 + 1)
)
IDENTITY = ["event", "plane", "ix", "iy"]


@cache
def simulated(backend, dtype="float64", **options):
    """A simulator, a batch, and the hits of a seed."""
    sim = Simulator(cases.DETECTOR, backend, dtype=dtype, electronics="clocked", link_vdrift_eField=True, **options)
    batch = sim.prepare(SEGMENTS, vary=NAMES)
    return sim, batch, sim.hits(batch, seed=3)


def value(sim, batch, hits, parameters=None):
    return sim.backend.numpy(sim.log_likelihood(batch, hits, parameters))


def close(one, other):
    """But for rounding, which depends on what is computed together."""
    return np.isclose(one, other, rtol=1e-12, atol=1e-12)


def test_each_hit_counts_for_its_own_pixel(backend):
    """In the order of the waveforms; pixels without hits are silent, and hits without pixels are left out."""
    sim, batch, hits = simulated(backend)
    table, waveforms, everything = hits.numpy(), sim.charge(batch), value(sim, batch, hits)
    silent = value(sim, batch, table[:0])
    assert everything.shape == (len(waveforms.event),) and np.isfinite(everything).all()
    burst = table["order"] // 10
    assert set(burst) == {0, 1}
    where = np.stack([getattr(waveforms, name) for name in (*IDENTITY, "burst")], axis=1)
    recorded = {tuple(row) for row in np.stack([*(table[name] for name in IDENTITY), burst], axis=1).tolist()}
    has = np.array([tuple(row) in recorded for row in where.tolist()])
    np.testing.assert_array_equal(~close(everything, silent), has)
    for name, number in zip(("event", "ix", "plane"), (7, 1000, 3), strict=True):
        moved = table.copy()
        moved[name] += number
        np.testing.assert_array_equal(value(sim, batch, np.concatenate([moved, table])), everything)
    for row in np.flatnonzero(has)[::5]:
        own = np.all([table[name] == where[row, at] for at, name in enumerate(IDENTITY)], axis=0)
        alone = value(sim, batch, table[own & (burst == where[row, 4])])
        np.testing.assert_array_equal(np.flatnonzero(~close(alone, silent)), [row])
        assert close(alone[row], everything[row])


def test_what_was_recorded_is_likelier_than_what_was_not(backend):
    sim, batch, hits = simulated(backend)
    table = hits.numpy()
    known = value(sim, batch, table).sum()
    for change in ({"tick": 5.0}, {"tick": -5.0}, {"adc": 3.0}, {"adc": -3.0}, {"tick": -40.0}):
        moved = table.copy()
        for name, step in change.items():
            moved[name] = moved[name] + step if name == "tick" else np.maximum(moved[name] + step, 0.0)
        other = value(sim, batch, moved).sum()
        assert np.isfinite(other) and other < known - 5.0
    assert value(sim, batch, table[:0]).sum() < known - 100.0


def test_all_ways_to_give_hits(backend):
    """As they come from the simulator, as a table, shuffled, in single precision; several tables at once; again."""
    sim, batch, hits = simulated(backend)
    known, table = value(sim, batch, hits), hits.numpy()
    shuffled = table[np.random.default_rng(1).permutation(len(table))]
    other = sim.hits(batch, seed=4).numpy()
    for each in (table, shuffled, table, hits):
        np.testing.assert_array_equal(value(sim, batch, each), known)
    together = sim.log_likelihood(batch, (table, other, table[:0], hits))
    alone = [value(sim, batch, each) for each in (table, other, table[:0], hits)]
    assert isinstance(together, tuple)
    np.testing.assert_array_equal([sim.backend.numpy(each) for each in together], alone)
    single, its_batch, _ = simulated(backend, "float32")
    np.testing.assert_allclose(value(single, its_batch, table), known, rtol=2e-3, atol=2e-3)
    drawn = single.hits(its_batch, seed=3)
    np.testing.assert_array_equal(value(single, its_batch, drawn), value(single, its_batch, drawn.numpy()))


def test_parts_change_nothing(backend):
    names = "oblique", "on a pixel edge", "across the anode", "along the drift"
    segments, found = concatenate(*(cases.CASES[name] for name in names)), []
    hits = simulated(backend)[0](segments, seed=5).numpy()
    for memory in ("2GB", "1kB"):
        sim = Simulator(cases.DETECTOR, backend, dtype="float64", electronics="clocked", memory=memory)
        batch = sim.prepare(segments, vary=())
        assert (len(batch.parts) > 1) == (memory == "1kB")
        found.append(by_pixel(sim, batch, hits))
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-6)


def by_pixel(sim, batch, hits):
    """Sorted by who the pixels are: parts have another order."""
    pixels = batch.all_pixels()
    return value(sim, batch, hits)[np.lexsort([pixels.burst, pixels.iy, pixels.ix, pixels.plane, pixels.event])]


def test_nothing_is_seen(backend):
    sim, _, hits = simulated(backend)
    nothing = sim.prepare(cases.SILENT["outside every TPC"])
    assert value(sim, nothing, hits).shape == (0,)
    both = sim.log_likelihood(nothing, (hits, hits.numpy()))
    assert [len(each) for each in both] == [0, 0]


def test_channels_that_are_off_say_nothing(backend):
    hits = simulated(backend)[2]
    off = np.ones(cases.GEOMETRY.shape, dtype=bool)
    dead = Simulator(cases.DETECTOR, backend, dtype="float64", electronics="clocked", bad_channels=off)
    assert not value(dead, dead.prepare(SEGMENTS, vary=()), hits).any()


def test_what_cannot_be_is_refused(backend):
    sim, batch, hits = simulated(backend)
    table = hits.numpy()
    table["tick"][1] += 0.25
    sentence = rf"`hits` must have whole ticks for a likelihood, but 1 of {len(table)} are not, the first of them "
    with pytest.raises(ArgumentError, match=sentence + r".*\.25\. Simulate them with `clocked`\."):
        sim.log_likelihood(batch, table)
    table = hits.numpy()
    table["adc"][1] += 0.5
    with pytest.raises(ArgumentError, match=r"`adc` must hold whole ADC values from 0 to 255, but 1 are not"):
        sim.log_likelihood(batch, table)
    quiet = replace(cases.DETECTOR, electronics=replace(cases.DETECTOR.electronics, uncorrelated_noise=0.0))
    silent = Simulator(quiet, backend)
    sentence = r"`uncorrelated_noise` must be greater than 0 for a likelihood, but it is 0 in some pixels\."
    with pytest.raises(ArgumentError, match=sentence):
        silent.log_likelihood(silent.prepare(SEGMENTS), hits)


def test_what_no_chip_records_is_refused():
    sim, batch, hits = simulated("numpy")
    table = hits.numpy()
    several = next(index for index in range(1, len(table)) if table["order"][index] == 1)  # of its pixel
    twice, gap, close, far, negative = (table.copy() for _ in range(5))
    twice = np.concatenate([twice, twice[:1]])
    gap = np.delete(gap, several - 1)
    close["tick"][several] = close["tick"][several - 1] + 5.0
    far["tick"][several] = 1e12
    negative["order"][several - 1] = -1
    for wrong in (twice, gap, negative):
        with pytest.raises(ArgumentError, match="`hits` must be all that their pixels recorded, each once, numbered"):
            sim.log_likelihood(batch, wrong)
    with pytest.raises(ArgumentError, match="`hits` must follow each other in a pixel after 28 ticks at the earliest"):
        sim.log_likelihood(batch, close)
    with pytest.raises(ArgumentError, match="`hits` must come within 1000000 ticks of"):
        sim.log_likelihood(batch, far)


VARIED = ("Ab", "lifetime", "long_diff", "tran_diff")


@cache
def total(backend):
    """log L of all pixels together, as a function of the parameters; the discriminator has noise of its own."""
    electronics = replace(cases.DETECTOR.electronics, discriminator_noise=650.0, threshold=5000.0)
    detector = replace(cases.DETECTOR, electronics=electronics)
    sim = Simulator(detector, backend, dtype="float64", electronics="clocked", link_vdrift_eField=True)
    batch = sim.prepare(SEGMENTS, vary=VARIED)
    hits = Simulator(detector, "numpy", electronics="clocked", link_vdrift_eField=True)(SEGMENTS, seed=3).numpy()
    return sim, lambda parameters: sim.log_likelihood(batch, hits, parameters).sum()


@cache
def differences():
    function, found = total("numpy")[1], {}
    for name in VARIED:
        nominal = getattr(PARAMETERS, name)
        # so small that no window of a waveform begins a tick later; what moves it little needs more, or rounding shows
        step = (1e-5 if name.endswith("_diff") else 1e-6) * nominal
        at = {k: float(function(PARAMETERS._replace(**{name: nominal + k * step}))) for k in (-2, -1, 1, 2)}
        found[name] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
    return found


@cache
def slopes(backend, derive):
    sim, function = total(backend)
    value, found = derive(function, PARAMETERS, VARIED, sim.backend)
    return float(value), {name: float(found[name]) for name in VARIED}


@pytest.mark.parametrize("derive", [larndsim.jacobian, larndsim.value_and_grad])
def test_derivatives_by_parameters(differentiable_backend, derive):
    value, found = slopes(differentiable_backend, derive)
    assert value == pytest.approx(float(total("numpy")[1](PARAMETERS)), rel=1e-9)
    assert found == pytest.approx(differences(), rel=1e-6)
    assert found == pytest.approx(slopes("torch", derive)[1], rel=1e-8)  # and the backends agree


def test_scores_of_many_draws_are_zero_on_average():
    """At the values with which they were simulated, by six parameters at once: chi2."""
    sim, batch, _ = simulated("torch")
    tables = tuple(sim.hits(batch, seed=seed).numpy() for seed in range(60))
    _, columns = larndsim.jacobian(
        lambda p: tuple(each.sum() for each in sim.log_likelihood(batch, tables, p)), PARAMETERS, NAMES, sim.backend
    )
    scores = np.array([[float(each) for each in columns[name]] for name in NAMES])
    mean, covariance = scores.mean(axis=1), np.cov(scores) / len(tables)
    assert chi2.sf(mean @ np.linalg.solve(covariance, mean), len(NAMES)) > 1e-3
