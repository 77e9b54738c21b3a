"""Hits that no chip records are refused, each in a sentence of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import larndsim
from larndsim.data.hits import HIT_FIELDS
from larndsim.errors import ArgumentError
from optimize.hit_checks import check_hits_are_possible, early_ticks, pause_ticks
from tests.optimize.conftest import DETECTOR

STARTS = {4: 100.0}


def hits_of(ticks, orders=None, **values):
    """Hits of one pixel."""
    hits = np.zeros(len(ticks), dtype=HIT_FIELDS)
    hits["event"], hits["ix"], hits["iy"], hits["charge"], hits["adc"] = 4, 3, 5, 2e4, 90
    hits["tick"] = ticks
    hits["order"] = np.arange(len(ticks)) if orders is None else orders
    for name, column in values.items():
        hits[name] = column
    return hits


POSSIBLE = {
    "none": hits_of([]),
    "as fast as can be": hits_of(1000.0 + 28 * np.arange(10)),
    "rounded": hits_of([1000.0, 1027.0]),
    "rows in another order": hits_of([1100.0, 1000.0], orders=[1, 0]),
    "another pixel at the same time": hits_of([1000.0, 1000.0], orders=[0, 0], ix=[3, 4]),
    "another event at the same time": hits_of([1000.0, 1000.0], orders=[0, 0], event=[4, 5]),
    "real numbers": hits_of([1000.5], adc=90.25),
    "the ends of the ADC": hits_of([1000.0, 1100.0], adc=[0, 255]),
    "an event of unknown start": hits_of([-1e6], event=3),
    "just before its event": hits_of([1000.0 - 200]),
    "two bursts": hits_of([*(1000.0 + 28 * np.arange(10)), *(51000.0 + 28 * np.arange(10))]),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_may_be(name):
    before = POSSIBLE[name].copy()
    check_hits_are_possible(POSSIBLE[name], DETECTOR, STARTS)
    np.testing.assert_array_equal(POSSIBLE[name], before)


PLACE = "the first at event 4, plane 0, ix 3, iy 5, tick"
IMPOSSIBLE = [
    (hits_of([1000.0], adc=256), "hold whole ADC values from 0 to 255, but 1 are not, the first of them 256"),
    (hits_of([1000.0], adc=-1), "the first of them -1"),
    (hits_of([1000.0, 1100.0], adc=[3, 3.5]), "hold whole ADC values from 0 to 255, but 1 are not"),
    (hits_of([1000.5], adc=255.5), "hold ADC values from 0 to 255"),
    (hits_of([np.nan]), "hold hits with a finite `tick`, but 1 of 1 have none"),
    (hits_of([1000.0], charge=np.inf), "hold hits with a finite `charge`"),
    (hits_of([1000.0], adc=np.nan), "hold hits with a finite `adc`"),
    (hits_of([0.0]), f"us before the first deposit of their event, but 1 does not, {PLACE} 0. Check that `input`"),
    (
        hits_of([1000.0, 1000.0], orders=[0, 0]),
        f"occur once, by pixel, tick and order, but 1 does not, {PLACE} 1000",
    ),
    (hits_of([1000.0, 1000.0]), "occur once"),
    (hits_of([1000.0, 1100.0], orders=[0, 0]), "occur once"),
    (hits_of([1000.0, 1100.0, 1200.0], orders=[1, 0, 2]), "have an `order` that follows their ticks, but 1 does not"),
    (
        hits_of([1000.0, 1026.0]),
        f"after 28 ticks at the earliest, as this detector's chips do, but 1 does not, {PLACE} 1",
    ),
    (
        hits_of(1000.0 + 28 * np.arange(12)),
        f"number 10 per pixel at most, until the event pauses, but 2 do not, {PLACE} 128",
    ),
    (hits_of(1000.0 + 100 * np.arange(11)), "number 10 per pixel at most"),
]


@pytest.mark.parametrize(("hits", "sentence"), IMPOSSIBLE)
def test_what_cannot_be(hits, sentence):
    for rows in (hits, hits[::-1]):
        with pytest.raises(ArgumentError) as error:
            check_hits_are_possible(rows, DETECTOR, STARTS)
        assert str(error.value).startswith("Argument `data` must ")
        assert sentence in str(error.value)
        assert "\n" not in str(error.value)


def test_it_depends_on_the_detector():
    fast = replace(DETECTOR, electronics=replace(DETECTOR.electronics, hold_ticks=10, busy_ticks=0, max_hits=20))
    check_hits_are_possible(hits_of(1000.0 + 12 * np.arange(20)), fast)
    with pytest.raises(ArgumentError, match="after 12 ticks at the earliest"):
        check_hits_are_possible(hits_of([1000.0, 1010.0]), fast)
    assert 17_000 < pause_ticks(DETECTOR) < 18_000
    assert 250 < early_ticks(DETECTOR) < 350


@pytest.mark.parametrize("electronics", ["clocked", "relaxed"])
@pytest.mark.parametrize("kind", ["muons", "protons"])
def test_whatever_is_simulated_is_possible(electronics, kind):
    """Even with so much noise, and so low a threshold, that pixels fire before anything has come."""
    noisy = replace(DETECTOR.electronics, threshold=3000.0, discriminator_noise=650.0)
    detector = replace(DETECTOR, electronics=noisy)
    segments = larndsim.generate(kind, n=2, seed=3, length=30.0)
    segments = segments._replace(t=segments.t + np.where(np.arange(len(segments.t)) % 7 == 0, 5000.0, 3.0))
    starts = {int(event): segments.t[segments.event == event].min() for event in np.unique(segments.event)}
    simulator = larndsim.Simulator(detector, backend="numpy", electronics=electronics)
    hits = simulator(segments, seed=1 if electronics == "clocked" else None).numpy()
    assert len(hits) > 100 and hits["order"].max() >= 10
    check_hits_are_possible(hits, detector, starts)
