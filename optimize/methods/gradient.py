"""Descent along the gradient, with any optimiser of the backend's framework."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..gradients import get_update
from ..objective import Objective
from .base import CONVERGED, FAILED, State, not_finite, without_effect

WINDOW = 50  # steps that the parameters have to stand still for
FREE = 10.0  # tolerances that the learning rate has to allow meanwhile
LAST = 0.01  # what the schedules come down to

# How the learning rate changes with the share of the iterations that are done, 0 to 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - (1.0 - LAST) * done,
    "cosine": lambda done: LAST + (1.0 - LAST) * 0.5 * (1.0 + math.cos(math.pi * done)),
    "exponential": lambda done: LAST**done,
    "warmup": lambda done: min(1.0, 0.1 + 9.0 * done) * (LAST + (1.0 - LAST) * 0.5 * (1.0 + math.cos(math.pi * done))),
}


@dataclass(frozen=True)
class Gradient:
    """One step of the optimiser and one evaluation per step.

    `rates` (parameter,) are in units of half a parameter's range. With `batches_per_step`, each step takes the next
    few batches, in an order that `seed` shuffles anew each time all have been taken. `clip` limits the length of the
    gradient. It converges when no parameter has moved by more than `tolerance` for a while, though it was free to.
    """

    rates: np.ndarray
    optimizer: str = "adam"
    schedule: str = "constant"
    clip: float | None = None
    iterations: int = 500
    batches_per_step: int | None = None
    seed: int = 0
    tolerance: float = 1e-4

    modes: ClassVar[tuple[str, ...]] = ("direct", "checkpointed", "forward")
    options: ClassVar[tuple[str, ...]] = ("optimizer", "lr", "schedule", "clip", "batches_per_step")

    def init(self, objective: Objective, u: np.ndarray) -> State:
        loss, gradient = objective.value_and_grad(u, self._batches(objective, 0))
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return not_finite(u, gradient)
        state = State(u, loss, gradient, {"recent": u[None], "brake": np.array(1.0)})
        idle = without_effect(objective.scaling.names, gradient)
        return state.finished(FAILED, idle) if idle and gradient.any() else state

    def step(self, objective: Objective, state: State) -> State:
        memory = state.memory
        inner = {key[1:]: value for key, value in memory.items() if key.startswith("@")}
        brake = float(memory["brake"])
        rates = self.rates * brake * SCHEDULES[self.schedule](min(state.iteration / max(self.iterations, 1), 1.0))
        update = get_update(self.optimizer, objective.simulator.backend.name)
        u, inner = update(state.u, self._clipped(state.gradient), rates, inner)
        if not np.isfinite(u).all():
            return state.refused({**memory, "brake": np.array(0.5 * brake)})
        u = objective.scaling.inside(u)
        loss, gradient = objective.value_and_grad(u, self._batches(objective, state.iteration + 1))
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return state.refused({**memory, "brake": np.array(0.5 * brake)})
        recent = np.vstack([memory["recent"], u])[-WINDOW:]
        memory = {f"@{key}": value for key, value in inner.items()}
        memory |= {"recent": recent, "brake": np.array(min(1.0, 2.0 * brake))}
        state = state._replace(u=u, loss=loss, gradient=gradient, memory=memory, in_a_row=0)
        free = bool((WINDOW * rates >= FREE * self.tolerance).all())
        if len(recent) == WINDOW and free and np.ptp(recent, axis=0).max() < self.tolerance:
            return state.finished(CONVERGED, f"No parameter moved by {self.tolerance:g} in {WINDOW} steps.")
        return state

    def _clipped(self, gradient: np.ndarray) -> np.ndarray:
        length = float(np.linalg.norm(gradient))
        return gradient if self.clip is None or length <= self.clip else gradient * (self.clip / length)

    def _batches(self, objective: Objective, iteration: int) -> list[int] | None:
        """The batches of an iteration; the order depends on the seed and on how often all have been taken."""
        count = len(objective.batches)
        if self.batches_per_step is None or self.batches_per_step >= count:
            return None
        places = range(iteration * self.batches_per_step, (iteration + 1) * self.batches_per_step)
        return [_shuffled(self.seed, place // count, count)[place % count] for place in places]


def _shuffled(seed: int, epoch: int, count: int) -> list[int]:
    return np.random.default_rng([seed, epoch]).permutation(count).tolist()
