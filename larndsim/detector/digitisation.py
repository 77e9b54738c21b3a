"""What an ADC word says of the charge that was digitised, in NumPy.

The converter turns the charge q (electrons) into the real number

    c = (q gain + pedestal - v_cm) counts / (v_ref - v_cm)

and this into a whole one, the *word*: the nearest one (`round`), or the one below (`floor`). What is beyond the first
and the last word becomes these. So a word stands for an interval of charges, its *cell*.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from .electronics import Electronics

BELOW = {"round": 0.5, "floor": 0.0}  # how far below its word, in counts, a cell begins


def adc_cell(adc: Any, channel: Any, electronics: Electronics) -> tuple[np.ndarray, np.ndarray]:
    """The charges [low, high) that digitise to ADC words, electrons; -inf and inf at the ends of the ADC.

    `channel` has the `gain` (mV per electron), `pedestal`, `v_cm` and `v_ref` (mV) behind each word, such as
    `larndsim.electronics.Channel`: numbers, or arrays that broadcast with `adc`, whose axes the results have.
    """
    check_words("adc", adc, electronics)
    word = np.asarray(adc, dtype=np.float64)
    begin = word - BELOW[electronics.digitisation]
    low, high = (_charge(counts, channel, electronics) for counts in (begin, begin + 1.0))
    return np.where(word == 0, -np.inf, low), np.where(word == electronics.adc_counts - 1, np.inf, high)


def charge_of(adc: Any, channel: Any, electronics: Electronics) -> np.ndarray:
    """The charge in the middle of the cell of each ADC word, electrons; arguments as for `adc_cell`.

    The cells at the ends of the ADC, which are open, count as wide as the others.
    """
    middle = np.asarray(adc, dtype=np.float64) + (0.5 - BELOW[electronics.digitisation])
    return _charge(middle, channel, electronics)


def check_words(name: str, adc: Any, electronics: Electronics, whole: bool = True) -> None:
    """Refuse what no word of the ADC can be; with `whole` False, real numbers within its range are allowed."""
    words, last = np.asarray(adc, dtype=np.float64), electronics.adc_counts - 1
    wrong = ~((words >= 0) & (words <= last))
    if whole:
        wrong |= words != np.floor(words)
    if wrong.any():
        must = f"hold {'whole ' if whole else ''}ADC values from 0 to {last}"
        but = f"{wrong.sum()} are not, the first of them {words[wrong][0]:g}"
        raise ArgumentError(name, must, but, "Choose the detector that they come from.")


def _charge(counts: np.ndarray, channel: Any, electronics: Electronics) -> np.ndarray:
    """The charge for which the converter sees a real number of counts, electrons."""
    per_count = (channel.v_ref - channel.v_cm) / electronics.adc_counts
    return (counts * per_count + channel.v_cm - channel.pedestal) / channel.gain
