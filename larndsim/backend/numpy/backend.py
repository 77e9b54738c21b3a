"""NumPy: the values alone, without derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..base import Backend, Cost, Sizes


class NumPyBackend(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    hits_cost = Cost(ticks=1.0, kept=1.0, bells=3.0)
    gradient_cost = hits_cost

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        if device != "cpu":
            raise ArgumentError("device", "be cpu with the numpy backend", f"it is {device!r}")
        super().__init__(device, dtype)

    def asarray(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        return np.asarray(array, dtype=self._dtype_of(array))

    def numpy(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    def sizes(self, memory: float) -> Sizes:
        return Sizes().within(memory)

    def gathered(self, table: Any, index: Any) -> np.ndarray:
        return table[index]

    def columns(self, parts: list[Any], rows: list[np.ndarray]) -> tuple[Any, ...]:
        whole = self.rows(parts, rows)
        return tuple(whole.reshape(-1, whole.shape[2]).T)

    def rows(self, parts: list[Any], rows: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([part[own] for part, own in zip(parts, rows, strict=True)])
