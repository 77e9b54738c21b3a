"""Settings of the LArPix electronics."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, check_choice
from .checks import check_sign

MAY_BE_ZERO = (
    "v_pedestal",
    "v_cm",
    "hold_ticks",
    "reset_ticks",
    "busy_ticks",
    "reset_noise",
    "uncorrelated_noise",
    "discriminator_noise",
)
DIGITISATIONS = ("round", "floor")  # how a converter makes a real number whole
TEXT = ("digitisation",)  # the settings that are no numbers
UNIFORM = ("adc_counts", "clock", "hold_ticks", "reset_ticks", "busy_ticks", "max_hits")


@dataclass(frozen=True, eq=False)
class Electronics:
    """What happens to the charge of a pixel. Charges in electrons, voltages in mV.

    A value is a number, or one per module (module,) where modules differ; times are the same for all.
    """

    threshold: Any = 7000.0
    gain: Any = 4e-3  # mV per electron
    v_pedestal: Any = 580.0
    v_cm: Any = 288.0
    v_ref: Any = 1300.0
    adc_counts: int = 256
    clock: float = 0.1  # us, one tick
    hold_ticks: int = 18  # from the threshold to the end of integration: 3 clocks and a hold delay of 15
    reset_ticks: int = 1
    busy_ticks: int = 9
    max_hits: int = 10
    reset_noise: Any = 900.0
    uncorrelated_noise: Any = 500.0
    discriminator_noise: Any = 0.0  # a file in DUNE's dialect means 650
    digitisation: str = "round"  # to the nearest ADC word, or "floor": to the one below, as in DUNE's dialect

    def per_pixel(self, module: np.ndarray) -> Electronics:
        """The same for pixels of these modules (pixel,): what differs between modules becomes one value per pixel."""
        values = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        return replace(self, **{name: value[module] for name, value in values.items() if value.ndim})

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(tuple(value.tolist()) if isinstance(value, np.ndarray) else value for value in values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Electronics) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name not in TEXT:
                check_sign(field.name, getattr(self, field.name), zero=field.name in MAY_BE_ZERO)
        check_choice("digitisation", self.digitisation, DIGITISATIONS)
        if not np.all(np.asarray(self.v_ref) > np.asarray(self.v_cm)):
            but = f"they are {self.v_ref} and {self.v_cm} mV"
            raise ArgumentError("v_ref", "be above `v_cm`", but, "Correct one of them.")
