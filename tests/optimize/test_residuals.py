"""What is compared at the end of a likelihood fit: sums of hits of the data and of simulated ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from larndsim.data.hits import HIT_FIELDS
from optimize.residual_plots import _rebinned, draw_residuals, off_by
from optimize.residuals import DRIFT_BINS, PULL_EDGES, Collector, _half_width
from tests.optimize.conftest import DETECTOR

TOYS = 6
PIXELS = 40
WIDTHS = {"adc": 3.0, "tick": 5.0}


def table(rng, noise=1.0, shift=0.0, lost=()):
    """One hit in each pixel of a diagonal, 10 ADC counts more from one to the next."""
    found = np.zeros(PIXELS, dtype=HIT_FIELDS)
    number = np.arange(PIXELS)
    found["plane"], found["ix"], found["iy"] = number % 2, number, number
    found["adc"] = np.rint(80 + number + shift + noise * WIDTHS["adc"] * rng.normal(size=PIXELS))
    found["tick"] = np.rint(500 + 10 * number + noise * WIDTHS["tick"] * rng.normal(size=PIXELS))
    found["z"] = DETECTOR.drift_z(found["plane"], found["tick"])
    return found[~np.isin(number, lost)]


def collected(batches=30, toys=TOYS, likelihood=None, **data):
    rng, collector = np.random.default_rng(1), Collector(DETECTOR, toys)
    number = np.arange(PIXELS)
    pixels = SimpleNamespace(plane=number % 2, ix=number, iy=number)
    batch = SimpleNamespace(all_pixels=lambda: pixels)
    for event in range(batches):
        tables = (table(rng, **data), *(table(rng) for _ in range(toys)))
        for one in tables:
            one["event"] = event
        values = [-0.5 * rng.chisquare(2, PIXELS) for _ in tables]
        if likelihood is not None:
            values[0] = values[0] + likelihood
        collector(batch, tables, values)
    return collector.result()


def test_counts():
    r = collected(batches=3, lost=(0, 1, 2))
    assert r.hits.tolist() == [[3 * 18, 3 * 19], *[[60, 60]] * TOYS]
    assert r.adc.shape == (1 + TOYS, 2, 256)
    np.testing.assert_array_equal(r.drift.sum(axis=2), r.hits)
    np.testing.assert_array_equal(r.matched.sum(axis=2), r.hits)
    assert len(r.pixel) == PIXELS
    np.testing.assert_array_equal(np.sort(r.observed), [0] * 3 + [3] * (PIXELS - 3))
    np.testing.assert_array_equal(r.expected, 3)
    g = DETECTOR.geometry
    plane, ix, _ = r.pixel.T
    np.testing.assert_allclose(r.place[:, 0], g.x_low[plane] + g.pitch[plane] * (ix + 0.5))


def test_each_table_is_compared_with_as_many_others():
    """A simulated one with all the others, the data with all but the last."""
    r = collected()
    assert r.widths().shape == (1 + TOYS, 2)
    np.testing.assert_allclose(r.widths(), r.widths().mean(), rtol=0.12)
    np.testing.assert_allclose(r.widths().mean(), 1.0, atol=0.15)


def test_a_shift_is_seen_against_drift_distance():
    r = collected(shift=4.0)
    matched = r.matched.sum(axis=1)
    mean = r.off.sum(axis=2) / np.maximum(matched, 1.0)[:, None]
    filled = matched[0] > 0
    np.testing.assert_allclose(mean[0, 0, filled], 4.0, atol=0.8)
    assert np.abs(mean[1:, 0, filled].mean(axis=0)).max() < 0.5
    assert np.abs(mean[0, 1, filled]).max() < 1.5
    assert np.isnan(r.mean_off()[0, 0, 0, DRIFT_BINS - 1])


def test_noise_widens_the_pulls():
    ratio = collected(noise=1.5).widths()
    assert ratio[0] / ratio[1:].mean(axis=0) == pytest.approx([1.45, 1.45], abs=0.12)


def test_an_unlikely_pixel_stands_out():
    bad = np.zeros(PIXELS)
    bad[7] = -3.0  # in each event
    r = collected(likelihood=bad)
    assert np.argmax(r.pixel_pull) == np.flatnonzero(r.pixel[:, 1] == 7)[0]
    assert r.largest_pull[0] > 2.0 * r.largest_pull[1:].max()
    assert r.excess.max() == pytest.approx(90.0, rel=0.2)
    np.testing.assert_array_equal(r.pixel_pulls.sum(axis=1), PIXELS)


def test_the_spread_of_the_likelihood_is_that_of_independent_pixels():
    rng, widths = np.random.default_rng(2), np.linspace(0.1, 3.0, PIXELS)
    pixels = SimpleNamespace(plane=np.zeros(PIXELS, int), ix=np.arange(PIXELS), iy=np.arange(PIXELS))
    spreads = []
    for _ in range(20):
        collector = Collector(DETECTOR, 12)
        nothing = tuple(table(rng)[:0] for _ in range(13))
        collector(
            SimpleNamespace(all_pixels=lambda: pixels), nothing, [widths * rng.normal(size=PIXELS) for _ in nothing]
        )
        spreads.append(collector.spread())
    expected = np.sqrt((widths**2).sum())
    spread, freedom = np.array(spreads).T
    assert spread.mean() == pytest.approx(expected, rel=0.03)
    assert spread.std() < 2.0 * expected / np.sqrt(2.0 * freedom.mean())
    assert freedom.mean() == pytest.approx(11 * (widths**2).sum() ** 2 / (widths**4).sum(), rel=0.3)


def test_hits_that_others_lack_are_not_compared():
    r, rng = Collector(DETECTOR, 3), np.random.default_rng(0)
    pixels = SimpleNamespace(plane=np.array([0]), ix=np.array([0]), iy=np.array([0]))
    batch = SimpleNamespace(all_pixels=lambda: pixels)
    only = table(rng)[:1]
    r(batch, (only, only[:0], only[:0], only), [np.zeros(1)] * 4)
    assert r.result().matched.sum() == 0
    assert np.isnan(r.result().widths()).all()
    assert r.result().hits.sum() == 2


def test_half_width_of_a_normal_distribution():
    counts = np.histogram(np.random.default_rng(0).normal(size=200_000) * 1.3, PULL_EDGES)[0]
    assert _half_width(counts[None])[0] == pytest.approx(1.3, rel=0.01)


def test_off_by_in_spreads():
    counts = np.array([[12.0, 3.0], [9.0, 2.0], [10.0, 2.0], [11.0, 2.0]])
    assert off_by(counts)[0] == pytest.approx(2.0 / np.sqrt(4 / 3))
    assert np.isnan(off_by(counts)[1])


def test_bins_of_a_spectrum_hold_all_hits():
    counts = np.zeros((2, 256))
    counts[:, 70], counts[0, 255] = 4.0, 1.0
    middles, found = _rebinned(counts)
    assert len(middles) == found.shape[1] <= 32
    assert found.sum(axis=1).tolist() == [5.0, 4.0]
    assert middles[0] == pytest.approx(70 + 2.5)


def test_pictures():
    pytest.importorskip("matplotlib")
    r = collected(batches=4)
    figures = draw_residuals(r)
    assert set(figures) == {"hits", "spectrum", "drift", "pulls", "pixels"}
    hits, drift = figures["hits"].axes[0], figures["drift"].axes
    (points,) = [line for line in hits.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points.get_ydata(), r.hits[0] / r.hits[1:].mean(axis=0))
    assert drift[0].get_title(loc="left") == "module 0, plane 0"
    assert [axis.get_ylabel() for axis in drift[2:5:2]] == ["data - expected\n[ADC counts]", "data - expected\n[ticks]"]
    assert len(figures["pixels"].axes) == 3  # two planes and the colours
    for name, figure in figures.items():
        labelled = [axis for axis in figure.axes if axis.get_xlabel() or axis.get_ylabel()]
        assert labelled, name


def test_pictures_of_few_hits():
    """Empty planes and bins leave no warning."""
    pytest.importorskip("matplotlib")
    r = collected(batches=1)
    draw_residuals(r._replace(adc=r.adc * np.array([1, 0])[:, None], drift=r.drift * np.array([1, 0])[:, None]))
