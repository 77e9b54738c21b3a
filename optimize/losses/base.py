"""What all losses share: where NumPy ends and EagerPy begins, and the checks of options.

A loss has two halves. `layout` (NumPy) pairs the slots of the prediction with the target, in arrays of fixed shape;
`formula` (EagerPy, compiled where the framework can) makes a number of them and of what is `measured` in the slots.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import eagerpy as ep
import numpy as np

from larndsim.backend import Backend, leaves
from larndsim.data.hits import HIT_FIELDS
from larndsim.errors import ArgumentError

# What LArPix resolves: the noise of a reset and of a digitisation make some 1000 electrons; on the slope at the
# threshold these are some 3 clock ticks, in which electrons drift 0.05 cm.
CHARGE, TIME, DEPTH = 1000.0, 3.0, 0.05


class Measured(NamedTuple):
    """What the hits of a prediction are. Axis: (slot,)."""

    z: Any
    charge: Any
    tick: Any
    mask: Any


class Repeated:
    """A target that is compared again and again, and does not change.

    Its layout serves as long as predictions are of the same batch: these share their identifiers, which are read-only.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self._made_for: tuple[Any, ...] = ()
        self._layout: tuple = ()

    def layout(self, loss: Loss, prediction: Any, backend: Backend) -> tuple:
        """That of the loss, made anew if anything is another."""
        made_for = (loss, backend, prediction.event)
        if not self._made_for or any(map(operator.is_not, made_for, self._made_for)):
            layout = loss.layout(prediction, self.target, backend)
            if prediction.event.flags.writeable or not all(map(backend.is_concrete, leaves(layout))):
                return layout
            self._made_for, self._layout = made_for, layout
        return self._layout


@dataclass(frozen=True)
class Loss(ABC):
    """A distance between a prediction, which carries the gradient, and a target, which does not."""

    observable: ClassVar[str] = "hits"  # or "waveform": what `prediction` and `target` are
    free: ClassVar[tuple[str, ...]] = ()  # options that are not positive numbers

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in self.free:
                check_positive(name, value)

    def value(self, prediction: Any, target: Any, backend: Backend) -> Any:
        """The loss, a native scalar."""
        return compiled(self.formula, backend)(*self.arguments(prediction, target, backend))

    def arguments(self, prediction: Any, target: Any, backend: Backend) -> tuple:
        """Native arrays that the formula takes: what is measured, then the layout."""
        if isinstance(target, Repeated):
            return self.measured(prediction, backend), *target.layout(self, prediction, backend)
        return self.measured(prediction, backend), *self.layout(prediction, target, backend)

    def measured(self, prediction: Any, backend: Backend) -> Any:
        """What moves with the parameters, native; one slot more at least, which is empty."""
        length = on_fine_steps(len(prediction.event) + 1)
        columns = (prediction.z, prediction.charge, prediction.tick, prediction.mask)
        return Measured(*lengthened(columns, length, backend))

    @abstractmethod
    def layout(self, prediction: Any, target: Any, backend: Backend) -> tuple:
        """Native arrays that stay the same while the prediction has the same slots."""

    @abstractmethod
    def formula(self, measured: Any, *layout: Any) -> Any:
        """EagerPy arrays -> EagerPy scalar."""


class ResidualLoss(Loss):
    """Half the mean square of residuals, for methods that want the residuals themselves."""

    def residuals(self, prediction: Any, target: Any, backend: Backend) -> Any:
        """Residuals in units of the resolution: a native array (residual,) of fixed length."""
        return compiled(self.differences, backend)(*self.arguments(prediction, target, backend))

    @abstractmethod
    def differences(self, measured: Any, *layout: Any) -> Any:
        """EagerPy arrays -> EagerPy array (residual,)."""

    def formula(self, measured: Any, *layout: Any) -> Any:
        residuals = self.differences(measured, *layout)
        return 0.5 * (residuals**2).sum() / max(residuals.shape[0], 1)


@cache
def compiled(method: Callable[..., Any], backend: Backend) -> Callable[..., Any]:
    """A method of a loss, from native arrays to native arrays; equal losses share it."""
    return backend.compile(method)


def presence(charge: Any, threshold: Any, resolution: float) -> Any:
    """The weight of a hit: 0 at the threshold, where hits come and go, and 1 some resolutions above."""
    above = ep.maximum(charge - threshold, 0.0) * (1 / resolution)
    return 1.0 - ep.exp(-0.5 * above * above)


def threshold_of(option: float | None, target: np.ndarray) -> np.float64:
    """The threshold that was given, or the smallest charge of the target's hits."""
    lowest = target["charge"].min(initial=np.inf)
    return np.float64(option or (lowest if np.isfinite(lowest) else 0.0))


def on_steps(count: int, parts: int = 4) -> int:
    """A length of at least `count` that batches share, and what is compiled for it: so many of them up to twice it."""
    step = 2 ** max(int(count - 1).bit_length() - parts.bit_length(), 0)
    return -(-count // step) * step


def on_fine_steps(count: int) -> int:
    """The same for long flat arrays: less padding."""
    return on_steps(count, 8)


def lengthened(columns: tuple[Any, ...], length: int, backend: Backend) -> tuple[Any, ...]:
    """Native arrays (n,) with zeros at their ends, (length,)."""
    return compiled(_lengthening(length), backend)(columns)


@cache
def _lengthening(length: int) -> Callable[..., Any]:
    def longer(columns: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(ep.pad(values, ((0, length - values.shape[0]),), mode="constant", value=0) for values in columns)

    return longer


def check_positive(name: str, value: Any) -> None:
    """Refuse an option that is not a finite number greater than zero."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ArgumentError(name, "be a number greater than 0", f"it is {value!r}")


def check_hits(target: Any, name: str = "target") -> None:
    """Refuse a target, under the name it was given by, that is not a structured array of hits."""
    names = getattr(getattr(target, "dtype", None), "names", None) or ()
    missing = [field for field, _ in HIT_FIELDS if field not in names]
    if missing:
        remedy = "Take it from `hits.numpy()` or from a hits file."
        raise ArgumentError(name, "be a structured array of hits", f"it lacks {', '.join(missing)}", remedy)


def rows_of(wanted: tuple[np.ndarray, ...], held: tuple[np.ndarray, ...]) -> np.ndarray:
    """Row of `held` that agrees with each row of `wanted` in all columns, -1 where none does. Axis: (wanted,)."""
    count = len(wanted[0])
    if not count or not len(held[0]):
        return np.full(count, -1)
    columns = [np.unique(np.concatenate(pair), return_inverse=True)[1] for pair in zip(wanted, held, strict=True)]
    keys = np.ravel_multi_index(columns, [int(column.max()) + 1 for column in columns])
    order = np.argsort(keys[count:], kind="stable")
    known = keys[count:][order]
    row = np.minimum(np.searchsorted(known, keys[:count]), len(known) - 1)
    return np.where(known[row] == keys[:count], order[row], -1)
