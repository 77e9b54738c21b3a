"""The loss, and its gradient, where nobody has looked yet: along one parameter, or over a grid of two."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from larndsim.errors import ArgumentError
from larndsim.io.hdf5 import new_file

from .problem import make_problem
from .settings import make_settings


class Scan(NamedTuple):
    """Loss and gradient (by the physical parameters) at the points of a grid.

    `axes`: values (point,) of each scanned parameter, by name. Axes of `loss`: (point,) or (point, point), in the order
    of the names; of `gradient`: one more, the parameter. NaN where a point could not be computed.
    """

    axes: dict[str, np.ndarray]
    loss: np.ndarray
    gradient: np.ndarray
    target: dict[str, float] | None

    @property
    def lowest(self) -> str:
        """Where the loss is lowest, in words."""
        if not np.isfinite(self.loss).any():
            return "nowhere finite"
        place = np.unravel_index(np.nanargmin(self.loss), self.loss.shape)
        values = [f"{name}={axis[i]:.6g}" for (name, axis), i in zip(self.axes.items(), place, strict=True)]
        return f"{self.loss[place]:.4g} at {' '.join(values)}"


def scan(
    input: Any = None,
    params: Any = None,
    points: int = 21,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    **choices: Any,
) -> Scan:
    """Scan one or two parameters of the problem that a fit with the same choices would solve.

    `ranges` (low, high) by name; default: the bounds. The parameters not scanned are held: those that `shift_no_fit`
    shifts in the target stay nominal, so that a scan shows what such a shift does.
    """
    if input is not None:
        choices["input"] = input
    if params is not None:
        choices["params"] = params
    choices = {"method": "lbfgs", **choices}  # any method that takes every loss and mode
    settings = make_settings(choices)
    names = settings.params
    if len(names) not in (1, 2):
        raise ArgumentError("params", "be one or two parameters", f"they are {len(names)}", "Scan fewer.")
    check_grid(names, points, ranges or {})
    problem = make_problem(settings)
    scaling = problem.objective.scaling
    axes = axes_within(problem.objective.simulator.detector, names, points, ranges or {})
    for axis, name in zip(axes.values(), names, strict=True):
        for end in axis[[0, -1]]:
            scaling.check_inside("range", {**problem.init, name: float(end)})
    loss, gradient = [], []
    for values in itertools.product(*axes.values()):
        u = scaling.scaled(dict(zip(names, values, strict=True)))
        value, slope = problem.objective.value_and_grad(u)
        loss.append(value)
        gradient.append(slope / scaling.slope(u))
    shape = tuple(len(axis) for axis in axes.values())
    return Scan(axes, np.reshape(loss, shape), np.reshape(gradient, (*shape, len(names))), problem.target)


def write_scan(path: str | os.PathLike[str], result: Scan) -> None:
    """HDF5 with one dataset per axis, `loss` and `gradient`."""
    with new_file(path) as file:
        file.attrs["parameters"] = list(result.axes)
        for name, values in result.axes.items():
            file.create_dataset(f"axes/{name}", data=values)
            if result.target is not None:
                file[f"axes/{name}"].attrs["target"] = result.target[name]
        file.create_dataset("loss", data=result.loss)
        file.create_dataset("gradient", data=result.gradient)


def axes_within(
    detector: Any, names: tuple[str, ...], points: int, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, np.ndarray]:
    """Values along each axis, between the ends given or else the bounds."""
    bounds = {name: ranges.get(name, (detector.bounds[name].down, detector.bounds[name].up)) for name in names}
    return {name: np.linspace(low, high, points) for name, (low, high) in bounds.items()}


def check_grid(names: tuple[str, ...], points: int, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a grid that is none."""
    if not isinstance(points, int) or points < 2:
        raise ArgumentError("points", "be a whole number of 2 or more", f"it is {points!r}")
    for name, (low, high) in ranges.items():
        if name not in names:
            raise ArgumentError("range", f"be of {', '.join(names)}", f"it is of {name}", "Name it in `params`.")
        if not low < high:
            raise ArgumentError("range", "have its lower end first", f"{name} has {low:g} and {high:g}")
