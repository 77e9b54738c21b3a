"""What the electronics record: at most a few hits per pixel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Slots(NamedTuple):
    """Where hits may be. Axis: (hit,). NumPy arrays, the same for all values of the parameters: see `Hits`."""

    event: np.ndarray
    plane: np.ndarray
    ix: np.ndarray
    iy: np.ndarray
    order: np.ndarray
    x: np.ndarray
    y: np.ndarray
    reference: np.ndarray


class Hits(NamedTuple):
    """Hits of all pixels, flat: `max_hits` entries per pixel, of which `mask` marks the real ones. Axis: (hit,).

    `z`, `tick`, `charge`, `adc` and `mask` are native arrays and carry the gradient (not `mask`); the others are NumPy.
    `tick` counts clock ticks from the event's reference time, `reference` ticks after zero: single precision would not
    hold late times. x, y, z in cm, z from the drift time with a fixed nominal velocity; `charge` in electrons.
    """

    event: Any
    plane: Any
    ix: Any
    iy: Any
    order: Any
    x: Any
    y: Any
    z: Any
    tick: Any
    charge: Any
    adc: Any
    mask: Any
    reference: Any

    def numpy(self) -> np.ndarray:
        """The real hits alone, as a structured array; ticks count from time zero."""
        return compressed(self)


HIT_FIELDS = [
    ("event", np.int64),
    ("plane", np.int32),
    ("ix", np.int32),
    ("iy", np.int32),
    ("order", np.int32),
    ("x", np.float64),
    ("y", np.float64),
    ("z", np.float64),
    ("tick", np.float64),
    ("charge", np.float64),
    ("adc", np.float64),
]


def as_table(hits: Hits | np.ndarray) -> np.ndarray:
    """The real hits as a structured array, whatever they are given as."""
    return compressed(hits) if isinstance(hits, Hits) else hits


def compressed(hits: Hits) -> np.ndarray:
    """The real hits as a structured array with HIT_FIELDS, sorted by event, plane, pixel and order. Axis: (hit,)."""
    columns = {name: np.asarray(_detached(value)) for name, value in hits._asdict().items()}
    columns["tick"] = columns["tick"].astype(np.float64) + columns["reference"]
    real = columns["mask"].astype(bool)
    table = np.zeros(int(real.sum()), dtype=HIT_FIELDS)
    for name, _ in HIT_FIELDS:
        table[name] = columns[name][real]
    return table[np.lexsort([table[name] for name in ("order", "iy", "ix", "plane", "event")])]


def _detached(value: Any) -> Any:
    """A native array as one that NumPy takes: off the accelerator and without its gradient."""
    for step in ("detach", "cpu"):
        value = getattr(value, step)() if hasattr(value, step) else value
    return value
