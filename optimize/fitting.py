"""A fit from start to end: `fit` is what users call."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from larndsim.errors import ArgumentError

from .goodness import goodness
from .history import History
from .methods import CONVERGED, RUNNING, State
from .problem import Problem, make_problem
from .progress import telling
from .records import Folder
from .settings import Settings, make_settings
from .uncertainties import correlation, covariance, errors

TOYS = 12  # data sets simulated at the minimum of a likelihood
MAX_ITERATIONS = "max_iterations"


class FitResult(NamedTuple):
    """What a fit found. `status` is converged, max_iterations or failed; `message` says why, and what to do.

    `errors` and `covariance` (parameter, parameter), in the order of `values`, are NaN where they are not known.
    `target` is None for data. `history` has one row per iteration, see `History`. `rejected` steps were not finite.
    `dataset` says what was fitted to, and what was cut.
    """

    status: str
    message: str
    loss: float
    iterations: int
    wall_s: float
    init: dict[str, float]
    values: dict[str, float]
    errors: dict[str, float]
    target: dict[str, float] | None
    covariance: np.ndarray
    history: dict[str, np.ndarray]
    rejected: int
    at_bound: tuple[str, ...]
    dataset: str
    p_value: float | None = None  # of a likelihood: how often the model makes data as unlikely as these
    remarks: tuple[str, ...] = ()  # what to know before believing the result

    @property
    def converged(self) -> bool:
        """Whether the fit is at a minimum."""
        return self.status == CONVERGED

    @property
    def correlation(self) -> np.ndarray:
        """Axes: (parameter, parameter)."""
        return correlation(self.covariance)

    def table(self) -> str:
        """Initial values, fitted ones with their errors, and the truth where it is known."""
        lines = [f"{'parameter':<15}{'initial':>13}{'fitted':>15}{'error':>11}{'target':>15}{'off by':>12}"]
        for name, value in self.values.items():
            line = f"{name:<15}{self.init[name]:>13.6g}{value:>15.8g}{self.errors[name]:>11.2g}"
            if self.target is not None:
                target = self.target[name]
                line += f"{target:>15.8g}" + (f"{100 * abs(value / target - 1):>10.4f} %" if target else "")
            lines.append(line)
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """The content of `result.json`."""
        parameters: dict[str, dict[str, float]] = {
            name: {"init": self.init[name], "value": value, "error": self.errors[name]}
            for name, value in self.values.items()
        }
        for name, value in (self.target or {}).items():
            parameters[name]["target"] = value
        kept = ("status", "message", "loss", "iterations", "wall_s", "rejected", "at_bound", "dataset", "covariance")
        kept += ("p_value", "remarks")  # type: ignore[assignment]
        return {name: getattr(self, name) for name in kept} | {
            "correlation": self.correlation,
            "parameters": parameters,
        }


def fit(input: Any = None, params: Any = None, out: Any = None, resume: bool = False, **choices: Any) -> FitResult:
    """Fit parameters of a detector so that the simulation of segments agrees with a target.

    `input` is a file of segments, or `Segments`; `params` are names, or a dict of name: learning rate. With `out`, a
    folder, the run is recorded there, and `resume` continues an interrupted one, to the same bits. All other choices
    are the fields of `Settings`: `fit("muons.h5", ["Ab", "lifetime"], method="gradient", optimizer="adam", lr=0.05)`.
    """
    choices = dict(choices)
    if input is not None:
        choices["input"] = input
    if params is not None:
        choices["params"] = params
    if out is None:
        if resume:
            raise ArgumentError("resume", "come with `out`", "that is not given", "Name the folder of the run.")
        return run_fit(make_settings(choices), None)
    folder = Folder(out)
    if resume:
        return run_fit(folder.resumed(choices), folder)
    settings = make_settings(choices)
    folder.check_new(settings)
    return run_fit(settings, folder)


def run_fit(settings: Settings, folder: Folder | None) -> FitResult:
    """Make the problem, iterate, and say what came out."""
    with stopped_by_sigterm():
        start = time.perf_counter()
        problem = make_problem(settings)
        if folder is not None:
            folder.start(settings)
        state, history, start = _start(problem, folder, start)
        state = _iterate(problem, settings, folder, (state, history, start))
        if folder is not None:  # before the errors, which take time: an interruption must not cost the last steps
            folder.save(state, history, problem.objective.scaling.names)
        result = _result(problem, settings, state, history, time.perf_counter() - start)
        if folder is not None:
            folder.finish(result.plain())
    return result


def _start(problem: Problem, folder: Folder | None, start: float) -> tuple[State, History, float]:
    """Where the fit begins, or where it was left; and when it would have begun had it not been interrupted."""
    held = folder.load() if folder is not None else None
    if held is not None:
        state, history = held
        return state, history, start - history.rows[-1][-1] if history.rows else start
    scaling = problem.objective.scaling
    state = problem.method.init(problem.objective, scaling.inside(scaling.scaled(problem.init)))
    history = History()
    if np.isfinite(state.loss):
        history.add(state, scaling, time.perf_counter() - start)
    if folder is not None:
        folder.save(state, history, scaling.names)
    return state, history, start


def _iterate(problem: Problem, settings: Settings, folder: Folder | None, begun: tuple[State, History, float]) -> State:
    """Step until the method has its verdict, or the iterations are used up. An interruption leaves a checkpoint."""
    state, history, start = begun
    scaling, last = problem.objective.scaling, settings.most_iterations
    with telling(scaling, state.iteration, last, settings.save_freq) as tell:
        try:
            while state.status == RUNNING and state.iteration < last:
                new = problem.method.step(problem.objective, state)._replace(iteration=state.iteration + 1)
                history.add(new, scaling, time.perf_counter() - start)
                state = new
                if folder is not None and state.iteration % settings.save_freq == 0:
                    folder.save(state, history, scaling.names)
                tell(state)
        except KeyboardInterrupt:
            if folder is not None:
                folder.save(state, history, scaling.names)
            raise
    return state


def _result(problem: Problem, settings: Settings, state: State, history: History, wall_s: float) -> FitResult:
    """The result, with errors where the fit has come to an end that deserves them."""
    scaling = problem.objective.scaling
    status, message = state.status, state.message
    if status == RUNNING:
        status, message = MAX_ITERATIONS, f"All {state.iteration} steps are used up. Resume with more `iterations`."
    unknown = np.full((len(state.u), len(state.u)), np.nan)
    known = settings.errors and np.isfinite(state.loss)
    verdict = None
    if known and problem.objective.is_likelihood:
        verdict = goodness(problem.objective, state.u, settings.seed, TOYS)
    matrix = covariance(problem.objective, state, verdict and verdict.matrix) if known else unknown
    at_bound = tuple(name for name, bound in zip(scaling.names, scaling.at_bound(state.u), strict=True) if bound)
    if at_bound:
        message += f" {', '.join(at_bound)} came to a limit: the truth may lie beyond it."
    return FitResult(
        status=status,
        message=message,
        loss=state.loss,
        iterations=state.iteration,
        wall_s=wall_s,
        init=problem.init,
        values=scaling.values(state.u),
        errors=dict(zip(scaling.names, errors(matrix).tolist(), strict=True)),
        target=problem.target,
        covariance=matrix,
        history=history.columns(state.iteration),
        rejected=state.rejected,
        at_bound=at_bound,
        dataset=str(problem.report),
        p_value=None if verdict is None else verdict.p_value,
        remarks=() if verdict is None else verdict.remarks,
    )


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM interrupts as SIGINT does. (Only the main thread may ask for that.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
