"""The hits of each event as points, padded to one number: what losses that match whole events work with.

Axes: (event, hit). The hits of an event stand in the order of their pixels, so neighbours in the sequence are
neighbours on the plane, and the order does not depend on any parameter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend
from larndsim.backend.operations import constant, take, take_along, to_real
from larndsim.data.hits import Hits

from .base import Measured, check_hits, on_steps

ORDER = ("order", "iy", "ix", "plane", "event")  # the last one decides first
SPARE = 16  # predicted hits that are kept beyond one and a half times as many as the target has in an event


class Points(NamedTuple):
    """Hits of several events. Axes: (event, hit)."""

    x: Any  # cm
    y: Any
    z: Any
    charge: Any  # electrons
    tick: Any  # from the event's reference
    real: Any  # 1, or 0 for padding

    def counts(self) -> Any:
        """Hits of each event (event,)."""
        return self.real.sum(axis=1)


class Slots(NamedTuple):
    """Where a prediction's slots for hits stand in their events."""

    index: Any  # (event, place) the slot; one beyond the last for padding
    x: Any  # (event, place)
    y: Any
    lag: Any  # (event, place) ticks from the event's reference to the slot's
    kept: Any  # (hit,) 0, 1, ... as many hits as an event may have


def paired(prediction: Hits, target: np.ndarray, backend: Backend) -> tuple[Slots, Points]:
    """Prediction and target, event by event, as native arrays."""
    check_hits(target)
    own = {name: np.asarray(getattr(prediction, name)) for name in ("event", "plane", "ix", "iy", "order", "x", "y")}
    events = np.union1d(own["event"], target["event"])
    events = np.append(events, np.arange(1, on_steps(len(events)) - len(events) + 1) + events.max(initial=0))
    reference = np.broadcast_to(np.asarray(prediction.reference, dtype=np.float64), own["event"].shape)
    start = _first_of_each(events, own["event"], reference, target)
    known = _points(target, events, start)
    index = _places(own, events)
    x, y = (np.append(own[name], 0.0)[index] for name in "xy")
    lag = np.append(reference, 0.0)[index] - start[:, None]
    kept = np.arange(min(index.shape[1], known.real.shape[1] * 3 // 2 + SPARE), dtype=np.int32)
    constants = (np.where(index < len(reference), column, 0.0) for column in (x, y, lag))
    slots = (index, *constants, kept)
    return Slots(*map(backend.asarray, slots)), Points(*map(backend.asarray, known))


def predicted(measured: Measured, slots: Slots) -> Points:
    """The real hits of a prediction, first in their events.

    At most half as many again as the target's largest event has, and some to spare: more are not compared.
    """
    index = slots.index
    z, charge, tick, real = (
        take(column, index)
        for column in (measured.z, measured.charge, measured.tick, to_real(measured.mask, measured.z))
    )
    place = to_real(ep.arange(index, 0, index.shape[1]), z)
    rank = constant(ep.expand_dims(place, 0) + (1.0 - real) * index.shape[1])
    first = rank.argsort(axis=1)[:, : slots.kept.shape[0]]
    columns = (slots.x, slots.y, z, charge, tick + slots.lag, real)
    return Points(*(take_along(column, first) for column in columns))


def squared_distance(a: Points, b: Points, scales: dict[str, float]) -> Any:
    """Sum over the columns in `scales` of ((a - b) / scale)^2. Axes: (event, hit of a, hit of b)."""
    total: Any = 0.0
    for name, scale in scales.items():
        apart = ep.expand_dims(getattr(a, name), 2) - ep.expand_dims(getattr(b, name), 1)
        total = total + apart * apart * (1 / scale**2)
    return total


def pairs(a: Points, b: Points) -> Any:
    """1 where both hits are real. Axes: (event, hit of a, hit of b)."""
    return ep.expand_dims(a.real, 2) * ep.expand_dims(b.real, 1)


def padded(points: Points, length: int) -> Points:
    """The same points with padding up to `length` hits per event."""
    extra = ((0, 0), (0, length - points.real.shape[1]))
    return Points(*(ep.pad(column, extra, mode="constant", value=0.0) for column in points))


def joined(*parts: Points) -> Points:
    """The events of several sets of the same length, one after the other."""
    return Points(*(ep.concatenate(columns, axis=0) for columns in zip(*parts, strict=True)))


def _places(own: dict[str, np.ndarray], events: np.ndarray) -> np.ndarray:
    """Slots of each event in the order of their pixels, padded with the number of slots. Axes: (event, place)."""
    order = np.lexsort([own[name] for name in ORDER])
    row = np.searchsorted(events, own["event"][order])
    return _table(row, order, len(events), len(order))


def _table(row: np.ndarray, values: np.ndarray, rows: int, nothing: int) -> np.ndarray:
    """Integers (n,), sorted by row, as a table, padded."""
    count = np.bincount(row, minlength=rows)
    table = np.full((rows, on_steps(int(count.max(initial=1)))), nothing, dtype=np.int32)
    table[row, np.arange(len(row)) - (np.cumsum(count) - count)[row]] = values
    return table


def _points(target: np.ndarray, events: np.ndarray, start: np.ndarray) -> Points:
    """The target's hits, event by event, in the order of their pixels."""
    index = _places({name: target[name] for name in ORDER}, events)
    real = index < len(target)

    def column(name: str) -> np.ndarray:
        return np.where(real, np.append(target[name], 0.0)[index], 0.0)

    tick = np.where(real, column("tick") - start[:, None], 0.0)
    return Points(column("x"), column("y"), column("z"), column("charge"), tick, real.astype(np.float64))


def _first_of_each(events: np.ndarray, event: np.ndarray, reference: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Reference tick of each event: the prediction's, or the first tick of the target where that has none."""
    first = np.full(len(events), np.inf)
    np.minimum.at(first, np.searchsorted(events, target["event"]), target["tick"])
    first[~np.isfinite(first)] = 0.0
    own, row = np.unique(event, return_index=True)
    first[np.searchsorted(events, own)] = reference[row]
    return first
