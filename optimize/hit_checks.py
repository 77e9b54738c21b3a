"""What no chip records: hits that are refused as data, each for a reason that the sentence names.

Only what cannot be is refused. Hits may come in any order of rows, since `event`, pixel and `order` say all; what is
refused is an `order` that contradicts the ticks, for then nobody knows which of the two is right.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from larndsim.detector import Detector, check_words
from larndsim.errors import ArgumentError
from larndsim.pixelization import SILENCE

PIXEL = ("event", "plane", "ix", "iy")
ROUNDING = 1.0  # ticks: a distance of ticks that were rounded may be shorter by as much
SLACK = 1.1  # plans go a little beyond the bounds of the parameters


def check_hits_are_possible(hits: np.ndarray, detector: Detector, starts: Mapping[int, float] | None = None) -> None:
    """Refuse hits (HIT_FIELDS) that this detector cannot make.

    `starts` has the time (us) of the first deposit of each event. Refused are: values that are not finite, ADC words
    that are none, hits before their event, and of one pixel hits that are there twice, whose `order` contradicts their
    ticks, that follow each other faster than a chip can digitise, or that are more than it may record.
    """
    check_values(hits, detector)
    check_starts(hits, detector, starts or {})
    check_sequences(hits, detector)


def check_values(hits: np.ndarray, detector: Detector) -> None:
    """Refuse numbers that are none, and ADC words that are none.

    Relaxed electronics give real numbers as ticks and as ADC values; where all ticks are whole, words are, too.
    """
    for name in ("tick", "charge", "adc"):
        if not np.all(np.isfinite(hits[name])):
            but = f"{(~np.isfinite(hits[name])).sum()} of {len(hits)} have none"
            raise ArgumentError("data", f"hold hits with a finite `{name}`", but, "Remove them.")
    check_words("data", hits["adc"], detector.electronics, whole=bool(np.all(hits["tick"] == np.floor(hits["tick"]))))


def check_starts(hits: np.ndarray, detector: Detector, starts: Mapping[int, float]) -> None:
    """Refuse hits before anything of their event can be seen; events whose start is not known are passed over."""
    clock, early = detector.electronics.clock, early_ticks(detector)
    events, number = np.unique(hits["event"], return_inverse=True)
    begin = np.array([starts.get(int(event), -np.inf) / clock - early for event in events], dtype=np.float64)
    _refuse(
        hits[hits["tick"] < np.floor(begin)[number]],
        f"come no more than {early * clock:.0f} us before the first deposit of their event",
        "Check that `input` and `data` tell time alike, and number their events alike.",
    )


def check_sequences(hits: np.ndarray, detector: Detector) -> None:
    """Refuse what the hits of one pixel cannot be."""
    electronics = detector.electronics
    hits = hits[np.lexsort([hits[name] for name in ("order", "tick", *reversed(PIXEL))])]
    same = np.all([hits[name][1:] == hits[name][:-1] for name in PIXEL], axis=0)
    gap, step = np.diff(hits["tick"]), np.diff(hits["order"])
    later = hits[1:]
    remedy = "Remove what is there twice."
    _refuse(later[same & ((gap == 0) | (step == 0))], "occur once, by pixel, tick and order", remedy)
    remedy = "Correct `order`: it counts the hits of a pixel in an event by time."
    _refuse(later[same & (step < 0)], "have an `order` that follows their ticks", remedy)
    dead = electronics.hold_ticks + electronics.reset_ticks + max(electronics.busy_ticks, 1)
    must = f"follow each other in a pixel after {dead} ticks at the earliest, as this detector's chips do"
    _refuse(later[same & (gap < dead - ROUNDING)], must, "Choose the detector that they come from.")
    new = ~same | (gap > pause_ticks(detector))
    row = np.arange(len(hits))
    first = np.maximum.accumulate(np.where(np.append(True, new)[: len(hits)], row, 0))
    must = f"number {electronics.max_hits} per pixel at most, until the event pauses"
    _refuse(hits[row - first >= electronics.max_hits], must, "Choose the detector that they come from.")


def check_ends(since: np.ndarray, detector: Detector) -> None:
    """Refuse hits that all come when nothing drifts any more: then data and segments do not tell time alike.

    `since` (hit,) are ticks since the first deposit of the burst. Single hits may come late: noise, and other tracks.
    """
    latest = 2 * detector.drift_length / detector.bounds["vdrift"].down / detector.electronics.clock
    if len(since) and since.min() > latest:
        but = (
            f"all {len(since)} of the chosen tracks come {since.min() * detector.electronics.clock:.0f} us late or more"
        )
        remedy = "Check that `input` and `data` tell time alike; packets may count from their trigger (`data_time`)."
        raise ArgumentError("data", "hold hits while the charge of their event drifts", but, remedy)


def early_ticks(detector: Detector) -> float:
    """How long before its deposit a charge is seen at the earliest, ticks.

    It is seen for as long as the response lasts before the arrival at the response plane, and what is set free behind
    that plane has arrived before it was set free.
    """
    behind = detector.response.distance + max(abs(detector.bounds["shift_z"].down), abs(detector.bounds["shift_z"].up))
    return (
        detector.response.sampling(detector.electronics.clock).before
        + SLACK * behind / detector.bounds["vdrift"].down / detector.electronics.clock
    )


def pause_ticks(detector: Detector) -> float:
    """What lies at least between hits of different bursts of deposits of an event, ticks.

    Bursts are told apart by a silence of 2 ms, or of a drift and a fifth; a hit may come a drift after its deposit.
    """
    drift = detector.drift_length / detector.bounds["vdrift"].down / detector.electronics.clock
    silence = SILENCE / detector.electronics.clock
    return max(silence, 1.2 * drift) - SLACK * drift - early_ticks(detector)


def _refuse(wrong: np.ndarray, must: str, remedy: str) -> None:
    """One sentence about the hits that are wrong, if any are."""
    if not len(wrong):
        return
    one = wrong[0]
    place = ", ".join(f"{name} {one[name]}" for name in ("event", "plane", "ix", "iy"))
    but = f"{len(wrong)} {'does' if len(wrong) == 1 else 'do'} not, the first at {place}, tick {one['tick']:g}"
    raise ArgumentError("data", f"hold hits that {must}", but, remedy)
