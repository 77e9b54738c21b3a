"""The probability of one attempt of a self-triggered pixel to make a hit, and its derivative by all that decides it.

An attempt begins with a reset, which leaves a random charge r = reset * xi on the pixel (xi: a normal number). At each
live tick the comparator sees the charge since the reset, with noise of width `comparator`; x is how far that is above
the threshold, in such widths, and Phi the normal distribution:

    it has not fired before        S(r) = product over live ticks of Phi(-x(r))
    a hit                          S(r) Phi(x(r) at its tick) times the probability that what is digitised, m + u with
                                   m(r) the charge at the end of integration, is of the recorded word and is kept
    nothing to the end             S(r)
    a failure at one of the ticks  S(r) Phi(x(r)) Phi(-x(r) at the end of integration), and what follows it

summed over the nodes of xi. What follows a failure is another attempt, with a probability that comes in from outside:
`larndsim.electronics.likelihood` puts the attempts together.

All in EagerPy, for many attempts at once. Derivatives are written out: they need the same exponentials as the value.
Axes: (attempt,), (attempt, tick), (attempt, node), (attempt, tick, node). Charges in electrons.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import erfc, expm1, log1p, log_sum_exp, matmul

LOG_NORM = 0.5 * math.log(2.0 * math.pi)
FAR = {"float32": 10.0, "float64": 30.0}  # widths from which on a tail is an asymptotic series: erfc underflows soon
SERIES = (7.0, 5.0, 3.0, 1.0)  # x Phi(-x) / phi(x) = 1 - 1/x^2 (1 - 3/x^2 (1 - 5/x^2 (1 - 7/x^2)))
TINY = 1e-37  # stands for zero in logarithms
NARROW = 1e-3  # widths of the noise: a word that lies below the threshold is held to be so wide


class Attempts(NamedTuple):
    """What decides the probability of attempts."""

    level: Any  # (attempt, tick) charge above the threshold at live ticks, without noise
    times: Any  # (attempt, tick) how many ticks it stands for: a flat piece is taken at once; 0 for padding
    stopped: Any  # (attempt, tick) charge above the threshold at the end of an integration that begins there
    log_next: Any  # (attempt, tick) logarithm of the probability of what follows a failure there
    at_hit: Any  # (attempt,) charge above the threshold at the tick of the hit
    at_stop: Any  # (attempt,) charge at the end of its integration
    low: Any  # (attempt,) the charges that are digitised to the recorded word, from low to high
    high: Any
    hit: Any  # (attempt,) 1 for an attempt that ends with a hit, 0 for one that ends in silence
    threshold: Any  # (attempt,)
    reset: Any  # (attempt,) widths of the noise
    uncorrelated: Any
    discriminator: Any


class Slopes(NamedTuple):
    """Derivatives of the logarithm of the probability of each attempt by the fields of `Attempts` of the same names.

    Those by `threshold`, `uncorrelated` and `discriminator` are of what is digitised alone; `comparator` is the width
    of the noise that the comparator sees.
    """

    level: Any
    stopped: Any
    log_next: Any
    at_hit: Any
    at_stop: Any
    low: Any
    high: Any
    threshold: Any
    reset: Any
    uncorrelated: Any
    discriminator: Any
    comparator: Any


class Grid(NamedTuple):
    """Nodes of xi, (node,), and the logarithms of their weights; points and weights on [-1, 1] for a digitised word."""

    nodes: Any
    log_weights: Any
    points: Any
    point_weights: Any


def attempt_probabilities(
    a: Attempts, grid: Grid, far: float, failing: bool, discriminating: bool
) -> tuple[Any, Slopes]:
    """The logarithm of the probability of each attempt, and its derivatives.

    `far` as in `FAR`; `failing`: whether any failure counts; `discriminating`: whether the discriminator has noise of
    its own.
    """
    comparator = ep.sqrt(a.uncorrelated**2 + a.discriminator**2)
    r = _column(a.reset) * ep.expand_dims(grid.nodes, 0)
    x = (ep.expand_dims(a.level, 2) + ep.expand_dims(r, 1)) / _block(comparator)
    times, tail, density = ep.expand_dims(a.times, 2), tails(x, far), log_normal(x)
    survived = times * tail.below
    hit = _hit(a, r, comparator, grid, far, discriminating)
    log_weights = ep.expand_dims(grid.log_weights, 0)
    ends = survived.sum(axis=1) + log_weights + hit.log
    leaves = times * ep.exp(density - tail.below)  # how fast it stops to survive, per width
    if not failing:
        value = log_sum_exp(ends, 1)
        weight = ep.exp(ends - _column(value))  # of each r, now that all is seen
        fires = -leaves * ep.expand_dims(weight, 1)
        return value, _slopes(a, grid, comparator, weight, hit, fires, None)
    lost = tails((ep.expand_dims(a.stopped, 2) + ep.expand_dims(r, 1)) / _block(comparator), far)
    until = survived.cumsum(axis=1) - survived + ep.expand_dims(log_weights, 1)
    until = until + lost.below + ep.expand_dims(a.log_next, 2)  # all of a failure but that the comparator fires
    fired = ep.where(times == 1.0, tail.above, ep.log(ep.maximum(-expm1(survived), TINY)))
    value = log_sum_exp(ep.concatenate([until + fired, ep.expand_dims(ends, 1)], axis=1).reshape((len(a.hit), -1)), 1)
    whole = _block(value)
    weight = ep.exp(ends - _column(value))
    failed = ep.where(times > 0.0, ep.exp(until + fired - whole), 0.0)
    after = ep.expand_dims(weight + failed.sum(axis=1), 1) - failed.cumsum(axis=1)  # of having survived each tick
    begins = ep.where(times > 0.0, times * ep.exp(until - whole + density + (times - 1.0) * tail.below), 0.0)
    z = (ep.expand_dims(a.stopped, 2) + ep.expand_dims(r, 1)) / _block(comparator)
    saves = -failed * ep.exp(log_normal(z) - lost.below)
    return value, _slopes(a, grid, comparator, weight, hit, begins - leaves * after, (failed, saves))


class Tails(NamedTuple):
    """The logarithms of Phi(-x) and of Phi(x)."""

    below: Any
    above: Any


def tails(x: Any, far: float) -> Tails:
    """Exact to rounding on both sides, far out as well."""
    size = ep.maximum(x, -x)
    near = 0.5 * erfc(ep.minimum(size, far) * math.sqrt(0.5))
    outer = ep.maximum(size, far)
    square, series = 1.0 / outer**2, 1.0
    for factor in SERIES:
        series = 1.0 - factor * square * series
    small = ep.where(size < far, ep.log(near), log_normal(outer) + ep.log(series / outer))
    large = log1p(-near)
    return Tails(ep.where(x > 0.0, small, large), ep.where(x > 0.0, large, small))


def log_normal(x: Any) -> Any:
    """The logarithm of the normal density."""
    return -0.5 * x * x - LOG_NORM


class Hit(NamedTuple):
    """The logarithm of the probability that a hit is made and digitised so, and its slopes. Axes: (attempt, node)."""

    log: Any
    fires: Any  # by x at the tick of the hit
    x: Any
    stop: Any  # by the charge at the end of integration
    low: Any
    high: Any
    threshold: Any
    uncorrelated: Any
    discriminator: Any


def _hit(a: Attempts, r: Any, comparator: Any, grid: Grid, far: float, discriminating: bool) -> Hit:
    x = (_column(a.at_hit) + r) / _column(comparator)
    m = _column(a.at_stop) + r
    fires = tails(x, far).above
    log, *slopes = _word_with_noise(a, m, grid, far) if discriminating else _word(a, m, far)
    hit = _column(a.hit)
    real = [hit * slope for slope in (ep.exp(log_normal(x) - fires), x, *slopes)]
    return Hit(hit * (fires + log), *real)


def _word(a: Attempts, m: Any, far: float) -> tuple[Any, ...]:
    """That m + u lies in the charges of the word that are above the threshold; slopes by m, low, high, ... of `Hit`."""
    cut = a.threshold > a.low
    low = ep.minimum(ep.where(cut, a.threshold, a.low), a.high - NARROW * a.uncorrelated)
    start, end = ((_column(edge) - m) / _column(a.uncorrelated) for edge in (low, a.high))
    log = _log_between(start, end, far)
    by_start, by_end = (ep.exp(log_normal(edge) - log) for edge in (start, end))
    wide = (start * by_start - ep.where(by_end > 0.0, end * by_end, 0.0)) / _column(a.uncorrelated)
    by_low, by_high = -by_start / _column(a.uncorrelated), by_end / _column(a.uncorrelated)
    cut = _column(ep.where(cut, ep.ones_like(a.low), ep.zeros_like(a.low)))
    return log, -by_low - by_high, (1.0 - cut) * by_low, by_high, cut * by_low, wide, 0.0 * wide


def _log_between(start: Any, end: Any, far: float) -> Any:
    """log(Phi(end) - Phi(start)), by the smaller tails."""
    turned = start + end > 0.0
    low, high = ep.where(turned, -end, start), ep.where(turned, -start, end)
    upper, lower = tails(high, far).above, tails(low, far).above
    return upper + ep.log(ep.maximum(-expm1(ep.minimum(lower - upper, 0.0)), TINY))


REACH = 8.0  # widths of the discriminator's noise: from there on it decides nothing
OPEN = 1e8  # electrons: the upper end of the last word


def _word_with_noise(a: Attempts, m: Any, grid: Grid, far: float) -> tuple[Any, ...]:
    """The same where the threshold of the discriminator is noisy, too: the integral over the digitised charge q.

    The last word of the ADC is open; its charges are far above any threshold.
    """
    u, d = a.uncorrelated, a.discriminator
    low = ep.maximum(a.low, a.threshold - REACH * d)
    width = ep.maximum(ep.where(a.high > OPEN, low, a.high) - low, NARROW * u)
    q = _column(low) + 0.5 * _column(width) * ep.expand_dims(grid.points + 1.0, 0)  # (attempt, point)
    y = (q - _column(a.threshold)) / _column(d)
    kept = tails(y, far).above
    share = ep.log(0.5 * _column(width / u) * ep.expand_dims(grid.point_weights, 0)) + kept
    z = (ep.expand_dims(q, 1) - ep.expand_dims(m, 2)) / _block(u)
    ways = log_normal(z) + ep.expand_dims(share, 1)
    log = log_sum_exp(ways, 2)
    weight = ep.exp(ways - ep.expand_dims(log, 2))
    mean, spread = (weight * z).sum(axis=2) / _column(u), ((weight * z * z).sum(axis=2) - 1.0) / _column(u)
    passes = ep.exp(log_normal(y) - kept)
    by_threshold = -(weight * ep.expand_dims(passes, 1)).sum(axis=2) / _column(d)
    by_noise = -(weight * ep.expand_dims(passes * y, 1)).sum(axis=2) / _column(d)
    edges = [_edge(edge, m, a, log, far) for edge in (low, low + width)]
    whole, by_start = _open_word(a, m, far)
    last = _column(a.high) > OPEN
    by_low = ep.where(_column(low > a.low), 0.0, -edges[0])
    closed = (log, mean, by_low, edges[1], by_threshold, spread, by_noise)
    start = (_column(a.low) - m) / _column(u)
    opened = (whole, by_start / _column(u), -by_start / _column(u), 0.0 * log, 0.0 * log, start * by_start / _column(u))
    return tuple(ep.where(last, one, other) for one, other in zip((*opened, 0.0 * log), closed, strict=True))


def _edge(edge: Any, m: Any, a: Attempts, log: Any, far: float) -> Any:
    """The density of kept charges at an edge, relative to the probability of the word."""
    z = (_column(edge) - m) / _column(a.uncorrelated)
    kept = tails((edge - a.threshold) / a.discriminator, far).above
    return ep.exp(log_normal(z) + _column(kept) - log) / _column(a.uncorrelated)


def _open_word(a: Attempts, m: Any, far: float) -> tuple[Any, Any]:
    """That m + u lies above the lower end, and its slope by how many widths m lies above it."""
    x = (m - _column(a.low)) / _column(a.uncorrelated)
    log = tails(x, far).above
    return log, ep.exp(log_normal(x) - log)


def _slopes(
    a: Attempts, grid: Grid, comparator: Any, weight: Any, hit: Hit, fires: Any, failures: tuple[Any, Any] | None
) -> Slopes:
    """Sums over the nodes: `weight` (attempt, node) of those in which nothing failed, `fires` by x at live ticks.

    `failures`: the weight of failing at each tick, and slopes by x at the end of integration.
    """
    pair = ep.stack([ep.ones_like(grid.nodes), grid.nodes], axis=1)
    both = weight.reshape((*weight.shape, 1)) * ep.expand_dims(pair, 0)  # (attempt, node, [1, xi])

    def of_hit(slope: Any) -> tuple[Any, Any]:
        sums = (ep.expand_dims(slope, 2) * both).sum(axis=1)
        return sums[:, 0], sums[:, 1]

    (by_fire, xi_fire), (by_stop, xi_stop) = of_hit(hit.fires), of_hit(hit.stop)
    reset = xi_fire / comparator + xi_stop
    wide = -of_hit(hit.fires * hit.x)[0] / comparator
    moved = []
    for place, slope in ((a.level, fires), (a.stopped, failures and failures[1])):
        if slope is None:
            moved.append(ep.zeros_like(a.level))
            continue
        sums = matmul(slope, pair) / _block(comparator)
        moved.append(sums[:, :, 0])
        reset = reset + sums[:, :, 1].sum(axis=1)
        wide = wide - ((place * sums[:, :, 0]).sum(axis=1) + a.reset * sums[:, :, 1].sum(axis=1)) / comparator
    follows = ep.zeros_like(a.level) if failures is None else failures[0].sum(axis=2)
    rest = (of_hit(each)[0] for each in (hit.low, hit.high, hit.threshold, hit.uncorrelated, hit.discriminator))
    low, high, threshold, uncorrelated, discriminator = rest
    return Slopes(  # type: ignore[call-arg]
        *moved, follows, by_fire / comparator, by_stop, low, high, threshold, reset, uncorrelated, discriminator, wide
    )


def _column(values: Any) -> Any:
    """(attempt,) -> (attempt, 1)"""
    return ep.expand_dims(values, 1)


def _block(values: Any) -> Any:
    """(attempt,) -> (attempt, 1, 1)"""
    return _column(_column(values))
