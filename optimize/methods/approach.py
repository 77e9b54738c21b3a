"""Gauss-Newton in two stages, for losses in which a prediction may gain by losing hits.

Far from the truth, a hit that is missed costs less than one that is misplaced by many resolutions, so that a fit may
run to where nothing is predicted. So it first comes near with a loss that makes missing hits expensive, then takes
the loss that was asked for, in which noise that makes hits come and go weighs no more than it should.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Objective
from .base import RUNNING, State
from .gauss_newton import GaussNewton

NEAR = 0.03  # half ranges: the first stage ends with a step shorter than this
STAGE = "rough"


@dataclass(frozen=True)
class Approach:
    """Gauss-Newton, after a rough one where the objective asks for it. `tolerance` is that of the last stage."""

    tolerance: float = 1e-5

    modes: ClassVar[tuple[str, ...]] = GaussNewton.modes
    options: ClassVar[tuple[str, ...]] = GaussNewton.options

    def init(self, objective: Objective, u: np.ndarray) -> State:
        rough = objective.stiff()
        if rough is None:
            return GaussNewton(self.tolerance).init(objective, u)
        return _marked(GaussNewton(NEAR).init(rough, u))

    def step(self, objective: Objective, state: State) -> State:
        if STAGE not in state.memory:
            return GaussNewton(self.tolerance).step(objective, state)
        memory = {name: value for name, value in state.memory.items() if name != STAGE}
        new = GaussNewton(NEAR).step(objective.stiff() or objective, state._replace(memory=memory))
        if new.status == RUNNING:
            return _marked(new)
        return GaussNewton(self.tolerance).init(objective, new.u)._replace(rejected=new.rejected)


def _marked(state: State) -> State:
    return state._replace(memory={**state.memory, STAGE: np.array(True)})
