"""What every iteration of a fit was like, as growing columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .methods import State
from .scaling import Scaling

COLUMNS = ("iteration", "loss", "parameters", "gradient", "rejected", "wall_s")
WIDE = ("parameters", "gradient")  # those with a column per parameter


@dataclass
class History:
    """One row per iteration, the start included. `parameters` and `gradient` (row, parameter) are physical.

    A row whose step was rejected repeats the last accepted point: what was not computed is never recorded.
    """

    rows: list[tuple] = field(default_factory=list)

    def add(self, state: State, scaling: Scaling, wall_s: float) -> None:
        """Record where a fit is."""
        gradient = state.gradient / scaling.slope(state.u)
        self.rows.append((state.iteration, state.loss, scaling.physical(state.u), gradient, state.rejected, wall_s))

    def columns(self, until: int | None = None) -> dict[str, np.ndarray]:
        """The rows up to an iteration (default: all), column by column."""
        rows = self.rows if until is None else [row for row in self.rows if row[0] <= until]
        if not rows:
            return {name: np.zeros((0, 0) if name in WIDE else 0) for name in COLUMNS}
        return {name: np.array([row[i] for row in rows]) for i, name in enumerate(COLUMNS)}

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> History:
        """The same from its columns."""
        rows = zip(*(columns[name] for name in COLUMNS), strict=True)
        return cls([(int(i), float(loss), p, g, int(r), float(t)) for i, loss, p, g, r, t in rows])
