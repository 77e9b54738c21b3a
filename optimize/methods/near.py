"""Coming near a maximum of the likelihood with other losses, before a method takes over.

Far from the truth, a hit that comes before its predicted rise gives the likelihood no slope: the waveform is flat
there. The residuals of hits are linear in time, and lead near from anywhere. They hold the parameters of the
electronics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Objective
from .base import RUNNING, Method, State
from .gauss_newton import FIRST, GaussNewton

COARSE = "coarse"  # the number of a coarse stage
MUCH = 0.1  # of the loss: a coarse stage goes on while its steps gain this
HEAVY = 1.0  # damping beyond which a coarse stage gives up
LONGEST = 40  # steps of the coarse stages


@dataclass(frozen=True)
class Near:
    """Coarse stages of Gauss-Newton, as many as the objective has; then a method."""

    method: Method

    modes: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()

    def init(self, objective: Objective, u: np.ndarray) -> State:
        return self._stage(objective, u, 0, 0)

    def step(self, objective: Objective, state: State) -> State:
        if COARSE not in state.memory:
            return self.method.step(objective, state)
        stage, iteration = int(state.memory[COARSE]), state.iteration + 1
        memory = {name: value for name, value in state.memory.items() if name != COARSE}
        memory["damping"] = np.maximum(memory["damping"], FIRST)
        moves, coarse = objective.coarse_moves(), objective.coarse(state.u)[stage]
        inner = state._replace(u=state.u[moves], gradient=state.gradient[moves], memory=memory)
        new = _of_all(GaussNewton().step(coarse, inner), state.u, moves)
        gains = new.loss < (1.0 - MUCH) * state.loss
        retries = new.loss == state.loss and new.memory["damping"] < HEAVY
        if new.status == RUNNING and (gains or retries) and iteration < LONGEST:
            return _marked(new, stage)
        return self._stage(objective, new.u, stage + 1, iteration)._replace(rejected=new.rejected)

    def _stage(self, objective: Objective, u: np.ndarray, stage: int, iteration: int) -> State:
        """The start of a stage: a coarse one where there is one left, else that of the method."""
        coarse, moves = objective.coarse(u), objective.coarse_moves()
        if stage >= len(coarse):
            return self.method.init(objective, u)._replace(iteration=iteration)
        begun = GaussNewton().init(coarse[stage], u[moves])
        if begun.status != RUNNING:  # a loss that says nothing here: the next one may
            return self._stage(objective, u, stage + 1, iteration)
        return _marked(_of_all(begun, u, moves), stage)


def _marked(state: State, stage: int) -> State:
    return state._replace(memory={**state.memory, COARSE: np.array(stage)})


def _of_all(state: State, u: np.ndarray, moves: np.ndarray) -> State:
    """The state of a fit of the parameters that move, as that of all of them."""
    whole, gradient = u.copy(), np.zeros(len(u))
    whole[moves], gradient[moves] = state.u, state.gradient
    return state._replace(u=whole, gradient=gradient)
