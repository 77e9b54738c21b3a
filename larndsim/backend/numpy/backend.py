"""NumPy: the values alone, without derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..base import Backend, Cost


class NumPyBackend(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    hits_cost = Cost(rows=200.0, kept=1.0, bells=3.0)
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
