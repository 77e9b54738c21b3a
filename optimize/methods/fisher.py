"""Scoring: Newton steps on the likelihood with the information that is expected at the current point.

The information matrix is the mean outer product of the scores of pixels in data simulated there, with noise of stated
seeds: near the truth and far from it, it says what such data know of the parameters. (The scores of the data themselves
grow with the misfit, and would make steps far from the truth too short.) Damped as Levenberg and Marquardt do, within
the limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Information, Objective
from .base import CONVERGED, FAILED, State, not_finite, without_effect
from .gauss_newton import next_point

SEEDS = 2  # simulated data sets for each information matrix: the step changes little with more
FIRST, LEAST, MOST = 1e-3, 1e-6, 1e6  # damping
SHORTER, LONGER = 10.0, 0.1  # what a bad and a good step do to it
RISE = 0.05  # of -log L that a step may lose: the ticks at which comparators die move by whole ones
SETTLED = 1e-2  # damping with which a short step tells that the fit is at its end
CLOSE = 3.0  # errors: after a step shorter than this, the next one tells how curved the likelihood is
REACH = 0.5  # half ranges that parameters of the electronics go at once: the information changes with them
SHORTEST = 0.3  # of the whole step: data whose likelihood is more curved than this have not been seen
STILL, PATIENCE = 50.0, 8  # tolerances; after so many whole steps shorter than that the likelihood is no smoother


@dataclass(frozen=True)
class Fisher:
    """One evaluation of the likelihood, its scores and the information per step.

    It converges when a step is shorter than `tolerance` errors of the parameters, in the metric of the information; or
    when whole steps, undamped, stay short, but get no shorter: the ticks at which comparators die are whole ones.
    """

    tolerance: float = 0.02
    seed: int = 0

    modes: ClassVar[tuple[str, ...]] = ("forward",)
    options: ClassVar[tuple[str, ...]] = ()

    def init(self, objective: Objective, u: np.ndarray) -> State:
        found = objective.informed(u, self._seeds(0))
        if not found.is_finite():
            return not_finite(u, found.gradient)
        state = _accepted(u, found, FIRST)
        idle = without_effect(objective.scaling.names, np.diag(found.matrix))
        return state.finished(FAILED, idle) if idle else state

    def step(self, objective: Objective, state: State) -> State:
        matrix, slope, damping = (state.memory[name] for name in ("expected", "slope", "damping"))
        whole = next_point(objective, state.u, matrix, slope, float(damping)) - state.u
        stride = min(_stride(state.memory, whole), _within_reach(whole, objective))
        u, size = objective.scaling.inside(state.u + stride * whole), _size(whole, matrix)
        found = objective.informed(u, self._seeds(state.iteration + 1))
        undamped = next_point(objective, state.u, matrix, slope, LEAST) - state.u
        short = _size(undamped, matrix) < STILL * self.tolerance
        still = np.array(int(state.memory.get("still", 0)) + 1 if short else 0)
        shorter = {**state.memory, "damping": np.array(max(damping * SHORTER, SETTLED)), "still": still}
        if not found.is_finite():
            return state.refused(shorter)
        if found.weight * (found.loss - state.loss) > RISE:
            if damping > MOST:
                return state.finished(FAILED, "No step makes the data likelier. Start elsewhere.")
            return _rested(state._replace(memory=shorter, in_a_row=0))
        new = _accepted(u, found, max(float(damping) * LONGER, LEAST))
        memory = {**new.memory, "step": u - state.u, "stride": np.array(stride), "still": still}
        new = state._replace(u=new.u, loss=new.loss, gradient=new.gradient, memory=memory, in_a_row=0)
        if size < self.tolerance and damping <= SETTLED:
            return new.finished(CONVERGED, f"The last step was shorter than {self.tolerance:g} errors.")
        return _rested(new)

    def _seeds(self, iteration: int) -> tuple[int, ...]:
        return seeds_of(self.seed, iteration, SEEDS)


def _rested(state: State) -> State:
    """The same, at its end if steps have been short for long."""
    if state.memory["still"] < PATIENCE:
        return state
    message = f"The last {PATIENCE} steps asked for less than {STILL:g} tolerances: it is no smoother."
    return state.finished(CONVERGED, message)


def seeds_of(seed: int, stream: int, count: int) -> tuple[int, ...]:
    """So many seeds of noise, unlike those of the data of any fit."""
    state = np.random.SeedSequence(seed, spawn_key=(0xF15, stream)).generate_state(count, np.uint64)
    return tuple(int(value >> np.uint64(1)) for value in state)


def _accepted(u: np.ndarray, found: Information, damping: float) -> State:
    memory = {"expected": found.matrix, "slope": -found.score, "damping": np.array(damping)}
    return State(u, found.loss, found.gradient, memory)


def _stride(memory: dict[str, np.ndarray], whole: np.ndarray) -> float:
    """Which part of the whole step to go: less than all of it where the last one went too far.

    The likelihood of the data may be more curved than is expected. If it is so by a factor k, a step that went the part
    s of the whole is followed by a whole one of (1 / s - k) times its length; and the part 1 / k is the right one.
    """
    matrix, last, stride = (memory.get(name) for name in ("expected", "step", "stride"))
    if matrix is None or last is None or stride is None or not 0.0 < (length := _size(last, matrix)) < CLOSE:
        return 1.0
    curved = 1.0 / float(stride) - float(last @ matrix @ whole) / length**2
    return float(np.clip(1.0 / max(curved, 1.0), SHORTEST, 1.0))


def _within_reach(whole: np.ndarray, objective: Objective) -> float:
    """Which part of the whole step does not go too far for the electronics."""
    far = np.abs(whole[~objective.coarse_moves()]).max(initial=0.0)
    return REACH / far if far > REACH else 1.0


def _size(step: np.ndarray, matrix: np.ndarray) -> float:
    """The length of a step in errors."""
    return float(np.sqrt(max(step @ matrix @ step, 0.0)))
