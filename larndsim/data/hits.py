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

    With electronics expected, `tick`, `charge` and `adc` are means given that there is such a hit, the first, second,
    ... of its pixel; `probability` says how likely that is, also where `mask` is false since it is hardly likely, and
    the spreads are standard deviations. With other electronics the last three are None.
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
    probability: Any = None
    tick_spread: Any = None
    charge_spread: Any = None

    def numpy(self) -> np.ndarray:
        """The real hits alone, as a structured array; ticks count from time zero."""
        return compressed(self)


# what the electronics give for each slot, in this order; the last three only where they predict
RECORDED = ("z", "tick", "charge", "adc", "mask", "probability", "tick_spread", "charge_spread")

HIT_FIELDS: list[tuple[str, type]] = [
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
PREDICTED_FIELDS: list[tuple[str, type]] = [
    ("probability", np.float64),
    ("tick_spread", np.float64),
    ("charge_spread", np.float64),
]


def as_table(hits: Hits | np.ndarray) -> np.ndarray:
    """The real hits as a structured array, whatever they are given as."""
    return compressed(hits) if isinstance(hits, Hits) else hits


def compressed(hits: Hits) -> np.ndarray:
    """The real hits as a structured array with HIT_FIELDS, sorted by event, plane, pixel and order. Axis: (hit,).

    Predicted ones have PREDICTED_FIELDS, too.
    """
    fields = HIT_FIELDS if hits.probability is None else HIT_FIELDS + PREDICTED_FIELDS
    columns = {name: np.asarray(_detached(value)) for name, value in hits._asdict().items() if value is not None}
    columns["tick"] = columns["tick"].astype(np.float64) + columns["reference"]
    real = columns["mask"].astype(bool)
    table = np.zeros(int(real.sum()), dtype=fields)
    for name, _ in fields:
        table[name] = columns[name][real]
    return table[np.lexsort([table[name] for name in ("order", "iy", "ix", "plane", "event")])]


def _detached(value: Any) -> Any:
    """A native array as one that NumPy takes: off the accelerator and without its gradient."""
    for step in ("detach", "cpu"):
        value = getattr(value, step)() if hasattr(value, step) else value
    return value
