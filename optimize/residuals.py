"""What the data have and what simulated data have, side by side, at the minimum of a likelihood fit.

Hits are those of the same pixel and order. Every table is compared with others that are simulated, and with as many of
them: a simulated one with all the others, the data with all but the last. So the data are one more table of the same
kind, if the model is right, and every sum of them can be judged by those of the simulated ones.

Axes: (table,) the data, then the simulated tables; (quantity,) ADC counts and ticks; (plane,); (bin,).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from larndsim.detector import Detector
from larndsim.detector.geometry import pixel_centre

LEAST_TOYS = 3  # simulated tables: each is compared with all others but one
QUANTITIES = ("adc", "tick")
IDENTITY = ("event", "plane", "ix", "iy", "order")
DRIFT_BINS = 20
PULL_EDGES = np.linspace(-5.0, 5.0, 101)  # pulls beyond the ends count as at the ends
GRAIN = 1.0 / np.sqrt(12.0)  # counts, ticks: the spread of what is rounded to whole ones
ACCIDENT = 1.0  # of log L: what a pixel may be off by though all simulated tables agree


class Residuals(NamedTuple):
    """Counts and sums; `of_planes` and others say how to read them. Arrays of numbers alone."""

    module: np.ndarray  # (plane,)
    adc: np.ndarray  # (table, plane, word) hits
    drift_edges: np.ndarray  # (bin + 1,) cm from the anode, by the hits' z
    drift: np.ndarray  # (table, plane, bin) hits
    matched: np.ndarray  # (table, plane, bin) hits that the other tables have as well, by the mean of their z
    off: np.ndarray  # (table, quantity, plane, bin) sum of the distances of these from the mean of the others
    pulls: np.ndarray  # (table, quantity, plane, pull) of these distances, in spreads of the others: see PULL_EDGES
    pixel: np.ndarray  # (pixel, [plane, ix, iy])
    place: np.ndarray  # (pixel, [x, y]) cm
    observed: np.ndarray  # (pixel,) hits
    expected: np.ndarray  # (pixel,) hits, the mean of the simulated ones
    excess: np.ndarray  # (pixel,) by how much log L of the data is less than that of simulated ones
    pixel_pull: np.ndarray  # (pixel,) the same in its spreads
    pixel_pulls: np.ndarray  # (table, pull) of all pixels
    largest_pull: np.ndarray  # (table,) of any pixel

    @property
    def hits(self) -> np.ndarray:
        """Axes: (table, plane)."""
        return self.adc.sum(axis=2)

    def mean_off(self) -> np.ndarray:
        """Mean distance from the others; NaN where there are no hits. Axes: (table, quantity, plane, bin)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.off / self.matched[:, None]

    def widths(self) -> np.ndarray:
        """Half the distance between the 16 % and 84 % points of the pulls of all planes. Axes: (table, quantity)."""
        return _half_width(self.pulls.sum(axis=2))


class Collector:
    """Called with each batch, its tables of hits, and their log L by pixel: see `Objective.informed`."""

    def __init__(self, detector: Detector, toys: int) -> None:
        g, tables = detector.geometry, toys + 1
        self.detector, self.tables = detector, tables
        self.edges = np.linspace(0.0, float(g.drift_length.max()), DRIFT_BINS + 1)
        self.adc = np.zeros((tables, g.n_planes, detector.electronics.adc_counts))
        self.drift, self.matched = np.zeros((2, tables, g.n_planes, DRIFT_BINS))
        self.off = np.zeros((tables, len(QUANTITIES), g.n_planes, DRIFT_BINS))
        self.pulls = np.zeros((tables, len(QUANTITIES), g.n_planes, len(PULL_EDGES) - 1))
        self.flat = np.zeros(0, dtype=np.int64)
        self.log_likelihood, self.count = np.zeros((2, tables, 0))  # (table, pixel)

    def __call__(self, batch: Any, tables: tuple[np.ndarray, ...], pixels: list[np.ndarray]) -> None:
        for row, table in enumerate(tables):
            word = np.clip(table["adc"], 0, self.adc.shape[2] - 1).astype(np.int64)
            np.add.at(self.adc[row], (table["plane"], word), 1.0)
            np.add.at(self.drift[row], (table["plane"], self._drift_bin(table["plane"], table["z"])), 1.0)
        self._match(tables)
        self._add_pixels(batch.all_pixels(), tables, pixels)

    def _match(self, tables: tuple[np.ndarray, ...]) -> None:
        """Compare hits that several tables have."""
        slot, table = _slots(tables)
        every = np.concatenate(tables)
        shape = (int(slot.max(initial=-1)) + 1, len(tables))
        there, z = np.zeros((2, *shape))
        there[slot, table], z[slot, table] = 1.0, every["z"]
        plane = np.zeros(shape[0], dtype=np.int64)
        plane[slot] = every["plane"]
        found = np.maximum(there[:, 1:].sum(axis=1), 1.0)
        where = self._drift_bin(plane, z[:, 1:].sum(axis=1) / found)
        for number, quantity in enumerate(QUANTITIES):
            values = np.zeros(shape)
            values[slot, table] = every[quantity]
            for row in range(len(tables)):
                others = _others(row, len(tables))
                mean, spread, known = _moments(values[:, others], there[:, others])
                known &= there[:, row] > 0.0
                far = np.clip((values[known, row] - mean[known]) / spread[known], PULL_EDGES[0], PULL_EDGES[-1])
                place = (plane[known], where[known])
                np.add.at(self.off[row, number], place, far * spread[known])
                np.add.at(self.pulls[row, number], (plane[known], _pull_bin(far)), 1.0)
                if number == 0:
                    np.add.at(self.matched[row], place, 1.0)

    def _add_pixels(self, pixels: Any, tables: tuple[np.ndarray, ...], values: list[np.ndarray]) -> None:
        """Add log L and hits to those of the same pixels in other events."""
        known, own = self.flat, self._flat(pixels.plane, pixels.ix, pixels.iy)
        hits = [self._flat(table["plane"], table["ix"], table["iy"]) for table in tables]
        self.flat = np.union1d(known, own)
        before, after = np.searchsorted(self.flat, known), np.searchsorted(self.flat, own)
        totals = np.zeros((2, self.tables, len(self.flat)))
        totals[0][:, before], totals[1][:, before] = self.log_likelihood, self.count
        for row, (value, flat) in enumerate(zip(values, hits, strict=True)):
            np.add.at(totals[0, row], after, value)
            seen = flat[np.isin(flat, own)]
            np.add.at(totals[1, row], np.searchsorted(self.flat, seen), 1.0)
        self.log_likelihood, self.count = totals

    def spread(self) -> tuple[float, float]:
        """Standard deviation of log L of simulated tables, and its degrees of freedom (Welch and Satterthwaite).

        The noise of pixels is independent: the sum of their variances is known better than the variance of the sums.
        """
        variance = self.log_likelihood[1:].var(axis=0, ddof=1)
        total, squares = float(variance.sum()), float((variance**2).sum())
        freedom = (self.tables - 2) * (total**2 / squares if squares > 0.0 else 1.0)
        return float(np.sqrt(total)), freedom

    def result(self) -> Residuals:
        """All that was collected."""
        g = self.detector.geometry
        plane, ix, iy = np.unravel_index(self.flat, g.shape)
        pulls = [self._pixel_pulls(row) for row in range(self.tables)]
        counts = [np.bincount(_pull_bin(pull), minlength=len(PULL_EDGES) - 1) for _, pull in pulls]
        return Residuals(
            module=g.module, adc=self.adc, drift_edges=self.edges, drift=self.drift, matched=self.matched,
            off=self.off, pulls=self.pulls, pixel=np.stack([plane, ix, iy], axis=1),
            place=np.stack(pixel_centre(g, plane, ix, iy), axis=1), observed=self.count[0],
            expected=self.count[1:].mean(axis=0), excess=pulls[0][0], pixel_pull=pulls[0][1],
            pixel_pulls=np.array(counts, dtype=np.float64),
            largest_pull=np.array([pull.max(initial=0.0) for _, pull in pulls]),
        )  # fmt: skip

    def _pixel_pulls(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """How much less likely each pixel of a table is than those of others, and the same in spreads of these.

        A tick and an ADC count with normal noise give log L a variance of 1 per hit. That of few tables is uncertain:
        the mean of both is taken.
        """
        others = _others(row, self.tables)
        known, hits = self.log_likelihood[others], self.count[others].mean(axis=0)
        excess = known.mean(axis=0) - self.log_likelihood[row]
        variance = 0.5 * (known.var(axis=0, ddof=1) + hits) + ACCIDENT**2
        return excess, excess / np.sqrt(variance * (1.0 + 1.0 / len(others)))

    def _flat(self, plane: np.ndarray, ix: np.ndarray, iy: np.ndarray) -> np.ndarray:
        return np.ravel_multi_index((plane, ix, iy), self.detector.geometry.shape).astype(np.int64)

    def _drift_bin(self, plane: np.ndarray, z: np.ndarray) -> np.ndarray:
        g = self.detector.geometry
        distance = (g.anode_z[plane] - z) * g.direction[plane]
        return np.clip(np.searchsorted(self.edges, distance, side="right") - 1, 0, DRIFT_BINS - 1)


def _others(row: int, tables: int) -> list[int]:
    """The simulated tables that a table is compared with: as many for the data as for a simulated one."""
    return [other for other in range(1, tables) if other != (row or tables - 1)]


def _slots(tables: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A number for each pixel and order that any table has, and the table. Axis: (hit of all tables,)."""
    columns = np.stack([np.concatenate([table[name] for table in tables]) for name in IDENTITY])
    slot = np.unique(columns, axis=1, return_inverse=True)[1].ravel()
    return slot, np.repeat(np.arange(len(tables)), list(map(len, tables)))


def _moments(values: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, spread and whether most tables have such a hit, and at least two. Axes: (slot, table) -> (slot,)."""
    count = there.sum(axis=1)
    known = (count >= 2.0) & (count > 0.5 * there.shape[1])
    mean = (values * there).sum(axis=1) / np.maximum(count, 1.0)
    squares = (there * (values - mean[:, None]) ** 2).sum(axis=1)
    variance = squares / np.maximum(count - 1.0, 1.0) * (1.0 + 1.0 / np.maximum(count, 1.0))
    return mean, np.sqrt(variance + GRAIN**2), known


def _pull_bin(pull: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(PULL_EDGES, pull, side="right") - 1, 0, len(PULL_EDGES) - 2)


def _half_width(counts: np.ndarray) -> np.ndarray:
    """Half the distance of the 16 % and 84 % points of pulls; NaN where there are none. Last axis: bin."""
    result = np.full(counts.shape[:-1], np.nan)
    for index in np.ndindex(result.shape):
        below = np.concatenate([[0.0], np.cumsum(counts[index])])
        if below[-1] > 0.0:
            low, high = np.interp([0.1587 * below[-1], 0.8413 * below[-1]], below, PULL_EDGES)
            result[index] = 0.5 * (high - low)
    return result
