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

FIRST, LEAST, MOST = 1e-3, 1e-9, 1e10  # damping
SHORTER, LONGER = 10.0, 0.1  # what a bad and a good step do to it


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
            return state.finished(CONVERGED, "No step is left to take.")
        problem = objective.normal(u)
        if not problem.is_finite():
            return state.refused({**state.memory, "damping": np.array(damping * SHORTER)})
        if problem.loss > state.loss:
            return self._retry(state, problem, length)
        new = self._accepted(u, problem, max(float(damping) * LONGER, LEAST))
        new = state._replace(u=new.u, loss=new.loss, gradient=new.gradient, memory=new.memory, in_a_row=0)
        if length < self.tolerance and damping <= FIRST:
            return new.finished(CONVERGED, f"The last step was shorter than {self.tolerance:g} of the ranges.")
        return new

    def _accepted(self, u: np.ndarray, problem: Normal, damping: float) -> State:
        memory = {"matrix": problem.matrix, "slope": problem.slope, "damping": np.array(damping)}
        return State(u, problem.loss, problem.gradient, memory)

    def _retry(self, state: State, problem: Normal, length: float) -> State:
        """The same point with more damping; or the end, where rounding hides what a step would gain."""
        damping = float(state.memory["damping"]) * SHORTER
        if length < self.tolerance:
            return state.finished(CONVERGED, f"Steps shorter than {self.tolerance:g} of the ranges gain nothing.")
        if damping > MOST:
            return state.finished(FAILED, "No step lowers the loss. Start elsewhere, or try dtype float64.")
        return state._replace(memory={**state.memory, "damping": np.array(damping)}, in_a_row=0)


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
