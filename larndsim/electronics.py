"""Stage 5, waveforms -> hits: the LArPix chip triggers itself (`triggering`).

The models (`MODELS`) are functions of the same arguments:
 - clocked: at whole ticks, as the hardware does it; whole ADC counts, as the detector digitises. For making data; it
   has no gradient.
 - relaxed: linear between ticks; the ADC is a real number. Smooth, with an exact gradient by the waveform. For fits
   without noise.
 - expected, a place left free: the probability of a hit, its mean charge and time, with the noise integrated over.

All in EagerPy, for all pixels at once. Ticks count from the start of each pixel's window; charges are in electrons.
Axes: (pixel,), (pixel, tick), (pixel, hit).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import constant, floor, rounded, to_real
from .detector import Channel, Electronics
from .errors import check_choice
from .noise import Noise
from .relaxed import hits_between_ticks
from .triggering import Comparator, Cycle, Reading, attempts, chosen, columns_of, finder, moved_up


class PixelHits(NamedTuple):
    """What each pixel records, in order; all zero where `mask` is false. Axes: (pixel, hit)."""

    tick: Any  # when the comparator sees the threshold; integration ends `hold_ticks` later
    charge: Any  # electrons, as digitised: with the noise
    adc: Any
    mask: Any  # true for real hits


def digitize(
    charge: Any, end: Any, channel: Channel, noise: Noise | None, electronics: Electronics, model: str = "relaxed"
) -> PixelHits:
    """The hits of cumulative `charge` (pixel, tick).

    A pixel has seen nothing before its window, and sees nothing more after its last column. Its comparator is alive
    at ticks before `end` (pixel,): how far a window is padded makes no difference.
    """
    check_choice("electronics", model, MODELS)
    until = ep.where(channel.live > 0.0, end, 0.0)
    comparator = Comparator(until, channel.threshold, noise)
    tick, charge, mask = MODELS[model](charge, comparator, Cycle.of(electronics))
    adc = ep.where(mask, counts(charge, channel, electronics), 0.0)
    return PixelHits(tick, charge, WHOLE[electronics.digitisation](adc) if model == "clocked" else adc, mask)


def clocked(charge: Any, comparator: Comparator, cycle: Cycle) -> tuple[Any, Any, Any]:
    """The hits of the hardware, tick by tick: ticks, charges, and whether there is such a hit."""
    charge = constant(charge)
    find = finder(charge, comparator)

    def read(level: Any, first: Any) -> Reading:
        column = find(level, first)
        stop = column + cycle.hold
        seen = columns_of(charge, ep.stack([stop, stop + cycle.reset], axis=1))
        return Reading(column < charge.shape[1], to_real(column, charge), seen[:, 0], seen[:, 1])

    shots = attempts(read, comparator, cycle)
    choice = chosen(shots.kept, cycle.hits, charge)
    seen = ep.stack([shots.tick, shots.charge], axis=2)
    hits = moved_up(choice, seen.transpose((1, 0, 2)))
    return hits[:, :, 0], hits[:, :, 1], choice.sum(axis=2) > 0.5


MODELS: dict[str, Callable[..., Any]] = {"clocked": clocked, "relaxed": hits_between_ticks}
WHOLE: dict[str, Callable[[Any], Any]] = {"round": rounded, "floor": floor}


def counts(charge: Any, channel: Channel, electronics: Electronics) -> Any:
    """Charge (pixel, hit) -> ADC counts before digitisation: real numbers, within the range of the ADC."""
    gain, pedestal, v_cm, v_ref = (ep.expand_dims(values, 1) for values in channel[1:5])
    adc = (charge * gain + pedestal - v_cm) * electronics.adc_counts / (v_ref - v_cm)
    return ep.minimum(ep.maximum(adc, 0.0), electronics.adc_counts - 1.0)
