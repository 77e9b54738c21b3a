"""Soft dynamic time warping of the hits of each event: Cuturi, Blondel, ICML 2017.

The sequences are the hits in the order of their pixels (`points`). Dynamic time warping has a bias, and is not even
zero between equal sequences; its divergence is: D(a, b) = S(a, b) - S(a, a) / 2 - S(b, b) / 2 (Blondel, Mensch, Vert,
AISTATS 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.backend.operations import log_sum_exp, scan, take, to_real
from larndsim.data.hits import Hits
from larndsim.errors import check_choice

from .base import CHARGE, TIME, Loss, Measured
from .points import Points, Slots, joined, padded, paired, predicted, squared_distance

FAR = 1e10  # the cost of a path that does not exist
COMPARED = {"both": ("charge", "tick"), "charge": ("charge",), "time": ("tick",)}


@dataclass(frozen=True)
class SoftDTW(Loss):
    """The divergence per hit of the target; `compare` is one of both, charge, time."""

    compare: str = "both"
    gamma: float = 1.0  # how soft the minimum is, in squared resolutions
    charge: float = CHARGE  # electrons
    time: float = TIME  # ticks
    unmatched: float = 10.0  # resolutions that a hit costs in an event where the other side has none

    free: ClassVar[tuple[str, ...]] = ("compare",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("compare", self.compare, COMPARED)

    def layout(self, prediction: Hits, target: np.ndarray, backend: Backend) -> tuple:
        slots, known = paired(prediction, target, backend)
        size = max(slots.kept.shape[0], known.real.shape[1])
        return slots, known, *map(backend.asarray, diagonals(size))

    def formula(self, measured: Measured, slots: Slots, known: Points, cell: Any, outside: Any, number: Any) -> Any:
        """Axis of `number`: (diagonal,); of `cell` and `outside`: (diagonal, row)."""
        size = cell.shape[1]
        a, b = padded(predicted(measured, slots), size), padded(known, size)
        left, right = joined(a, a, b), joined(b, a, b)
        cost = squared_distance(left, right, self._scales())
        paths = soft_paths(cost, left.counts(), right.counts(), (cell, outside, number), self.gamma)
        events = a.real.shape[0]
        apart, own, theirs = paths[:events], paths[events : 2 * events], paths[2 * events :]
        both = ep.minimum(a.counts(), b.counts()) > 0.5
        lonely = (a.counts() + b.counts()) * self.unmatched**2
        total = ep.where(both, apart - 0.5 * (own + theirs), lonely).sum()
        return total / ep.maximum(b.real.sum(), 1.0)

    def _scales(self) -> dict[str, float]:
        return {name: {"charge": self.charge, "tick": self.time}[name] for name in COMPARED[self.compare]}


def diagonals(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of a square table by anti-diagonal: flat index, and 1 outside, (diagonal, row); the diagonals' numbers."""
    number = np.arange(2 * size - 1)
    column = number[:, None] - np.arange(size)
    outside = (column < 0) | (column >= size)
    cell = np.arange(size) * size + np.clip(column, 0, size - 1)
    return cell.astype(np.int32), outside.astype(np.float64), number.astype(np.int32)


def soft_paths(cost: Any, rows: Any, columns: Any, table: tuple[Any, Any, Any], gamma: float) -> Any:
    """Soft minimum of the cost (pair, row, column) over all paths to the cell (rows, columns) of each pair: (pair,).

    R[i, j] = cost[i, j] + softmin(R[i - 1, j], R[i, j - 1], R[i - 1, j - 1]), one anti-diagonal at a time.
    """
    cell, outside, number = table
    count, size = cost.shape[:2]
    flat = cost.reshape((count, size * size)).transpose((1, 0))
    steps = take(flat, cell) + ep.expand_dims(outside, 2) * FAR
    nowhere = ep.zeros(cost, (size + 1, count)) + FAR
    origin = ep.concatenate([nowhere[:1] * 0.0, nowhere[1:]], axis=0)

    def step(carry: tuple[Any, Any], row: Any) -> tuple[tuple[Any, Any], Any]:
        before, last = carry  # the row i + 1 of each holds R[i, diagonal - i]
        least = row + softmin(last[1:], last[:-1], before[:-1], gamma=gamma)
        new = ep.concatenate([nowhere[:1], least], axis=0)
        return (last, new), least

    _, reached = scan(step, (origin, nowhere), steps)
    # the path of a pair ends on the diagonal rows + columns - 2, in the row rows - 1
    diagonal = ep.expand_dims(to_real(number, cost), 1) + 2.0
    row = ep.expand_dims(to_real(number[:size], cost), 1) + 1.0
    here = ep.expand_dims(_equal(diagonal, ep.expand_dims(rows + columns, 0)), 1)
    here = here * ep.expand_dims(_equal(row, ep.expand_dims(rows, 0)), 0)
    return (reached * here).sum(axis=(0, 1))


def softmin(*values: Any, gamma: float) -> Any:
    """-gamma log(sum of exp(-value / gamma))."""
    return log_sum_exp(ep.stack(values, axis=0) * (-1 / gamma), 0) * -gamma


def _equal(a: Any, b: Any) -> Any:
    """1 where whole numbers are equal, else 0."""
    return to_real(ep.abs(a - b) < 0.5, a)
