"""Stage 5, waveforms -> hits: the LArPix chip triggers itself (`triggering`).

The models (`MODELS`):
 - clocked: at whole ticks, as the hardware does it; whole ADC counts, as the detector digitises. For making data; it
   has no gradient.
 - relaxed: linear between ticks; the ADC is a real number. Smooth, with an exact gradient by the waveform. For fits
   without noise.
 - expected: the probability of the first, second, ... hit, with the mean and the spread of its tick and charge: all
   noise integrated over. Smooth, with an exact gradient. For fits to noisy data.

All in EagerPy, for all pixels at once. Ticks count from the start of each pixel's window; charges are in electrons.
Axes: (pixel,), (pixel, tick), (pixel, hit).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import constant, floor, rounded, to_real
from ..detector import Channel, Electronics
from ..errors import check_choice
from .chip import Comparator, Cycle, Reading, Waveform, attempts, chosen, finder, moved_up
from .expected import expected_hits
from .noise import Noise, Widths
from .relaxed import hits_between_ticks


class Model(NamedTuple):
    """One way to compute hits, and what it can."""

    name: str
    # waveforms, comparator, electronics -> ticks, charges, mask, and where it predicts the last of PixelHits
    hits: Callable[[Waveform, Comparator, Electronics], tuple[Any, ...]]
    differentiable: bool = True  # by the waveform
    whole: bool = False  # whole ticks, and whole ADC counts
    noisy: bool = False  # has noise unless told otherwise
    predicts: bool = False  # integrates the noise over: probabilities and means, rather than hits of a seed


class PixelHits(NamedTuple):
    """What each pixel records, in order; all zero where `mask` is false, but the probability. Axes: (pixel, hit).

    Of a model that predicts, `tick` and `charge` are means given that there is such a hit, and `adc` is that of the
    mean charge; of any other, the last three are None.
    """

    tick: Any  # when the comparator sees the threshold; integration ends `hold_ticks` later
    charge: Any  # electrons, as digitised: with the noise
    adc: Any
    mask: Any  # true for real hits, or those that are probable enough to be told
    probability: Any = None
    tick_spread: Any = None  # standard deviations
    charge_spread: Any = None


def digitize(
    charge: Any,
    end: Any,
    channel: Channel,
    noise: Noise | Widths | None,
    electronics: Electronics,
    model: str = "relaxed",
) -> PixelHits:
    """The hits of cumulative `charge`: a `Waveform`, or rows (pixel, tick). A model that predicts is given the `Widths`
    of the noise.

    A pixel has seen nothing before its window, and sees nothing more after its last column. Its comparator is alive
    at ticks before `end` (pixel,): how far a window is padded makes no difference.
    """
    check_choice("electronics", model, MODELS)
    until = ep.where(channel.live > 0.0, end, 0.0)
    comparator = Comparator(until, channel.threshold, noise)
    waveform = charge if isinstance(charge, Waveform) else Waveform.of_rows(charge)
    tick, charge, mask, *prediction = MODELS[model].hits(waveform, comparator, electronics)
    adc = ep.where(mask, counts(charge, channel, electronics), 0.0)
    whole = MODELS[model].whole
    return PixelHits(tick, charge, WHOLE[electronics.digitisation](adc) if whole else adc, mask, *prediction)


def clocked(waveform: Waveform, comparator: Comparator, electronics: Electronics) -> tuple[Any, Any, Any]:
    """The hits of the hardware, tick by tick: ticks, charges, and whether there is such a hit."""
    waveform = waveform._replace(charge=constant(waveform.charge))
    find, cycle = finder(waveform, comparator), Cycle.of(electronics)

    def read(level: Any, first: Any) -> Reading:
        column, fired = find(level, first)
        stop = column + cycle.hold
        seen = waveform.at(ep.stack([stop, stop + cycle.reset], axis=1))
        return Reading(fired, to_real(column, level), seen[:, 0], seen[:, 1])

    shots = attempts(read, comparator, cycle)
    choice = chosen(shots.kept, cycle.hits, waveform.charge)
    seen = ep.stack([shots.tick, shots.charge], axis=2)
    hits = moved_up(choice, seen.transpose((1, 0, 2)))
    return hits[:, :, 0], hits[:, :, 1], choice.sum(axis=2) > 0.5


MODELS = {
    model.name: model
    for model in (
        Model("clocked", clocked, differentiable=False, whole=True, noisy=True),
        Model("relaxed", hits_between_ticks),
        Model("expected", expected_hits, predicts=True),
    )
}
WHOLE: dict[str, Callable[[Any], Any]] = {"round": rounded, "floor": floor}


def counts(charge: Any, channel: Channel, electronics: Electronics) -> Any:
    """Charge (pixel, hit) -> ADC counts before digitisation: real numbers, within the range of the ADC."""
    gain, pedestal, v_cm, v_ref = (ep.expand_dims(values, 1) for values in channel[1:5])
    adc = (charge * gain + pedestal - v_cm) * electronics.adc_counts / (v_ref - v_cm)
    return ep.minimum(ep.maximum(adc, 0.0), electronics.adc_counts - 1.0)
