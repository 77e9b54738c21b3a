"""How fast electrons drift: the one definition, for floats, arrays and tensors alike."""

from __future__ import annotations

from typing import Any

MOBILITY = (551.6, 7158.3, 4440.43, 4.29, 43.63, 0.2053)


def drift_velocity(eField: Any, temperature: Any) -> Any:
    """Drift velocity (cm/us) in a field (kV/cm) at a temperature (K): NIM A 816 (2016) 160.

    Only arithmetic and powers, so that anything with operators passes through and keeps its gradient.
    """
    a0, a1, a2, a3, a4, a5 = MOBILITY
    rise = a0 + a1 * eField + a2 * eField**1.5 + a3 * eField**2.5
    fall = 1.0 + (a1 / a0) * eField + a4 * eField**2 + a5 * eField**3
    mobility = rise / fall * (temperature / 89.0) ** -1.5 / 1000.0  # cm2/(kV us)
    return eField * mobility
