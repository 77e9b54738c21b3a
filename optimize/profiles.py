"""The likelihood along one parameter, or over two, with all others fitted anew at each point.

A profile tells what errors hide: where a likelihood is no parabola, its intervals are those in which -2 log L rises by
less than 1 (68 %) and 3.84 (95 %), or its contours those of 2.30 and 5.99 for two parameters (S. S. Wilks, Ann. Math.
Stat. 9, 60, 1938). For losses with residuals the sum of their squares takes the place of -2 log L: the intervals are
those of data with the loss's resolution.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from larndsim.errors import ArgumentError, check_choice
from larndsim.io.hdf5 import new_file

from .goodness import STREAM
from .methods import CONVERGED, RUNNING, Method, Near, State
from .methods.fisher import seeds_of
from .methods.gauss_newton import GaussNewton
from .objective import Objective
from .problem import Problem, make_problem
from .scaling import Scaling
from .scans import axes_within, check_grid
from .settings import Settings, make_settings
from .uncertainties import covariance

CONFIDENCES = ("68 %", "95 %")
LEVELS = {1: (1.0, 3.84), 2: (2.30, 5.99)}  # by the number of parameters: quantiles of chi squared
POINTS = {1: 21, 2: 11}  # per axis
REACH = {1: 2.5, 2: 3.0}  # expected errors to both sides of the minimum: beyond the level of 95 %
LIKELIER = 0.05  # by which a point may be likelier than the minimum: the fit ended elsewhere
METHODS = ("fisher", "gauss-newton")
USELESS = ("errors", "save_freq")  # choices of a fit that mean nothing here

logger = logging.getLogger(__name__)


class Profile(NamedTuple):
    """How much less likely the data are than at `best`, at the points of a grid.

    `axes`: values (point,) of each profiled parameter, by name. Axes of `delta` (of -2 log L, or of the sum of squares,
    as `statistic` says) and of `others`, the refitted values by name: (point,) or (point, point), in the order of the
    names. NaN where no minimum was found. `expected` is the parabola of the information at the minimum, `errors` are
    those that it has; `intervals` are (low, high) by confidence, of one parameter: NaN where the grid ends before.
    """

    axes: dict[str, np.ndarray]
    delta: np.ndarray
    expected: np.ndarray
    others: dict[str, np.ndarray]
    best: dict[str, float]
    errors: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    target: dict[str, float] | None
    statistic: str
    remarks: tuple[str, ...]

    def summary(self) -> str:
        """The minimum, the intervals, and what to know of them, one a line."""
        lines = [f"{name} = {self.best[name]:.6g}, expected error {self.errors[name]:.3g}" for name in self.axes]
        lines += [f"{confidence}: {_end(low)} to {_end(high)}" for confidence, (low, high) in self.intervals.items()]
        return "\n".join([*lines, *self.remarks])


class _Known(NamedTuple):
    """The minimum, by u, and the expected covariance there. Axes: (parameter,), (parameter, parameter)."""

    u: np.ndarray
    covariance: np.ndarray
    deviance: float


def profile(
    input: Any = None,
    params: Any = None,
    along: Any = None,
    points: int | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    **choices: Any,
) -> Profile:
    """Fit `params`, then hold those of `along`, one or two of them, at the points of a grid and fit the others anew.

    `ranges` (low, high) by name; default: 2.5 expected errors to both sides of the minimum, 3 over two parameters.
    `points` per axis: 21, or 11 over two. All other choices are those of a fit, with the method that is the default of
    its loss: `profile("muons.h5", ["Ab", "lifetime"], along="lifetime", noise=True)`.
    """
    for name in USELESS:
        if name in choices:
            raise ArgumentError(name, "be left out of a profile", "it is given", "It is for fits.")
    given = {"input": input, "params": params}
    settings = make_settings({**choices, **{k: v for k, v in given.items() if v is not None}})
    names = _checked_along(settings, along)
    points = POINTS[len(names)] if points is None else points
    check_grid(names, points, ranges or {})
    check_choice("method", settings.method, METHODS)
    problem = make_problem(settings)
    _check_ranges(problem.objective.scaling, ranges or {})
    known = _minimum(problem, settings)
    axes = _axes(problem.objective, known, names, points, ranges or {})
    return _profiled(problem, settings.most_iterations, known, axes)


def minimised(method: Method, objective: Objective, u: np.ndarray, most: int) -> State:
    """Where a method ends after at most so many steps."""
    state = method.init(objective, u)
    while state.status == RUNNING and state.iteration < most:
        state = method.step(objective, state)._replace(iteration=state.iteration + 1)
    return state


def write_profile(path: str | os.PathLike[str], result: Profile) -> None:
    """HDF5 with one dataset per axis, `delta`, `expected`, one per refitted parameter, and the intervals."""
    with new_file(path) as file:
        file.attrs["parameters"] = list(result.axes)
        file.attrs["statistic"] = result.statistic
        file.attrs["remarks"] = list(result.remarks)
        for name, values in result.axes.items():
            axis = file.create_dataset(f"axes/{name}", data=values)
            if result.target is not None:
                axis.attrs["target"] = result.target[name]
        for name in ("delta", "expected"):
            file.create_dataset(name, data=getattr(result, name))
        for group, named in (("others", result.others), ("best", result.best), ("errors", result.errors)):
            for name, value in named.items():
                file.create_dataset(f"{group}/{name}", data=value)
        for confidence, ends in result.intervals.items():
            file.create_dataset(f"intervals/{confidence}", data=ends)


def _checked_along(settings: Settings, along: Any) -> tuple[str, ...]:
    names = (along,) if isinstance(along, str) else tuple(along or ())
    if len(names) not in LEVELS or len(set(names)) < len(names):
        but = f"it names {', '.join(map(str, names))}" if names else "it names none"
        raise ArgumentError("profile", "be one or two parameters", but, "Profile fewer at a time.")
    for name in names:
        check_choice("profile", name, settings.params)
    return names


def _check_ranges(scaling: Scaling, ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, ends in ranges.items():
        for end in ends:
            scaling.among((name,)).check_inside("range", {name: end})


def _minimum(problem: Problem, settings: Settings) -> _Known:
    """The fit that comes first, of all parameters."""
    objective = problem.objective
    u = objective.scaling.inside(objective.scaling.scaled(problem.init))
    state = minimised(problem.method, objective, u, settings.most_iterations)
    if state.status != CONVERGED:
        but = f"the fit ended after {state.iteration} steps without one. {state.message}".rstrip(" .")
        raise ArgumentError("params", "have a minimum", but)
    logger.info("minimum after %d steps", state.iteration)
    likely = objective.is_likelihood
    seeds = seeds_of(settings.seed, STREAM, settings.toys)
    matrix = objective.informed(state.u, seeds).matrix if likely else None
    slope = objective.scaling.slope(state.u)
    known = covariance(objective, state, matrix) / np.outer(slope, slope)
    return _Known(state.u, known, objective.deviance(state.u))


def _axes(
    objective: Objective, known: _Known, names: tuple[str, ...], points: int, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, np.ndarray]:
    """Values along each axis, within the limits: in equal steps of u where no range is given."""
    scaling = objective.scaling
    axes = axes_within(objective.simulator.detector, names, points, ranges)
    for name in names:
        row = scaling.names.index(name)
        if name in ranges:
            continue
        error = np.sqrt(known.covariance[row, row])
        if not np.isfinite(error):
            but = f"the data do not tell that of {name}"
            raise ArgumentError("range", "be given where no error is known", but, f"Such as {name}=LOW:HIGH.")
        low, high = np.clip(
            known.u[row] + REACH[len(names)] * error * np.array([-1, 1]), scaling.low[row], scaling.high[row]
        )
        own = scaling.among((name,))
        axes[name] = own.physical(np.linspace(low, high, points)[:, None])[:, 0]
    return axes


def _profiled(problem: Problem, most: int, known: _Known, axes: dict[str, np.ndarray]) -> Profile:
    """All points, from the minimum outwards: each starts at the nearest that is done."""
    objective, names = problem.objective, tuple(axes)
    scaling = objective.scaling
    rows = np.array([scaling.names.index(name) for name in names])
    grid = np.stack([values.ravel() for values in np.meshgrid(*axes.values(), indexing="ij")], axis=1)
    own = np.stack([scaling.among(names).scaled(dict(zip(names, point, strict=True))) for point in grid])
    inverse = np.linalg.pinv(known.covariance[np.ix_(rows, rows)]) if np.isfinite(known.covariance).all() else None
    away = own - known.u[rows]
    expected = np.full(len(own), np.nan) if inverse is None else np.einsum("pi,ij,pj->p", away, inverse, away)
    found = _refit(problem, most, known, (rows, own))
    shape = tuple(len(values) for values in axes.values())
    delta = np.array([point.deviance for point in found]) - known.deviance
    values = scaling.physical(np.stack([point.u for point in found]))
    others = {name: values[:, k].reshape(shape) for k, name in enumerate(scaling.names) if name not in names}
    best = scaling.values(known.u)
    sigma = np.sqrt(np.diag(known.covariance)) * scaling.slope(known.u)
    one = names[0] if len(names) == 1 else None
    return Profile(
        axes=axes,
        delta=delta.reshape(shape),
        expected=expected.reshape(shape),
        others=others,
        best=best,
        errors=dict(zip(scaling.names, sigma.tolist(), strict=True)),
        intervals={} if one is None else intervals_of(axes[one], delta, best[one]),
        target=problem.target,
        statistic="-2 log L" if objective.is_likelihood else "sum of squares",
        remarks=(*_remarks(delta), *_limits(scaling, known.u, np.stack([point.u for point in found]), names)),
    )


def _refit(problem: Problem, most: int, known: _Known, points: tuple[np.ndarray, np.ndarray]) -> list[_Known]:
    """What is found at each point, in their order. `points`: which parameters are held, and where, by u."""
    rows, own = points
    objective = problem.objective
    scaling = objective.scaling
    names = tuple(scaling.names[row] for row in rows)
    method = _near(problem.method)
    rest = np.setdiff1d(np.arange(len(known.u)), rows)
    follow = _following(known.covariance, rows, rest)
    width = np.sqrt(np.diag(known.covariance))[rows] if np.isfinite(known.covariance).all() else np.ones(len(rows))
    order = np.linalg.norm((own - known.u[rows]) / width, axis=1).argsort(kind="stable")
    done, found = [known], [known] * len(own)
    for number, index in enumerate(order.tolist(), start=1):
        place = own[index]
        start = min(done, key=lambda point: float(np.linalg.norm((point.u[rows] - place) / width)))
        u = start.u.copy()
        u[rows] = place
        u[rest] += follow @ (place - start.u[rows])
        held = objective.holding(scaling.among(names).values(place))
        found[index] = point = _at(objective, held, method, u, rest, most)
        if np.isfinite(point.deviance):
            done.append(point)
        if number % max(len(own) // 10, 1) == 0:
            logger.info("%d of %d points", number, len(own))
    return found


def _at(objective: Objective, held: Objective, method: Method, u: np.ndarray, rest: np.ndarray, most: int) -> _Known:
    """One point: the others at their minimum; NaN where none is found."""
    nothing = np.zeros((0, 0))
    if not rest.size:
        return _Known(u, nothing, objective.deviance(u))
    state = minimised(method, held, held.scaling.inside(u[rest]), most)
    u[rest] = state.u
    if state.status == CONVERGED:
        return _Known(u, nothing, held.deviance(state.u))
    u[rest] = np.nan
    return _Known(u, nothing, float("nan"))


def _near(method: Method) -> Method:
    """The same method for starts near the minimum: without the losses that lead there from afar."""
    if isinstance(method, Near):
        return method.method
    return GaussNewton(method.tolerance)  # type: ignore[attr-defined]


def _following(covariance: np.ndarray, rows: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How the other parameters follow those held, as far as all is a parabola. Axes: (other, held)."""
    if not np.isfinite(covariance).all():
        return np.zeros((len(rest), len(rows)))
    return covariance[np.ix_(rest, rows)] @ np.linalg.pinv(covariance[np.ix_(rows, rows)])


def intervals_of(values: np.ndarray, delta: np.ndarray, best: float) -> dict[str, tuple[float, float]]:
    """Where `delta` crosses its levels to both sides of the minimum; NaN where it does not. Axis: (point,)."""
    known = np.isfinite(delta)
    x, root = values[known] - best, np.sqrt(np.maximum(delta[known], 0.0))
    sides = [(-_crossings(-x[x < 0][::-1], root[x < 0][::-1])), _crossings(x[x > 0], root[x > 0])]
    ends = (best + np.stack(sides, axis=1)).tolist()
    return {confidence: (low, high) for confidence, (low, high) in zip(CONFIDENCES, ends, strict=True)}


def _crossings(distance: np.ndarray, root: np.ndarray) -> np.ndarray:
    """How far from the minimum each level is first crossed: the root of a parabola is straight. Axis: (level,)."""
    distance, root = np.append(0.0, distance), np.append(0.0, root)
    found = []
    for level in np.sqrt(LEVELS[1]):
        above = np.flatnonzero(root >= level)
        if not above.size:
            found.append(np.nan)
            continue
        pair = slice(above[0] - 1, above[0] + 1)
        found.append(float(np.interp(level, root[pair], distance[pair])))
    return np.array(found)


def _remarks(delta: np.ndarray) -> tuple[str, ...]:
    remarks = []
    lost = int(np.isnan(delta).sum())
    if lost:
        remarks.append(f"At {lost} of {delta.size} points no minimum of the other parameters was found.")
    if lost < delta.size and (lowest := float(np.nanmin(delta))) < -LIKELIER:
        remarks.append(f"A point of the grid is lower than the minimum by {-lowest:.2g}: start the fit elsewhere.")
    return tuple(remarks)


def _limits(scaling: Scaling, best: np.ndarray, u: np.ndarray, held: tuple[str, ...]) -> list[str]:
    """Which parameters came to a limit, at the minimum and where refitted. Axes: (parameter,), (point, parameter)."""
    there = [name for name, bound in zip(scaling.names, scaling.at_bound(best), strict=True) if bound]
    first = [f"The minimum is on a limit of {', '.join(there)}: the truth may lie beyond it."] if there else []
    counts = dict(zip(scaling.names, ((u <= scaling.low) | (u >= scaling.high)).sum(axis=0).tolist(), strict=True))
    where = [(name, count) for name, count in counts.items() if count and name not in held]
    but = "came to a limit: the rise is too steep there."
    return first + [f"At {count} of {len(u)} points {name} {but}" for name, count in where]


def _end(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "beyond the grid"
