"""What a sample will tell of the parameters, before anything is fitted to it.

Data are simulated at the given point, with noise of stated seeds. The mean outer product of their scores is the
information that such data have; its inverse is the covariance that a fit of the likelihood comes to. It grows with the
sample: so errors fall with one over the square root of the length of track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from larndsim.detector.parameters import BOUNDS, unit_of
from larndsim.errors import ArgumentError

from .goodness import SOFT, STREAM
from .methods import State
from .methods.base import without_effect
from .methods.fisher import seeds_of
from .objective import Information, Objective
from .problem import Problem, initial_values, make_problem, make_simulator
from .refusals import check_number
from .scaling import make_scaling
from .settings import Settings, make_settings
from .uncertainties import correlation, covariance, directions, errors

MULTIPLES = (1.0, 4.0, 10.0, 100.0)
FORCED = {"noise": True, "loss": "likelihood", "method": "fisher"}
# choices of a fit that mean nothing here
USELESS = (
    *FORCED, "data", "data_events", "data_time", "input_target", "shift_no_fit", "loss_options", "electronics", "mode",
    "iterations", "tolerance", "optimizer", "lr", "schedule", "clip", "batches_per_step", "errors", "save_freq",
    "set_init", "vary_init", "seed_init",
)  # fmt: skip


class Goal(NamedTuple):
    """How much track an error needs."""

    name: str
    error: float  # that is wanted, in the parameter's unit
    cm: float  # all parameters fitted together
    alone_cm: float  # the others known

    def __str__(self) -> str:
        return (
            f"{self.name} to {self.error:.3g} {unit_of(self.name)}".rstrip()
            + f" takes {self.cm:,.0f} cm of such tracks; {self.alone_cm:,.0f} cm if the others were known."
        )


class Forecast(NamedTuple):
    """Expected errors at `values`, of a sample of `cm` of track with `hits` hits.

    `errors` and `covariance` (parameter, parameter), in the order of `values`, are those of a fit of all parameters
    together; `alone` are the errors with the others known. `blur` is the relative uncertainty of `errors`, from the
    finite number of simulated samples. `softest` combines parameters in units of `alone`, with the factor by which its
    error is larger than without correlations.
    """

    values: dict[str, float]
    errors: dict[str, float]
    alone: dict[str, float]
    blur: dict[str, float]
    covariance: np.ndarray
    softest: tuple[tuple[float, str], ...]
    cm: float
    hits: int
    toys: int
    multiples: tuple[float, ...]
    goals: tuple[Goal, ...]
    dataset: str
    remarks: tuple[str, ...]

    @property
    def correlation(self) -> np.ndarray:
        """Axes: (parameter, parameter)."""
        return correlation(self.covariance)

    def table(self) -> str:
        """Errors of the sample, and in percent those of its multiples: a table in Markdown."""
        head = ["parameter", "value", "error", "others known"]
        rows = [[*head, *(f"{self.cm * multiple:,.0f} cm" for multiple in self.multiples)]]
        for name, value in self.values.items():
            error = self.errors[name]
            fixed = [name, f"{value:.6g} {unit_of(name)}".rstrip(), f"{error:.3g}", f"{self.alone[name]:.3g}"]
            rows.append([*fixed, *(_share(error / multiple**0.5, value) for multiple in self.multiples)])
        return _aligned(rows)

    def summary(self) -> str:
        """The rest of what there is to say, in sentences, one a line."""
        lines = [f"Expected of {self.cm:,.1f} cm of track, {self.hits} hits; mean of {self.toys} simulated samples."]
        if np.isfinite(worst := max(self.blur.values())):
            lines.append(f"With so many samples the errors are known to {100 * worst:.2g} % or better.")
        lines += [f"{text} has an error {factor:.3g} times that without correlations." for factor, text in self.softest]
        return "\n".join([*lines, *map(str, self.goals), *self.remarks])

    def plain(self) -> dict[str, Any]:
        """The content of `forecast.json`."""
        parameters = {
            name: {
                "value": value,
                "unit": BOUNDS[name].unit,
                "error": self.errors[name],
                "error_alone": self.alone[name],
                "blur": self.blur[name],
                "errors": [self.errors[name] / multiple**0.5 for multiple in self.multiples],
            }
            for name, value in self.values.items()
        }
        kept = ("cm", "hits", "toys", "multiples", "dataset", "covariance", "correlation", "remarks")
        return {name: getattr(self, name) for name in kept} | {
            "softest": [{"factor": factor, "combination": text} for factor, text in self.softest],
            "goals": [goal._asdict() for goal in self.goals],
            "parameters": parameters,
        }


def forecast(
    input: Any = None,
    params: Any = None,
    multiples: Sequence[float] = MULTIPLES,
    goal: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Forecast:
    """What a fit of the likelihood to such a sample would know of `params`, without fitting.

    The point is nominal, or that of `set_target`. `multiples` of the sample are listed, too; `goal` gives errors to
    reach by name, in the parameter's unit or such as "1%". Other choices are the fields of `Settings` that say what is
    simulated: `forecast("muons.h5", ["Ab", "lifetime"], goal={"lifetime": "1%"}, toys=24)`.
    """
    choices = {name.replace("-", "_"): value for name, value in choices.items()}
    for name in USELESS:
        if name in choices:
            raise ArgumentError(name, "be left out of a forecast", "it is given", "It is for fits.")
    given = {"input": input, "params": params}
    settings = make_settings({**choices, **{k: v for k, v in given.items() if v is not None}, **FORCED})
    scales = _checked_multiples(multiples)
    problem = problem_at(settings)
    assert problem.target is not None
    wanted = _wanted(goal or {}, problem.target)
    objective, u = problem.objective, problem.objective.scaling.scaled(problem.target)
    found = objective.informed(u, seeds_of(settings.seed, STREAM, settings.toys))
    idle = without_effect(objective.scaling.names, np.diag(found.matrix))
    if idle or not np.isfinite(found.matrix).all():
        but = idle[:1].lower() + idle[1:].partition(".")[0] if idle else "the scores are not finite"
        raise ArgumentError("params", "have an effect on the data", but, "Leave them out." if idle else "Try float64.")
    return _forecast(problem, u, found, scales, wanted)


def problem_at(settings: Settings) -> Problem:
    """The problem whose target has the nominal values, but for those that `set_target` names."""
    detector = make_simulator(settings).detector
    make_scaling(settings.params, detector)  # refuses parameters without a single value
    values = {**initial_values(settings, detector), **settings.set_target}
    return make_problem(replace(settings, set_target=values))


def _forecast(
    problem: Problem, u: np.ndarray, found: Information, multiples: tuple[float, ...], wanted: dict[str, float]
) -> Forecast:
    objective, names, cm = problem.objective, problem.objective.scaling.names, float(problem.report.kept.cm)
    matrix = _covariance(objective, u, found.matrix)
    together = errors(matrix)
    alone = objective.scaling.slope(u) / np.sqrt(np.diag(found.matrix))
    row = {name: index for index, name in enumerate(names)}
    goals = [
        Goal(name, error, *(cm * (sigma[row[name]] / error) ** 2 for sigma in (together, alone)))
        for name, error in wanted.items()
    ]
    softest = tuple(
        (max(value, 0.0) ** -0.5 if value > 0 else float("inf"), text)
        for value, text in directions(found.matrix, names)
        if value < 0.5
    )

    def named(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return Forecast(
        values=dict(problem.target or {}),
        errors=named(together),
        alone=named(alone),
        blur=named(_blur(objective, u, found.each)),
        covariance=matrix,
        softest=softest,
        cm=cm,
        hits=int(objective.weight),
        toys=len(found.toys),
        multiples=multiples,
        goals=tuple(goals),
        dataset=str(problem.report),
        remarks=_remarks(objective, together / objective.scaling.slope(u), softest),
    )


def _covariance(objective: Objective, u: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return covariance(objective, State(u, 0.0, np.zeros(len(u)), {}), matrix)


def _blur(objective: Objective, u: np.ndarray, each: np.ndarray) -> np.ndarray:
    """How uncertain the errors are since so few samples were simulated, relative to them. Axis: (parameter,).

    The jackknife: each sample is left out once.
    """
    count = len(each)
    if count < 3:
        return np.full(len(u), np.nan)
    total = each.sum(axis=0)
    without = np.stack([errors(_covariance(objective, u, (total - one) / (count - 1))) for one in each])
    return np.sqrt(count - 1) * without.std(axis=0) / without.mean(axis=0)


def _remarks(objective: Objective, sizes: np.ndarray, softest: tuple[tuple[float, str], ...]) -> tuple[str, ...]:
    """What to know before believing the forecast. `sizes` are the errors of u."""
    remarks = []
    if not np.isfinite(sizes).all():
        remarks.append("The sample does not know all parameters together: hold some of them.")
    wide = [name for name, size in zip(objective.scaling.names, sizes, strict=True) if size > 1.0]
    if wide:
        remarks.append(f"Errors of {', '.join(wide)} beyond half a range are no parabola's: look at more track.")
    if softest and softest[0][0] > (1.0 - SOFT) ** -0.5:
        remarks.append(f"The data hardly know the combination {softest[0][1]}.")
    return tuple(remarks)


def _checked_multiples(multiples: Sequence[float]) -> tuple[float, ...]:
    if not len(multiples):
        raise ArgumentError("multiples", "name at least one", "they name none", "Such as 1 10.")
    for value in multiples:
        check_number("multiples", value)
        if value <= 0:
            raise ArgumentError("multiples", "be greater than 0", f"one is {value:g}")
    return tuple(float(value) for value in multiples)


def _wanted(goal: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, float]:
    """Errors to reach, in the parameters' units."""
    wanted = {}
    for name, given in goal.items():
        if name not in values:
            raise ArgumentError("goal", f"be of {', '.join(values)}", f"it is of {name}", "Name it in `params`.")
        wanted[name] = _error(name, given, values[name])
    return wanted


def _error(name: str, given: Any, value: float) -> float:
    text = str(given).strip()
    relative = text.endswith("%")
    try:
        error = float(text.removesuffix("%"))
    except ValueError:
        error = float("nan")
    if not 0.0 < error < np.inf:
        must = "be an error greater than 0 by name"
        raise ArgumentError("goal", must, f"{name} has {text!r}", "Such as lifetime=1% or lifetime=20.")
    if relative and value == 0.0:
        raise ArgumentError("goal", "be in the unit of a parameter that is 0", f"{name} has {text!r}")
    return abs(value) * error / 100.0 if relative else error


def _share(error: float, value: float) -> str:
    """An error in percent of the value, or as it is where that is zero."""
    return f"{100.0 * error / abs(value):.3g} %" if value else f"{error:.3g}"


def _aligned(rows: list[list[str]]) -> str:
    """A table in Markdown that is one on a terminal, too: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in rows
    ]  # fmt: skip
    rule = [("-" * (w + 2) if not i else "-" * (w + 1) + ":") for i, w in enumerate(widths)]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])
