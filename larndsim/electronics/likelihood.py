"""The likelihood of what pixels record: of the ticks and ADC words of their hits, and of their silence.

Noise is integrated over, exactly: each piece of what a pixel recorded is a sum over attempts (`renewal`), the
probability of an attempt is a sum over its reset noise (`passage`). What comes out is, per pixel, the logarithm of the
probability, and its derivatives by the waveform and by threshold, gain, pedestal and the widths of the noise. No hits
are matched, and everything is smooth.

The attempts are laid out anew for each waveform, by NumPy; their probabilities are computed on the device, in chunks of
a few shapes, so that memory is bounded. Axes: (pixel,), (pixel, tick), (attempt,), (tick,) as in `renewal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..backend import Backend
from .chip import Cycle
from .passage import FAR, OPEN, REACH, Attempts, Grid, Slopes, attempt_probabilities
from .renewal import NEVER, SURE, Noise, Padded, Pieces, Quadrature, Seen, Ticks, all_attempts, levels

SHORTEST, RATIO = 32, 4  # ticks that attempts are padded to where shapes are compiled: few lengths, far apart
NUMBERS = 2**18  # of a chunk: they stay in the caches of a processor
COMPILED_NUMBERS = 2**17  # of one whose shape is compiled, which has rows to spare
LANES = 8  # numbers that a processor computes at once: the nodes come in so many
OPEN_END = 1e9  # electrons: stands for the open ends of the ADC
IMPOSSIBLE = -1e30  # the logarithm of a probability of zero
WORD_POINTS = 12  # of the integral over the charges of a word, at least
SHARP = 0.03  # of the noise on what is digitised: a threshold that is less noisy is as good as sharp (1e-4)
POINTS_PER_WIDTH = 1.4  # of the narrowest there: exact to 3e-6 for words of 8 to 60 widths


class Likelihood(NamedTuple):
    """The logarithm of the probability of what each pixel recorded, and its derivatives.

    `low` and `high` are those by the charges of the recorded words, whose ends move with gain and pedestal.
    """

    value: np.ndarray  # (pixel,)
    charge: np.ndarray  # (pixel, tick)
    threshold: np.ndarray  # (pixel,) as the next three
    reset: np.ndarray
    uncorrelated: np.ndarray
    discriminator: np.ndarray
    low: np.ndarray  # (pixel, hit)
    high: np.ndarray


def likelihood(seen: Seen, noise: Noise, cycle: Cycle, backend: Backend, q: Quadrature | None = None) -> Likelihood:
    """What the pixels have `seen`, as likely as it is."""
    q = q or Quadrature()
    attempts, ticks = all_attempts(seen, noise, cycle, q)
    table = _Table(attempts, ticks, seen, noise, cycle)
    grid = grid_of(noise, q, widest_word(seen, noise))
    on_device, level = backend.put(grid), levels(attempts, ticks)
    for generation in range(int(level.max(initial=-1)) + 1):
        for chunk in table.chunks(np.flatnonzero(level == generation), grid, backend.compiles_shapes):
            run = _compiled(backend, chunk.failing, chunk.discriminating)
            value, slopes = run(backend.put(chunk.inputs), on_device)
            table.keep(chunk, backend.numpy(value), Slopes(*map(backend.numpy, slopes)))
    return table.of_pixels(table.weights(level))


@cache
def _probabilities(dtype: str, failing: bool, discriminating: bool) -> Callable[..., Any]:
    return partial(attempt_probabilities, far=FAR[dtype], failing=failing, discriminating=discriminating)


def _compiled(backend: Backend, failing: bool, discriminating: bool) -> Callable[..., Any]:
    return backend.compile(_probabilities(backend.dtype, failing, discriminating))


def grid_of(noise: Noise, q: Quadrature, words: float = 0.0) -> Grid:
    """The nodes of the reset noise: dense enough for its own width, and for that of what is digitised.

    `words`: the `widest_word`, which decides how many points there are in each.
    """
    finest = float((noise.uncorrelated / np.maximum(noise.reset, 1e-9)).min(initial=np.inf))
    count = LANES * int(np.ceil(2.0 * q.reach / min(q.step, q.fine * finest) / LANES))
    nodes = q.reach * ((2.0 * np.arange(count) + 1.0) / count - 1.0)  # the middles of equal steps
    log_weights = -0.5 * nodes**2 - np.log(np.exp(-0.5 * nodes**2).sum())
    points = WORD_POINTS
    while points < POINTS_PER_WIDTH * words:
        points *= 2
    return Grid(nodes, log_weights, *np.polynomial.legendre.leggauss(points))


def widest_word(seen: Seen, noise: Noise) -> float:
    """The widest recorded word that is integrated over, in widths of what varies within it."""
    d = noise.discriminator[:, None]
    integrated = (np.arange(seen.low.shape[1]) < seen.count[:, None]) & (seen.high < OPEN)
    integrated &= d > SHARP * noise.uncorrelated[:, None]
    wide = seen.high - np.maximum(seen.low, noise.threshold[:, None] - REACH * d)
    finest = 1.0 / np.hypot(1.0 / noise.uncorrelated[:, None], 1.0 / np.where(integrated, d, 1.0))
    return float(np.where(integrated, wide / finest, 0.0).max(initial=0.0))


class Chunk(NamedTuple):
    """Attempts that are computed at once."""

    rows: np.ndarray  # (attempt,) which ones; the inputs may have more rows
    place: np.ndarray  # (attempt, tick) which live ticks; -1 for padding
    failing: bool
    discriminating: bool  # whether the discriminator has noise of its own
    inputs: Attempts


class _Table:
    """All attempts of some pixels, and what is found of them, generation by generation."""

    def __init__(self, attempts: Pieces, ticks: Ticks, seen: Seen, noise: Noise, cycle: Cycle) -> None:
        self.attempts, self.ticks, self.seen, self.noise, self.cycle = attempts, ticks, seen, noise, cycle
        self.padded = Padded(np.concatenate([np.zeros((len(seen.charge), 1)), seen.charge], axis=1))
        a, count = attempts, len(attempts.pixel)
        self.base = self.padded.at(a.pixel, a.base)
        self.threshold = noise.threshold[a.pixel]
        self.value = np.zeros(count)
        self.slopes = {name: np.zeros(count) for name in Slopes._fields[3:]}
        self.tick_slopes = {name: np.zeros(len(ticks.column)) for name in Slopes._fields[:3]}
        of_tick = self.base[ticks.attempt] + self.threshold[ticks.attempt]
        self.level = self.padded.at(a.pixel[ticks.attempt], ticks.column) - of_tick
        self.stopped = self.padded.at(a.pixel[ticks.attempt], ticks.column + cycle.hold) - of_tick
        self.first = np.searchsorted(ticks.attempt, np.arange(count + 1))  # of the ticks of each attempt
        self.fails = np.zeros(count, dtype=bool)
        self.fails[ticks.attempt[ticks.follows != NEVER]] = True

    def chunks(self, chosen: np.ndarray, grid: Grid, compiled: bool) -> Iterator[Chunk]:
        """Some attempts, sorted by kind and length; where shapes are `compiled`, padded to a few of them."""
        lengths, nodes = np.diff(self.first), len(grid.nodes)
        noisy = (self.noise.discriminator > SHARP * self.noise.uncorrelated)[self.attempts.pixel]
        chosen = chosen[(lengths[chosen] > 0) | (self.attempts.hit[chosen] >= 0)]  # the others are silent for sure
        for failing, discriminating in product((False, True), repeat=2):
            rows = chosen[(self.fails[chosen] == failing) & (noisy[chosen] == discriminating)]
            rows = rows[np.argsort(lengths[rows], kind="stable")]
            while len(rows):
                points = len(grid.points) if discriminating else 1
                length, taken, held = _shape(lengths[rows], nodes, points, compiled)
                yield self._chunk(rows[:taken], length, held, (failing, discriminating))
                rows = rows[taken:]

    def _chunk(self, rows: np.ndarray, length: int, held: int, kind: tuple[bool, bool]) -> Chunk:
        """Attempts as arrays of `held` rows and `length` ticks; `kind`: whether failing, and discriminating."""
        padded = np.concatenate([rows, np.full(held - len(rows), rows[0])])
        place = self.first[padded, None] + np.arange(length)
        inside = place < self.first[padded + 1, None]
        place = np.where(inside, place, 0 if len(self.level) else -1)
        a, pixel, number = self.attempts, self.attempts.pixel[padded], np.maximum(self.attempts.hit[padded], 0)
        base, threshold, hit = self.base[padded], self.threshold[padded], a.hit[padded] >= 0

        def of_ticks(values: np.ndarray) -> np.ndarray:
            return np.where(inside, values[place], 0.0) if len(values) else np.zeros(place.shape)

        inputs = Attempts(
            level=of_ticks(self.level),
            times=of_ticks(self.ticks.times),
            stopped=of_ticks(self.stopped),
            log_next=np.where(inside, self._log_next(place), 0.0) if kind[0] else np.zeros(place.shape),
            at_hit=np.where(hit, self.padded.at(pixel, a.stop[padded]) - base - threshold, 0.0),
            at_stop=np.where(hit, self.padded.at(pixel, a.stop[padded] + self.cycle.hold) - base, 0.0),
            low=np.clip(self.seen.low[pixel, number], -OPEN_END, OPEN_END),
            high=np.clip(self.seen.high[pixel, number], -OPEN_END, OPEN_END),
            hit=hit.astype(np.float64),
            threshold=threshold,
            **{name: getattr(self.noise, name)[pixel] for name in ("reset", "uncorrelated", "discriminator")},
        )
        return Chunk(rows, np.where(inside, place, -1)[: len(rows)], *kind, inputs)

    def _log_next(self, place: np.ndarray) -> np.ndarray:
        """The logarithm of the probability of what follows a failure at some ticks, interpolated between the nodes."""
        ticks = self.ticks
        follows, part = ticks.follows[place], ticks.part[place]
        first, second = (self.value[np.maximum(each[place], 0)] for each in (ticks.follows, ticks.other))
        known = first + part * (second - first)
        return np.where(follows >= 0, known, np.where(follows == SURE, 0.0, IMPOSSIBLE))

    def keep(self, chunk: Chunk, value: np.ndarray, slopes: Slopes) -> None:
        """What was found of a chunk."""
        count, real = len(chunk.rows), chunk.place >= 0
        self.value[chunk.rows] = value[:count]
        for name, own in self.slopes.items():
            own[chunk.rows] = getattr(slopes, name)[:count]
        for name, own in self.tick_slopes.items():
            own[chunk.place[real]] = getattr(slopes, name)[:count][real]

    def weights(self, level: np.ndarray) -> np.ndarray:
        """How much each attempt counts for what its pixel recorded. Axis: (attempt,)."""
        weight = (self.attempts.piece == np.arange(len(level))).astype(np.float64)
        followed = np.flatnonzero(self.ticks.follows >= 0)
        for generation in range(int(level.max(initial=0)), 0, -1):
            own = followed[level[self.ticks.attempt[followed]] == generation]
            parts, share = weight[self.ticks.attempt[own]] * self.tick_slopes["log_next"][own], self.ticks.part[own]
            np.add.at(weight, self.ticks.follows[own], (1.0 - share) * parts)
            np.add.at(weight, self.ticks.other[own], share * parts)
        return weight

    def of_pixels(self, weight: np.ndarray) -> Likelihood:
        """Sums over the attempts of each pixel."""
        a, pixels = self.attempts, len(self.seen.count)
        first = a.piece == np.arange(len(a.piece))
        s = {name: weight * values for name, values in self.slopes.items()}
        level, stopped = (weight[self.ticks.attempt] * self.tick_slopes[name] for name in ("level", "stopped"))
        both = np.bincount(self.ticks.attempt, level + stopped, minlength=len(weight)) + s["at_hit"]
        of_pixel = partial(np.bincount, a.pixel, minlength=pixels)
        share = self.noise.uncorrelated / self.noise.comparator, self.noise.discriminator / self.noise.comparator
        by_comparator = of_pixel(s["comparator"])
        return Likelihood(
            value=np.bincount(a.pixel[first], self.value[first], minlength=pixels),
            charge=self._by_charge(level, stopped, both, s),
            threshold=of_pixel(s["threshold"] - both),
            reset=of_pixel(s["reset"]),
            uncorrelated=of_pixel(s["uncorrelated"]) + share[0] * by_comparator,
            discriminator=of_pixel(s["discriminator"]) + share[1] * by_comparator,
            low=self._of_hits(s["low"]),
            high=self._of_hits(s["high"]),
        )

    def _by_charge(
        self, level: np.ndarray, stopped: np.ndarray, both: np.ndarray, s: dict[str, np.ndarray]
    ) -> np.ndarray:
        """By each column of the waveforms. Axes: (pixel, tick)."""
        a, pixel = self.attempts, self.attempts.pixel[self.ticks.attempt]
        read = [
            (pixel, self.ticks.column, level),
            (pixel, self.ticks.column + self.cycle.hold, stopped),
            (a.pixel, a.base, -both - s["at_stop"]),
            (a.pixel, a.stop, s["at_hit"]),
            (a.pixel, a.stop + self.cycle.hold, s["at_stop"]),
        ]
        rows, columns = self.padded.charge.shape
        index = np.concatenate([row * columns + self.padded.place(column) for row, column, _ in read])
        values = np.concatenate([values for _, _, values in read])
        return np.bincount(index, values, minlength=rows * columns).reshape(rows, columns)[:, 1:]

    def _of_hits(self, values: np.ndarray) -> np.ndarray:
        """Sums over the attempts that end with each hit. Axes: (pixel, hit)."""
        rows, hits = self.seen.low.shape
        ended = self.attempts.hit >= 0
        index = self.attempts.pixel[ended] * hits + self.attempts.hit[ended]
        return np.bincount(index, values[ended], minlength=rows * hits).reshape(rows, hits)


def _shape(lengths: np.ndarray, nodes: int, points: int, compiled: bool) -> tuple[int, int, int]:
    """The ticks of the next chunk of attempts whose `lengths` rise; how many it takes, and how many rows it has.

    Each attempt has its ticks, or the `points` of its word, times the `nodes`.
    """
    if compiled:
        length = SHORTEST
        while length < lengths[0]:
            length *= RATIO
        rows = max(COMPILED_NUMBERS // (max(length, points) * nodes), 1)
        return length, min(int(np.searchsorted(lengths, length, side="right")), rows), rows
    total = np.maximum(lengths, points) * np.arange(1, len(lengths) + 1) * nodes
    count = max(int(np.searchsorted(total, NUMBERS, side="right")), 1)
    return max(int(lengths[count - 1]), 1), count, count
