"""Noise: its distribution, and that it depends on the seed and the pixel alone."""

from __future__ import annotations

import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from larndsim.detector import Electronics
from larndsim.electronics.noise import Noise, draw, hashed, normal
from larndsim.errors import ArgumentError

ELECTRONICS = Electronics(discriminator_noise=650.0)
WIDTHS = Noise(reset=900.0, comparator=np.hypot(500.0, 650.0), digitised=500.0, discriminator=650.0)


def pixels(event, plane, ix, iy, burst=0):
    names = ("event", "plane", "ix", "iy", "burst")
    columns = np.broadcast_arrays(*(np.asarray(column, dtype=np.int64) for column in (event, plane, ix, iy, burst)))
    return SimpleNamespace(**dict(zip(names, (column.ravel() for column in columns), strict=True)))


@cache
def face(seed=1, event=0):
    """Noise of one face of 140 x 280 pixels, 100 ticks."""
    ix, iy = np.meshgrid(np.arange(140), np.arange(280), indexing="ij")
    return draw(seed, pixels(event, 0, ix, iy), 100, ELECTRONICS)


@cache
def standard(seed=1, event=0):
    """The comparator's noise of unit width. Axes: (ix, iy, tick)."""
    return face(seed, event).comparator.reshape(140, 280, 100).astype(float) / WIDTHS.comparator


def no_correlation(one, other):
    one, other = one.ravel(), other.ravel()
    assert abs(np.mean(one * other)) < 4 / one.size**0.5
    assert abs(np.mean((one**2 - 1) * (other**2 - 1))) < 4 * 2 / one.size**0.5


@pytest.mark.parametrize("kind", Noise._fields)
def test_distribution(kind):
    values = getattr(face(), kind)
    x = values.ravel() / getattr(WIDTHS, kind)
    assert values.dtype == np.float32
    assert values.shape == (140 * 280, 100 if kind == "comparator" else 20)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x.astype(float) ** power) - moment) < 4 * (variance / x.size) ** 0.5
    assert stats.kstest(x[:: max(1, x.size // 200_000)], "norm").pvalue > 1e-3
    assert 4.5 < np.abs(x).max() < 6.8


def test_pixels_and_ticks_are_independent():
    x = standard()
    for shift in (1, 2, 3, 50):
        no_correlation(x[:, :, shift:], x[:, :, :-shift])  # ticks; pairs of them come from one number
        no_correlation(x[shift:], x[:-shift])
        no_correlation(x[:, shift:], x[:, :-shift])
    no_correlation(x[1:140], x.transpose(1, 0, 2)[1:140, :280][:, :140].repeat(2, axis=1))  # (ix, iy) and (iy, ix)


def test_seeds_events_planes_and_kinds_are_independent():
    x, one = standard(), face()
    no_correlation(x, standard(seed=2))
    no_correlation(x, standard(event=1))
    other = draw(1, pixels(0, 1, np.arange(140)[:, None], np.arange(280)), 100, ELECTRONICS).comparator
    no_correlation(x, other / WIDTHS.comparator)
    for kind in ("reset", "digitised", "discriminator"):
        no_correlation(x[..., :20], getattr(one, kind) / getattr(WIDTHS, kind))
    no_correlation(one.reset / WIDTHS.reset, one.digitised / WIDTHS.digitised)
    no_correlation(one.discriminator / WIDTHS.discriminator, one.digitised / WIDTHS.digitised)


def test_columns_do_not_cancel():
    """Equal values, and values in another order, give other numbers."""
    small = np.arange(40)
    grid = [column.ravel() for column in np.meshgrid(small, small, small, indexing="ij")]
    assert len(np.unique(hashed(grid))) == 40**3


def test_a_pixel_keeps_its_noise():
    everyone = pixels(2**40 + np.arange(3)[:, None], 1, np.arange(50), 7)
    noise = draw(5, everyone, 77, ELECTRONICS)
    some = np.array([140, 3, 77])
    alone = draw(5, SimpleNamespace(**{k: v[some] for k, v in vars(everyone).items()}), 30, ELECTRONICS)
    for kind in Noise._fields:
        whole, part = getattr(noise, kind), getattr(alone, kind)
        np.testing.assert_array_equal(whole[some, : part.shape[1]], part)


def test_ticks_only_append():
    key = hashed([np.arange(1000)])
    whole = normal(key, 301)
    for length in (0, 1, 2, 150, 300):
        np.testing.assert_array_equal(normal(key, length), whole[:, :length])


def test_same_seed_same_noise():
    where = pixels(np.arange(20), 0, 3, 4)
    one, again, other = (draw(seed, where, 50, ELECTRONICS) for seed in (4, 4, 5))
    for kind in range(4):
        np.testing.assert_array_equal(one[kind], again[kind])
        assert np.all(one[kind] != other[kind])


def test_widths():
    where = pixels(np.arange(2000), 0, 3, 4)
    quiet = draw(1, where, 50, Electronics(reset_noise=0.0, uncorrelated_noise=0.0))
    assert not any(kind.any() for kind in quiet)
    assert not draw(1, where, 50, Electronics()).discriminator.any()
    modules = Electronics(reset_noise=np.array([900.0, 0.0])).per_pixel(np.arange(2000) % 2)
    noise = draw(1, where, 50, modules)
    np.testing.assert_array_equal(noise.reset[::2], draw(1, where, 50, Electronics()).reset[::2])
    assert not noise.reset[1::2].any()
    assert noise.comparator.dtype == np.float32


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_is_checked(seed):
    with pytest.raises(ArgumentError, match="Argument `seed` must be a whole number from 0 to 2"):
        draw(seed, pixels(0, 0, 0, 0), 10, ELECTRONICS)


@pytest.mark.slow
def test_speed():
    where = pixels(0, 0, np.arange(140)[:, None], np.arange(250))
    start = time.perf_counter()
    draw(1, where, 400, ELECTRONICS)
    assert time.perf_counter() - start < 5.0  # about 0.3 s where nothing else runs
