"""Minuit's Migrad with our gradient.

Minuit keeps its state to itself. So ours is every answer that it was given, and each step runs it from the start,
repeats these answers, and adds the first one that is new: as cheap as a list, and an interrupted fit goes on exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from larndsim.errors import ArgumentError

from ..objective import Objective
from .base import CONVERGED, FAILED, State, blur, not_finite

STEP = 0.03  # of half a parameter's range, which Minuit starts with
SMALL = 1e-9  # a loss that need not be told from zero
DETERRENT = 10.0  # what Minuit is told where the loss is not finite: this times the largest one so far


class Unanswered(Exception):
    """Minuit asks for a point that it has not asked for before."""

    def __init__(self, u: np.ndarray) -> None:
        super().__init__()
        self.u = u


@dataclass(frozen=True)
class Minuit:
    """One new evaluation per step; `tolerance` is the expected distance to the minimum relative to the first loss."""

    tolerance: float = 1e-5

    modes: ClassVar[tuple[str, ...]] = ("direct", "checkpointed", "forward")
    options: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _iminuit()

    def init(self, objective: Objective, u: np.ndarray) -> State:
        loss, gradient = objective.value_and_grad(u)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return not_finite(u, gradient)
        return State(u, loss, gradient, {"u": u[None], "loss": np.array([loss]), "gradient": gradient[None]})

    def step(self, objective: Objective, state: State) -> State:
        known = {u.tobytes(): row for row, u in enumerate(state.memory["u"])}
        try:
            result = self._migrad(objective, state.memory, known)
        except Unanswered as question:
            return self._answered(objective, state, question.u)
        unit = self._unit(state.memory)
        if result.valid or result.fmin.edm * unit < blur(objective) * state.loss:
            return state.finished(CONVERGED, "Minuit found a valid minimum.")
        return state.finished(FAILED, "Minuit found no valid minimum. Try method gauss-newton, or start elsewhere.")

    def _unit(self, memory: dict[str, np.ndarray]) -> float:
        """What Minuit counts the loss in: that at the start."""
        return max(float(memory["loss"][0]), SMALL)

    def _migrad(self, objective: Objective, memory: dict[str, np.ndarray], known: dict[bytes, int]) -> Any:
        """Minuit after it has run on the answers of the memory."""
        unit = self._unit(memory)

        def row(u: Any) -> int:
            u = np.array(u, dtype=np.float64)
            if u.tobytes() not in known:
                raise Unanswered(u)
            return known[u.tobytes()]

        scaling = objective.scaling
        minuit = _iminuit().Minuit(
            lambda u: memory["loss"][row(u)] / unit,
            memory["u"][0],
            grad=lambda u: memory["gradient"][row(u)] / unit,
            name=scaling.names,
        )
        minuit.limits = list(zip(scaling.low, scaling.high, strict=True))
        minuit.errors = STEP
        minuit.errordef = minuit.LEAST_SQUARES
        minuit.tol = self.tolerance
        minuit.strategy = 0
        minuit.precision = float(np.finfo(objective.simulator.backend.dtype).eps)
        return minuit.migrad(ncall=100_000)

    def _answered(self, objective: Objective, state: State, u: np.ndarray) -> State:
        """The state with one more answer; the best point is the state's."""
        loss, gradient = objective.value_and_grad(u)
        finite = bool(np.isfinite(loss) and np.isfinite(gradient).all())
        memory = state.memory
        told = (u, loss, gradient) if finite else (u, DETERRENT * (memory["loss"].max() + 1.0), 0.0 * state.gradient)
        memory = {k: np.concatenate([memory[k], [v]]) for k, v in zip(("u", "loss", "gradient"), told, strict=True)}
        if not finite:
            return state.refused(memory)
        state = state._replace(memory=memory, in_a_row=0)
        return state._replace(u=u, loss=loss, gradient=gradient) if loss < state.loss else state


def _iminuit() -> Any:
    try:
        import iminuit
    except ImportError as error:
        remedy = "Install it with: pip install 'larndsim[minuit]'."
        raise ArgumentError("method", "be installed", "iminuit is not", remedy) from error
    return iminuit
