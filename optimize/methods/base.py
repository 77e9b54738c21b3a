"""What all methods share: a state of plain arrays, and two verbs, `init` and `step`.

A step takes a state and gives the next one; nothing else is kept. So a state on disk is all that a fit needs to go on.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from ..objective import Objective

RUNNING, CONVERGED, FAILED = "running", "converged", "failed"
HOPELESS = 20  # steps in a row that were not finite


class State(NamedTuple):
    """Where a fit is. `u`, `loss` and `gradient` belong together and are finite.

    `memory` holds the arrays of the method; `rejected` counts steps that were not finite, `in_a_row` the last of them.
    """

    u: np.ndarray
    loss: float
    gradient: np.ndarray
    memory: dict[str, np.ndarray]
    iteration: int = 0
    rejected: int = 0
    in_a_row: int = 0
    status: str = RUNNING
    message: str = ""

    def finished(self, status: str, message: str) -> State:
        """The same state, with its verdict."""
        return self._replace(status=status, message=message)

    def refused(self, memory: dict[str, np.ndarray]) -> State:
        """This state after a step that was not finite: it stays where it is."""
        state = self._replace(memory=memory, rejected=self.rejected + 1, in_a_row=self.in_a_row + 1)
        if state.in_a_row < HOPELESS:
            return state
        return state.finished(FAILED, f"The last {HOPELESS} steps were not finite. Lower the learning rate, or clip.")


class Method(Protocol):
    """A way to minimise an `Objective`."""

    modes: ClassVar[tuple[str, ...]]  # how it may differentiate, its favourite first
    options: ClassVar[tuple[str, ...]]  # which choices of a fit, beyond those of all methods, it takes

    def init(self, objective: Objective, u: np.ndarray) -> State:
        """The state at the start."""

    def step(self, objective: Objective, state: State) -> State:
        """The state after one more evaluation (or a few)."""


def blur(objective: Objective) -> float:
    """The relative change of the loss below which rounding decides."""
    return 100.0 * float(np.finfo(objective.simulator.backend.dtype).eps)


def not_finite(u: np.ndarray, gradient: Any) -> State:
    """The state of a fit whose start could not be computed: it has failed."""
    message = "The loss or its gradient is not finite at the initial values. Start elsewhere, or try dtype float64."
    return State(u, float("nan"), np.asarray(gradient), {}).finished(FAILED, message)


def without_effect(names: tuple[str, ...], gradient: np.ndarray) -> str:
    """Which parameters change nothing, as a sentence; empty if all have an effect."""
    idle = [name for name, slope in zip(names, gradient, strict=True) if slope == 0.0]
    return f"The data do not depend on {', '.join(idle)}. Leave it out of the fit." if idle else ""
