"""Scoring: Newton steps on the likelihood with the information that is expected at the current point.

The information matrix is the mean outer product of the scores of pixels in data simulated there, with noise of stated
seeds: near the truth and far from it, it says what such data know of the parameters. (The scores of the data themselves
grow with the misfit, and would make steps far from the truth too short.) Damped as Levenberg and Marquardt do, within
the limits. A hit that comes before its predicted rise gives no slope, so the fit comes near with other losses first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Information, Objective
from .base import CONVERGED, FAILED, RUNNING, State, not_finite, without_effect
from .gauss_newton import GaussNewton, next_point

COARSE = "coarse"  # the number of a coarse stage
MUCH = 0.1  # of the loss: a coarse stage goes on while its steps gain this
HEAVY = 1.0  # damping beyond which a coarse stage gives up
LONGEST = 40  # steps of the coarse stages
SEEDS = 2  # simulated data sets for each information matrix: the step changes little with more
FIRST, LEAST, MOST = 1e-3, 1e-6, 1e6  # damping
SHORTER, LONGER = 10.0, 0.1  # what a bad and a good step do to it
RISE = 0.05  # of -log L that a step may lose: the ticks at which comparators die move by whole ones
SETTLED = 1e-2  # damping with which a short step tells that the fit is at its end


@dataclass(frozen=True)
class Fisher:
    """One evaluation of the likelihood, its scores and the information per step; `near` leaves out other losses.

    It converges when a step is shorter than `tolerance` errors of the parameters, in the metric of the information.
    """

    tolerance: float = 0.02
    seed: int = 0
    near: bool = False

    modes: ClassVar[tuple[str, ...]] = ("forward",)
    options: ClassVar[tuple[str, ...]] = ()

    def init(self, objective: Objective, u: np.ndarray) -> State:
        return self._begun(objective, u, 0) if self.near else self._next_stage(objective, u, 0, 0)

    def step(self, objective: Objective, state: State) -> State:
        return self._near(objective, state) if COARSE in state.memory else self._scored(objective, state)

    def _near(self, objective: Objective, state: State) -> State:
        """A step of a coarse stage; the next stage begins where steps no longer gain much."""
        stage, iteration = int(state.memory[COARSE]), state.iteration + 1
        memory = {name: value for name, value in state.memory.items() if name != COARSE}
        memory["damping"] = np.maximum(memory["damping"], FIRST)
        new = GaussNewton().step(objective.coarse()[stage], state._replace(memory=memory))
        gains = new.loss < (1.0 - MUCH) * state.loss
        retries = new.loss == state.loss and new.memory["damping"] < HEAVY
        if new.status == RUNNING and (gains or retries) and iteration < LONGEST:
            return new._replace(memory={**new.memory, COARSE: np.array(stage)})
        return self._next_stage(objective, new.u, stage + 1, iteration)._replace(rejected=new.rejected)

    def _next_stage(self, objective: Objective, u: np.ndarray, stage: int, iteration: int) -> State:
        """The start of a stage: a coarse one where there is one left, else that of the likelihood."""
        coarse = objective.coarse()
        if stage >= len(coarse):
            return self._begun(objective, u, iteration)
        state = GaussNewton().init(coarse[stage], u)
        return state._replace(memory={**state.memory, COARSE: np.array(stage)})

    def _begun(self, objective: Objective, u: np.ndarray, iteration: int) -> State:
        found = objective.informed(u, self._seeds(iteration))
        if not found.is_finite():
            return not_finite(u, found.gradient)
        state = _accepted(u, found, FIRST)
        idle = without_effect(objective.scaling.names, np.diag(found.matrix))
        return state.finished(FAILED, idle) if idle else state

    def _scored(self, objective: Objective, state: State) -> State:
        """One step of scoring."""
        matrix, slope, damping = (state.memory[name] for name in ("expected", "slope", "damping"))
        u = next_point(objective, state.u, matrix, slope, float(damping))
        size = _size(u - state.u, matrix)
        found = objective.informed(u, self._seeds(state.iteration + 1))
        shorter = {**state.memory, "damping": np.array(max(damping * SHORTER, SETTLED))}
        if not found.is_finite():
            return state.refused(shorter)
        if found.weight * (found.loss - state.loss) > RISE:
            if damping > MOST:
                return state.finished(FAILED, "No step makes the data likelier. Start elsewhere.")
            return state._replace(memory=shorter, in_a_row=0)
        new = _accepted(u, found, max(float(damping) * LONGER, LEAST))
        new = state._replace(u=new.u, loss=new.loss, gradient=new.gradient, memory=new.memory, in_a_row=0)
        if size < self.tolerance and damping <= SETTLED:
            return new.finished(CONVERGED, f"The last step was shorter than {self.tolerance:g} errors.")
        return new

    def _seeds(self, iteration: int) -> tuple[int, ...]:
        return seeds_of(self.seed, iteration, SEEDS)


def seeds_of(seed: int, stream: int, count: int) -> tuple[int, ...]:
    """So many seeds of noise, unlike those of the data of any fit."""
    state = np.random.SeedSequence(seed, spawn_key=(0xF15, stream)).generate_state(count, np.uint64)
    return tuple(int(value >> np.uint64(1)) for value in state)


def _accepted(u: np.ndarray, found: Information, damping: float) -> State:
    memory = {"expected": found.matrix, "slope": -found.score, "damping": np.array(damping)}
    return State(u, found.loss, found.gradient, memory)


def _size(step: np.ndarray, matrix: np.ndarray) -> float:
    """The length of a step in errors."""
    return float(np.sqrt(max(step @ matrix @ step, 0.0)))
