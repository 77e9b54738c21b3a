"""Gauss-Newton with the damping of Levenberg and Marquardt: few, large steps on the residuals.

The step solves (J^T J + damping * diag(J^T J)) du = -J^T r. Where it leads out of the limits it is projected onto
them; a parameter that sits on a limit and is pushed outwards is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Normal, Objective
from .base import CONVERGED, FAILED, State, not_finite, without_effect

FIRST, LEAST = 1e-3, 1e-9  # damping
SHORTER, LONGER = 10.0, 0.1  # what a bad and a good step do to it
NEAR = 100.0  # tolerances: the undamped step at a minimum that rounding blurs
NEGLIGIBLE = 1e-3  # of the loss


@dataclass(frozen=True)
class GaussNewton:
    """One evaluation of residuals and Jacobian per step; it converges when a step is shorter than `tolerance`."""

    tolerance: float = 1e-5  # of half a parameter's range

    modes: ClassVar[tuple[str, ...]] = ("forward",)
    options: ClassVar[tuple[str, ...]] = ()

    def init(self, objective: Objective, u: np.ndarray) -> State:
        problem = objective.normal(u)
        if not problem.is_finite():
            return not_finite(u, problem.gradient)
        state = self._accepted(u, problem, FIRST)
        idle = without_effect(objective.scaling.names, np.diag(problem.matrix))
        return state.finished(FAILED, idle) if idle else state

    def step(self, objective: Objective, state: State) -> State:
        matrix, slope, damping = (state.memory[name] for name in ("matrix", "slope", "damping"))
        u = next_point(objective, state.u, matrix, slope, float(damping))
        length = float(np.abs(u - state.u).max())
        if length == 0.0:
            return self._stuck(objective, state)
        problem = objective.normal(u)
        if not problem.is_finite():
            return state.refused({**state.memory, "damping": np.array(damping * SHORTER)})
        if problem.loss > state.loss:
            return self._retry(objective, state, length)
        new = self._accepted(u, problem, max(float(damping) * LONGER, LEAST))
        new = state._replace(u=new.u, loss=new.loss, gradient=new.gradient, memory=new.memory, in_a_row=0)
        if length < self.tolerance and damping <= FIRST:
            return new.finished(CONVERGED, f"The last step was shorter than {self.tolerance:g} of the ranges.")
        return new

    def _accepted(self, u: np.ndarray, problem: Normal, damping: float) -> State:
        memory = {"matrix": problem.matrix, "slope": problem.slope, "damping": np.array(damping)}
        memory["residuals"] = np.array(problem.residuals)
        return State(u, problem.loss, problem.gradient, memory)

    def _retry(self, objective: Objective, state: State, length: float) -> State:
        """The same point with more damping; or the end, where no step gains anything."""
        if length < self.tolerance:
            return self._stuck(objective, state)
        damping = float(state.memory["damping"]) * SHORTER
        return state._replace(memory={**state.memory, "damping": np.array(damping)}, in_a_row=0)

    def _stuck(self, objective: Objective, state: State) -> State:
        """The verdict where short steps gain nothing: a minimum as far as rounding lets see, or no minimum at all."""
        matrix, slope = state.memory["matrix"], state.memory["slope"]
        step = next_point(objective, state.u, matrix, slope, LEAST) - state.u
        promised = -(slope @ step + 0.5 * step @ matrix @ step)
        total = max(float(state.memory["residuals"]), 1.0) * state.loss
        if np.abs(step).max() < NEAR * self.tolerance or promised < NEGLIGIBLE * total:
            return state.finished(CONVERGED, f"Steps shorter than {self.tolerance:g} of the ranges gain nothing.")
        return state.finished(FAILED, "No step lowers the loss, though its slope is not zero. Start elsewhere.")


def next_point(
    objective: Objective, u: np.ndarray, matrix: np.ndarray, slope: np.ndarray, damping: float
) -> np.ndarray:
    """Where the damped step leads, within the limits. Axis: (parameter,)."""
    scaling = objective.scaling
    free = ~((u <= scaling.low) & (slope > 0) | (u >= scaling.high) & (slope < 0))
    new = u.copy()
    while free.any():
        # solved with a unit diagonal: what is left is how the parameters are correlated
        size = np.sqrt(np.diag(matrix)[free])
        scaled = matrix[np.ix_(free, free)] / np.outer(size, size) + damping * np.eye(len(size))
        push = slope[free] + matrix[np.ix_(free, ~free)] @ (new - u)[~free]
        new[free] = u[free] - np.linalg.solve(scaled, push / size) / size
        outside = free & ((new < scaling.low) | (new > scaling.high))
        new = scaling.inside(new)
        if not outside.any():
            break
        free &= ~outside
    return new
