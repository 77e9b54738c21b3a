"""Detector files: what their keys mean in either dialect, and their values by our names.

The predecessor writes `eField`, `V_CM` and `tpc_centers`; DUNE writes `e_field`, `v_cm` and `tpc_offsets`.
Both use our units (kV/cm, us, cm, cm2/us, mV, electrons). A value is a number, or one number per module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .checks import FURTHEST, as_number, check_sign, check_within
from .parameters import PHYSICAL

PARAMETERS = {name: name for name in PHYSICAL} | {"e_field": "eField"}
# The names of the electronics are the same in both dialects, in capitals in the predecessor's.
ELECTRONICS = {
    "discrimination_threshold": "threshold",
    "larpix_gain": "gain",
    "gain": "gain",
    "v_pedestal": "v_pedestal",
    "v_cm": "v_cm",
    "v_ref": "v_ref",
    "adc_counts": "adc_counts",
    "clock_cycle": "clock",
    "adc_hold_delay": "hold_delay",
    "reset_cycles": "reset_ticks",
    "adc_busy_delay": "busy_ticks",
    "max_adc_values": "max_hits",
    "reset_noise_charge": "reset_noise",
    "uncorrelated_noise_charge": "uncorrelated_noise",
    "discriminator_noise": "discriminator_noise",
    "digitisation": "digitisation",
}
PLACES = {
    name: name
    for name in (
        "tpc_centers",
        "tpc_offsets",
        "module_to_io_groups",
        "drift_length",
        "time_interval",
        "vdrift_static",
    )
}
KNOWN = PARAMETERS | ELECTRONICS | {key.upper(): name for key, name in ELECTRONICS.items()} | PLACES

# Keys that only DUNE's dialect has, and what its files leave unsaid of the newer electronics that they describe.
ONLY_DUNE = ("e_field", "tpc_offsets")
UNSAID_BY_DUNE = {"discriminator_noise": 650.0, "digitisation": "floor"}

# Keys of larnd-sim that say nothing about charge, or that this simulation derives by itself.
UNUSED = {
    *("tile_map", "module_to_tpcs", "event_rate", "non_beam_event_gap"),
    *("response_sampling", "response_bin_size", "time_padding", "time_window"),
    *("light_simulated", "n_op_channel", "op_channel_efficiency", "op_channel_per_det", "tpc_to_op_channel"),
    *("enable_lut_smearing", "lut_vox_div", "max_light_truth_ids", "mc_truth_threshold", "scint_prescale", "w_ph"),
    *("light_tick_size", "light_window", "light_gain", "light_nbit", "singlet_fraction", "tau_s", "tau_t"),
    *("sipm_response_model", "light_response_time", "light_oscillation_period", "light_digit_sample_spacing"),
    *("light_det_noise_sample_spacing", "impulse_model", "impulse_tick_size"),
    *("light_trig_mode", "light_trig_threshold", "light_trig_window"),
}


@dataclass(frozen=True)
class Properties:
    """The values of a detector file, by our names; each with the key that the file uses for it."""

    where: str
    entries: dict[str, tuple[str, Any]]

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def uses(self, key: str) -> bool:
        """Whether the file spells a value by this key."""
        return any(spelling == key for spelling, _ in self.entries.values())

    def numbers(self, name: str, n_modules: int) -> float | np.ndarray:
        """A float, or an array (module,) where the modules differ."""
        key, value = self.entries[name]
        values = value if isinstance(value, list) else [value]
        if len(values) not in (1, n_modules):
            must = f"be one value, or one per module ({n_modules})"
            but = f"it lists {len(values)} in {self.where}"
            raise ArgumentError(key, must, but, "Correct the list, or `tpc_offsets`.")
        found = np.array([as_number(key, each, self.where) for each in values])
        return float(found[0]) if np.all(found == found[0]) else found

    def positive(self, name: str, n_modules: int, zero: bool = False) -> float | np.ndarray:
        """The same, refusing negative values (and zero, unless it is allowed)."""
        value = self.numbers(name, n_modules)
        check_sign(self.entries[name][0], value, self.where, zero)
        return value

    def vectors(self, name: str) -> np.ndarray:
        """Positions as (x, y, z), cm: files give the drift axis first. Axes: (row, 3)."""
        key, rows = self.entries[name]
        ok = isinstance(rows, list) and rows and all(isinstance(row, list) and len(row) == 3 for row in rows)
        if not ok:
            must = "list positions [drift, y, x] in cm"
            raise self.error(key, must, f"it is {rows!r}", "Write one position per line.")
        places = np.array([[as_number(key, number, self.where) for number in reversed(row)] for row in rows])
        check_within(key, places, (-FURTHEST, FURTHEST), "cm", self.where)
        return places

    def word(self, name: str, choices: Iterable[str]) -> str:
        """One of a few words."""
        key, value = self.entries[name]
        if value not in choices:
            raise self.error(key, f"be one of {', '.join(choices)}", f"it is {value!r}", "Write one of these words.")
        return value

    def interval(self, name: str) -> tuple[float, float]:
        """A start and an end, us."""
        key, pair = self.entries[name]
        if not isinstance(pair, list) or len(pair) != 2:
            raise self.error(key, "be [start, end] in us", f"it is {pair!r}", "Write two numbers, such as [0, 200].")
        start, end = (as_number(key, number, self.where) for number in pair)
        if start >= end:
            raise self.error(key, "end after it starts", f"it is {pair!r}", "Write the earlier time first.")
        return start, end

    def error(self, key: str, must: str, but: str, remedy: str) -> ArgumentError:
        """The sentence that refuses a value of this file."""
        return ArgumentError(key, must, f"{but} in {self.where}", remedy)


def sort_keys(data: dict[Any, Any], where: str) -> tuple[Properties, list[str]]:
    """The values that we use, by our names, and the keys that nobody knows."""
    entries: dict[str, tuple[str, Any]] = {}
    unknown = []
    for key, value in ((str(key), value) for key, value in data.items()):
        name = KNOWN.get(key)
        if name is None:
            unknown += [] if key in UNUSED else [key]
        elif name in entries:
            must = f"be given without `{entries[name][0]}`, which means the same"
            raise ArgumentError(key, must, f"both are in {where}", "Remove one of them.")
        else:
            entries[name] = (key, value)
    if any(key in ONLY_DUNE for key, _ in entries.values()):
        entries = {name: (name, value) for name, value in UNSAID_BY_DUNE.items()} | entries
    return Properties(where, entries), unknown
