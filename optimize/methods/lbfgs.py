"""L-BFGS within limits: the gradient, made a step by what the last steps taught about the curvature.

Liu, Nocedal, Math. Program. 45, 1989. Parameters on a limit that are pushed outwards are held; the rest is projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Objective
from .base import CONVERGED, FAILED, State, blur, not_finite, without_effect

ENOUGH = 1e-4  # of the decrease that the gradient promises
FIRST = 0.1  # length of the first step, in units of half a parameter's range


@dataclass(frozen=True)
class LBFGS:
    """One trial per step of the method, halved until the loss falls enough; `pairs` steps are remembered."""

    tolerance: float = 1e-5
    pairs: int = 10

    modes: ClassVar[tuple[str, ...]] = ("direct", "checkpointed", "forward")
    options: ClassVar[tuple[str, ...]] = ()

    def init(self, objective: Objective, u: np.ndarray) -> State:
        loss, gradient = objective.value_and_grad(u)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return not_finite(u, gradient)
        none = np.zeros((0, len(u)))
        memory = {"steps": none, "changes": none, "halvings": np.array(0)}
        state = State(u, loss, gradient, memory)
        idle = without_effect(objective.scaling.names, gradient)
        return state.finished(FAILED, idle) if idle and gradient.any() else state

    def step(self, objective: Objective, state: State) -> State:
        direction = self._direction(objective, state)
        halvings = int(state.memory["halvings"])
        u = objective.scaling.inside(state.u + 0.5**halvings * direction)
        moved = u - state.u
        if np.abs(moved).max() < self.tolerance:
            return self._short(objective, state, direction)
        loss, gradient = objective.value_and_grad(u)
        shorter = {**state.memory, "halvings": np.array(halvings + 1)}
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return state.refused(shorter)
        if loss > state.loss + ENOUGH * float(state.gradient @ moved):
            return state._replace(memory=shorter, in_a_row=0)
        return state._replace(
            u=u, loss=loss, gradient=gradient, memory=self._learnt(state, moved, gradient - state.gradient), in_a_row=0
        )

    def _short(self, objective: Objective, state: State, direction: np.ndarray) -> State:
        """The verdict on a step that is too short: the end, or a new start along the slope."""
        promised = -float(state.gradient @ direction)
        blurred = state.in_a_row == 0 and promised < blur(objective) * state.loss
        if state.memory["halvings"] == 0 or blurred:
            return state.finished(CONVERGED, f"Steps shorter than {self.tolerance:g} of the ranges gain nothing.")
        if len(state.memory["steps"]):
            return state._replace(memory=self._forgotten(state))
        if state.in_a_row:
            return state.finished(FAILED, f"The last {state.in_a_row} steps were not finite. Start elsewhere.")
        return state.finished(FAILED, "No step lowers the loss, though its slope is not zero. Start elsewhere.")

    def _direction(self, objective: Objective, state: State) -> np.ndarray:
        """Minus the gradient times the approximate inverse of the Hessian. Axis: (parameter,)."""
        scaling, g = objective.scaling, state.gradient
        free = ~((state.u <= scaling.low) & (g > 0) | (state.u >= scaling.high) & (g < 0))
        steps, changes = state.memory["steps"] * free, state.memory["changes"] * free
        q, weights = -g * free, []
        useful = [(s, y) for s, y in zip(steps, changes, strict=True) if s @ y > 0]
        for s, y in reversed(useful):
            weights.append((s @ q) / (s @ y))
            q = q - weights[-1] * y
        if not useful:
            return q * (FIRST / max(np.abs(q).max(), 1e-300))
        s, y = useful[-1]
        q = q * (s @ y) / (y @ y)
        for (s, y), weight in zip(useful, reversed(weights), strict=True):
            q = q + (weight - (y @ q) / (s @ y)) * s
        return q

    def _learnt(self, state: State, step: np.ndarray, change: np.ndarray) -> dict[str, np.ndarray]:
        steps, changes = (np.vstack([state.memory[k], v]) for k, v in (("steps", step), ("changes", change)))
        return {"steps": steps[-self.pairs :], "changes": changes[-self.pairs :], "halvings": np.array(0)}

    def _forgotten(self, state: State) -> dict[str, np.ndarray]:
        none = np.zeros((0, len(state.u)))
        return {"steps": none, "changes": none, "halvings": np.array(0)}
