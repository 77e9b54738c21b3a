"""Checks at the door of the chain: what comes in is complete, finite and within what the plan was made for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Any

import eagerpy as ep
import numpy as np

from ..backend.base import native
from ..data.segment_tables import LARGEST, segments_from_array
from ..data.segments import Segments
from ..detector import Parameters
from ..detector.mobility import drift_velocity
from ..detector.parameters import MAY_BE_ZERO, SHIFTS, SIGNED, check_name
from ..electronics.tuning import settled
from ..errors import ArgumentError
from ..pixelization import Ranges

IDENTIFIERS = ("event", "track", "segment", "pdg")
WIDER = 10, 1e6  # than its bounds may be what shapes a plan (it takes time and memory), and what only scales numbers
ACCURACIES = 1e-4, 1e-2  # beyond, other errors than those of the sums rule
WIDEST_PITCH = 0.495  # cm: the response has no rise time at the corners of pixels of 0.498 cm
HIGHEST_THRESHOLD = 2e5  # electrons, for a model that follows all levels up to the threshold, which takes time
SHAPING = ("vdrift", "eField", "temperature", "tran_diff", "long_diff", *SHIFTS)


def check_accuracy(accuracy: Any) -> float:
    """Refuse an accuracy that is no number, or that nothing is made for."""
    low, high = ACCURACIES
    number = isinstance(accuracy, int | float | np.number) and not isinstance(accuracy, bool)
    if not (number and low <= accuracy <= high):
        raise ArgumentError("accuracy", f"be a number from {low:g} to {high:g}", f"it is {accuracy!r}")
    return float(accuracy)


def check_model(model: Any, electronics: Any, channels: Any) -> None:
    """Refuse a model that integrates over noise that is not there, or over more levels than a threshold may have."""
    if not model.predicts:
        return
    reset = np.asarray(electronics.reset_noise)
    comparator = np.hypot(electronics.uncorrelated_noise, electronics.discriminator_noise)
    for what, width in (("reset noise", reset), ("noise of the comparator", comparator)):
        if np.min(width) <= 0:
            must = "be one that needs no noise, for a detector without"
            but = f"{model.name} integrates over the {what}, and it is 0"
            raise ArgumentError("electronics", must, but, "Use electronics relaxed.")
    highest = np.where(channels.live > 0.0, channels.threshold, 0.0).max()
    if highest > HIGHEST_THRESHOLD:
        must = f"be {HIGHEST_THRESHOLD:g} electrons at most in live channels, with electronics {model.name}"
        raise ArgumentError("thresholds", must, f"there is one of {highest:g}", "Name such channels in bad_channels.")


def check_derived(parameters: Parameters, simulator: Any, noisy: bool) -> None:
    """Refuse derivatives of hits by parameters of the electronics that move them in no way that is written down."""
    names = (*MAY_BE_ZERO, "threshold") if simulator.model.predicts else MAY_BE_ZERO
    for name in names if noisy or simulator.model.predicts else ():
        if simulator.backend.moves(getattr(parameters, name)):
            but = f"a derivative of hits is taken by it, with electronics {simulator.model.name}"
            raise ArgumentError(name, "move a likelihood alone", but, "Use Simulator.log_likelihood.")


def checked_segments(segments: Segments | np.ndarray) -> Segments:
    """Segments as float64 and int64 columns of one length, finite, not huge, without negative deposits."""
    if not isinstance(segments, Segments):
        return segments_from_array(np.asarray(segments))
    columns = {}
    for name, column in segments._asdict().items():
        kind = np.int64 if name in IDENTIFIERS else np.float64
        columns[name] = np.atleast_1d(np.asarray(column, dtype=kind))
        _check_column(name, columns[name], columns["event"].shape)
    return Segments(**columns)


def _check_column(name: str, column: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse a column of segments of another length, not finite, huge, or with negative deposits."""
    argument = f"segments.{name}"
    if column.shape != shape:
        raise ArgumentError(argument, f"have the shape {shape} of `event`", f"it has {column.shape}")
    if not np.isfinite(column).all():
        row = int(np.flatnonzero(~np.isfinite(column))[0])
        raise ArgumentError(argument, "be finite", f"it is {column[row]} in row {row}", "Drop such rows.")
    if name in ("dE", "dEdx") and (column < 0).any():
        row = int(np.flatnonzero(column < 0)[0])
        raise ArgumentError(argument, "be zero or more", f"it is {column[row]} in row {row}", "Drop such rows.")
    most, unit = LARGEST.get(name, (math.inf, ""))
    if (np.abs(column) > most).any():
        row = int(np.argmax(np.abs(column) > most))
        raise ArgumentError(argument, f"lie within {most:g} {unit} of zero", f"it is {column[row]:g} in row {row}")


def limits_of_plan(parameters: Parameters | None, vary: Iterable[str] | None, simulator: Any) -> np.ndarray:
    """Lowest and highest value of each parameter that a plan holds for. Axes: (parameter, [low, high])."""
    check_pitch(simulator.detector.geometry.pitch)
    nominal, _ = checked_parameters(parameters, None, simulator)
    if vary is None:  # shifts would cost two to four times as much, whether they are wanted or not
        vary = (name for name in Parameters._fields if name not in SHIFTS)
    vary = (vary,) if isinstance(vary, str) else tuple(vary)
    for name in vary:
        check_name(name, "vary")
    limits = np.empty((len(Parameters._fields), 2))
    for row, (name, value) in enumerate(nominal._asdict().items()):
        if value is None:  # of the electronics, which a plan knows nothing of
            limits[row] = -math.inf, math.inf
            continue
        if simulator.backend.moves(value) and not isinstance(value, int | float):
            raise ArgumentError(name, "be known when a plan is made", "it is being traced", "Call prepare outside.")
        values = np.asarray(simulator.backend.numpy(value), dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        for value in (low, high):
            check_range(name, value, simulator.detector.bounds[name])
        if name not in SHAPING:
            low, high = (-math.inf, math.inf) if name in SIGNED else (0.0, math.inf)
        elif name in vary:
            hard = simulator.detector.bounds[name].hard
            low, high = min(low, hard[0]), max(high, hard[1])
        limits[row] = low, high
    return limits


def check_pitch(pitch: np.ndarray) -> None:
    """Refuse pixels (plane,) whose response nobody knows."""
    if pitch.max() > WIDEST_PITCH:
        must = f"have pixels of {WIDEST_PITCH:g} cm at most, for the response is known of such"
        raise ArgumentError("detector", must, f"its pitch is {pitch.max():g} cm")


def check_range(name: str, value: float, bound: Any) -> None:
    """Refuse what no detector has: a plan for it would be slow or huge, or its numbers too large for the arithmetic."""
    wider = WIDER[0] if name in SHAPING else WIDER[1]
    low = wider * bound.down if bound.down < 0 else bound.down / wider
    high = wider * bound.up
    if not low - 1e-9 * abs(low) <= value <= high + 1e-9 * high:  # as written, whatever the division rounds
        raise ArgumentError(name, f"lie within {low:g} and {high:g}", f"it is {value:g}")


def ranges_of_plan(limits: np.ndarray, physics: Any, accuracy: float) -> Ranges:
    """The ranges that decide a plan."""
    of = dict(zip(Parameters._fields, limits.tolist(), strict=True))
    velocity = of["vdrift"]
    if physics.linked:
        corners = [drift_velocity(*corner) for corner in product(of["eField"], of["temperature"])]
        velocity = [min(corners), max(corners)]
    others = {name: tuple(values) for name, values in of.items() if name in Ranges._fields}
    return Ranges(
        velocity=tuple(velocity), accuracy=accuracy, distance=physics.distance, sampling=physics.sampling, **others
    )


def checked_parameters(
    parameters: Parameters | None, limits: Any, simulator: Any
) -> tuple[Parameters, dict[str, tuple[float, float]]]:
    """Native scalars (or one value per module) within the limits of the plan; None for electronics as they are.

    Values that are being traced are not known here: their limits, low and high, come second, for `held_within`.
    """
    backend = simulator.backend
    parameters = simulator.detector.parameters if parameters is None else parameters
    if not isinstance(parameters, Parameters):
        raise ArgumentError("parameters", "be a larndsim.Parameters", f"it is a {type(parameters).__name__}")
    for name, value in parameters._asdict().items():
        check_modules(name, value, simulator.detector)
    parameters = settled(parameters, simulator.detector.electronics)
    unused = ("vdrift",) if simulator.link_vdrift_eField else ("temperature", "eField")
    unknown = {}
    for row, (name, value) in enumerate(parameters._asdict().items()):
        low, high = (-math.inf, math.inf) if limits is None or name in unused else limits[row]
        if value is None:
            continue
        if backend.is_concrete(value):
            check_value(name, backend.numpy(value), low, high)
        else:
            unknown[name] = low, high
    known = {name: value for name, value in parameters._asdict().items() if value is not None}
    return parameters._replace(**dict(zip(known, backend.scalars(known.values()), strict=True))), unknown


def within_limits(parameters: Parameters | None, limits: Any, simulator: Any) -> Parameters:
    """Native parameters within the limits of a plan. Those that are being traced become NaN outside."""
    p, unknown = checked_parameters(parameters, limits, simulator)
    if not unknown:
        return p
    values, backend = tuple(getattr(p, name) for name in unknown), simulator.backend
    held = native(held_within)(values, backend.asarray(np.array([*unknown.values()])))
    return p._replace(**dict(zip(unknown, held, strict=True)))


def check_modules(name: str, value: Any, detector: Any) -> None:
    """Refuse several values that are not one per module."""
    shape, modules = np.shape(value), int(detector.geometry.module.max()) + 1
    if shape not in ((), (modules,)):
        raise ArgumentError(name, f"be one value, or one per module ({modules})", f"its shape is {shape}")


def held_within(values: tuple[Any, ...], limits: Any) -> tuple[Any, ...]:
    """The same, NaN outside the limits (value, [low, high]): a signal that is cut never passes for a result."""

    def within(value: Any, low: Any, high: Any) -> Any:
        outside = (value < low).logical_or(value > high)
        return value + ep.where(outside, np.nan, ep.zeros_like(value))

    return tuple(within(value, limits[row, 0], limits[row, 1]) for row, value in enumerate(values))


def check_value(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse a value of a parameter that is not a finite number, not physical, or outside the plan's limits."""
    try:
        numbers = np.asarray(value, dtype=np.float64).ravel().tolist()
    except (TypeError, ValueError) as error:
        raise ArgumentError(name, "be a number", f"it is {value!r}") from error
    for number in numbers:
        _check_number(name, number, low, high)


@lru_cache  # most parameters stay what they are
def _check_number(name: str, value: float, low: float, high: float) -> None:
    """The same of one number."""
    if not math.isfinite(value):
        raise ArgumentError(name, "be finite", f"it is {value}")
    if name not in SIGNED and (value < 0 or (value == 0 and name not in MAY_BE_ZERO)):
        raise ArgumentError(name, "be 0 or more" if name in MAY_BE_ZERO else "be greater than 0", f"it is {value:g}")
    finite = math.isfinite(low) and math.isfinite(high)
    slack = 1e-6 * max(abs(low), abs(high)) if finite else 0.0
    if not low - slack <= value <= high + slack:
        if low == high:
            must, remedy = f"be {low:g}", f"Prepare the batch with vary=['{name}', ...] to let it change."
        else:
            must = f"lie within {low:g} and {high:g}"
            remedy = "Prepare the batch with `parameters` or the detector's `bounds` nearer to it."
        must += ", which this batch was planned for"
        raise ArgumentError(name, must, f"it is {value:g}", remedy)


def check_seed(seed: int | None, parameters: Parameters | None, simulator: Any) -> None:
    """Refuse noise where the model integrates it over; and parameters that it would depend on in secret."""
    if simulator.model.predicts and seed is not None:
        must = f"be left out with electronics {simulator.electronics}, which integrate all noise over"
        raise ArgumentError("seed", must, f"it is {seed}", "Use electronics clocked for noise of a seed.")
    if parameters is not None:
        check_derived(parameters, simulator, noisy=seed is not None)


def check_predicts(simulator: Any) -> None:
    """Refuse to expect hits with electronics that record them."""
    if not simulator.model.predicts:
        remedy = "Make the simulator with electronics='expected'."
        raise ArgumentError("electronics", "be expected", f"they are {simulator.electronics}", remedy)
