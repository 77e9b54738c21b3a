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

from .doctor import remarks
from .goodness import Goodness, goodness
from .history import History
from .methods import CONVERGED, RUNNING, State
from .problem import Problem, make_problem
from .progress import telling
from .records import Folder
from .residuals import Residuals
from .settings import Settings, make_settings
from .tables import table
from .uncertainties import correlation, covariance, errors, intervals

MAX_ITERATIONS = "max_iterations"
KEPT = (  # of a result in `result.json`, as it is
    "status", "message", "loss", "iterations", "wall_s", "rejected", "at_bound", "dataset", "covariance", "noisy",
    "p_value", "remarks", "diagnosis",
)  # fmt: skip


class FitResult(NamedTuple):
    """What a fit found. `status` is converged, max_iterations or failed; `message` says why, and what to do.

    `errors` and `covariance` (parameter, parameter), in the order of `values`, are NaN where they are not known.
    `intervals` (low, high) hold the truth in 68 of 100 fits; they have one side where a parameter came to a limit.
    `target` is None for data; `noisy` says whether the target is measured, or simulated with noise. `history` has one
    row per iteration, see `History`. `rejected` steps were not finite.
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
    intervals: dict[str, tuple[float, float]]
    p_value: float | None = None  # of a likelihood: how often the model makes data as unlikely as these
    remarks: tuple[str, ...] = ()  # what to know before believing the result
    noisy: bool = False
    diagnosis: dict[str, Any] | None = None  # of a likelihood: see `Goodness.plain`
    residuals: Residuals | None = None  # of a likelihood: the data and simulated ones, side by side

    @property
    def converged(self) -> bool:
        """Whether the fit is at a minimum."""
        return self.status == CONVERGED

    @property
    def correlation(self) -> np.ndarray:
        """Axes: (parameter, parameter)."""
        return correlation(self.covariance)

    @property
    def pulls(self) -> dict[str, float]:
        """How many errors each value is above the truth; empty where that is not known, or the target has no noise."""
        if self.target is None or not self.noisy:
            return {}
        return {name: (value - self.target[name]) / self.errors[name] for name, value in self.values.items()}

    def table(self) -> str:
        """Initial values, fitted ones with their errors, and the truth where it is known."""
        return table(self.plain())

    def plain(self) -> dict[str, Any]:
        """The content of `result.json`."""
        parameters: dict[str, dict[str, Any]] = {
            name: {
                "init": self.init[name],
                "value": value,
                "error": self.errors[name],
                "interval": self.intervals[name],
            }
            for name, value in self.values.items()
        }
        for key, values in (("target", self.target or {}), ("pull", self.pulls)):
            for name, value in values.items():
                parameters[name][key] = value
        return {name: getattr(self, name) for name in KEPT} | {
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
            folder.finish(result.plain(), result.residuals)
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
    stage = "likelihood" if problem.objective.is_likelihood else ""
    with telling(scaling, state.iteration, last, settings.save_freq, stage) as tell:
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
    verdict, matrix = _verdict(problem, settings, state)
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
        intervals=intervals(problem.objective, state, matrix),
        p_value=None if verdict is None else verdict.p_value,
        remarks=remarks(scaling, state.u, verdict),
        noisy=settings.noise or settings.data is not None,
        diagnosis=None if verdict is None else verdict.plain(scaling.names),
        residuals=None if verdict is None else verdict.residuals,
    )


def _verdict(problem: Problem, settings: Settings, state: State) -> tuple[Goodness | None, np.ndarray]:
    """What a likelihood fit is worth, and the covariance (parameter, parameter), where they are asked for."""
    if not settings.errors or not np.isfinite(state.loss):
        return None, np.full((len(state.u), len(state.u)), np.nan)
    verdict = None
    if problem.objective.is_likelihood:
        verdict = goodness(problem.objective, state.u, settings.seed, settings.toys)
    return verdict, covariance(problem.objective, state, None if verdict is None else verdict.matrix)


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
