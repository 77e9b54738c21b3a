"""The expected model: how probable the first, second, ... hit of a pixel is, and its mean tick and charge.

All noise is integrated over: that of the reset, that which the comparator sees anew at each tick, and that of the
digitised value and of the threshold that it is compared with. See `expected_renewal` for how,
and `firing` for the formulae.
Axes: (pixel, hit), (pixel, hit, moment).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import Derived, with_derivative
from ..detector import Electronics
from .chip import Comparator, Cycle, Waveform
from .expected_derivative import jvp, vjp
from .expected_renewal import MOMENTS, Rows, Scheme, by_rows, moments
from .firing import Grid
from .noise import Widths

LEAST = 1e-4  # probability from which on there is such a hit
DERIVED = 2  # times what moments hold, at least, is held for their derivatives


class Found(NamedTuple):
    """The hits of each pixel, in order; zeros where `mask` is false, but the probability. Axes: (pixel, hit)."""

    tick: Any  # mean, if there is such a hit
    charge: Any  # mean
    mask: Any  # whether the hit is probable enough to be told
    probability: Any
    tick_spread: Any  # standard deviations
    charge_spread: Any


def expected_hits(waveform: Waveform, comparator: Comparator, electronics: Electronics) -> Found:
    """The hits of a cumulative charge, which alone moves them; `comparator.noise` are the widths.

    No threshold is higher than that of the electronics, or the grid would not hold the levels.
    """
    charge = waveform.charge
    scheme = Scheme(Cycle.of(electronics), Grid.of(electronics), charge.shape[1])
    rest = (comparator.until, comparator.threshold, *comparator.noise)
    found = with_derivative(_derived(scheme), charge, *rest)
    missing = scheme.cycle.hits - scheme.orders
    if missing:
        found = ep.concatenate([found, ep.zeros(found, (found.shape[0], missing, MOMENTS))], axis=1)
    probability, *sums = (found[:, :, row] for row in range(MOMENTS))
    mask = probability > LEAST
    tick, tick_square, charge, square = (ep.where(mask, each, 0.0) / ep.where(mask, probability, 1.0) for each in sums)
    spreads = (
        ep.where(mask, ep.sqrt(ep.where(mask, ep.maximum(each, 1e-12), 1.0)), 0.0)
        for each in (tick_square, square - charge * charge)
    )
    charge = ep.where(mask, charge + ep.expand_dims(comparator.threshold, 1), 0.0)
    return Found(tick, charge, mask, probability, *spreads)


@cache
def _derived(scheme: Scheme) -> Derived:
    return Derived(partial(_value, scheme), partial(_jvp, scheme), partial(_vjp, scheme), movers=1)


def _value(scheme: Scheme, *arrays: Any) -> tuple[Any, tuple[Any]]:
    """The moments of each hit; the mean ticks (pixel, hit) are kept."""
    found, mean = by_rows(partial(moments, scheme), 1, _rows(*arrays))
    return found, (mean,)


def _jvp(scheme: Scheme, arrays: tuple[Any, ...], kept: tuple[Any], step: Any) -> Any:
    """How the moments move with the waveforms, `step` (direction, pixel, tick): (direction, pixel, hit, moment)."""
    size = max(DERIVED, step.shape[0])
    moved = by_rows(partial(jvp, scheme), size, _rows(*arrays), kept[0], step.transpose((1, 0, 2)))
    return moved.transpose((1, 0, 2, 3))


def _vjp(scheme: Scheme, arrays: tuple[Any, ...], kept: tuple[Any], slope: Any, _: tuple[bool, ...]) -> tuple[Any]:
    """The transposed of `_jvp`: slopes by the moments (pixel, hit, moment) -> by the waveforms (pixel, tick)."""
    return (by_rows(partial(vjp, scheme), DERIVED, _rows(*arrays), kept[0], slope),)


def _rows(charge: Any, until: Any, threshold: Any, *widths: Any) -> Rows:
    return Rows(charge, until, threshold, Widths(*widths))
