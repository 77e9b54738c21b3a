"""LArPix packets as data: hits as `read_hits` gives them, made of addresses, timestamps and ADC words alone.

Which event a hit belongs to is told by the file's associations with the truth, or by its triggers. What its tick counts
from is a choice (`PacketTimes.time`), since the clock of a detector knows nothing of the times of segments:

    clock     the zero of the packets' clock is that of the segments' times
    deposit   each trigger is at the first deposit of its event, as `larndsim simulate` writes it
    zero      each trigger is at the time 0 of its event's segments

In files of `larndsim simulate` the first two are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..data.hits import HIT_FIELDS
from ..detector import Detector, channel_maps, charge_of
from ..errors import ArgumentError, check_choice
from .hdf5 import PathLike
from .packets import read_packets

EVENTS = ("associations", "triggers")
TIMES = ("clock", "deposit", "zero")


class PacketTimes(NamedTuple):
    """How packets become hits of events.

    `events` is one of `EVENTS` (None: associations where the file has them), `time` one of `TIMES` (None: clock with
    associations; deposit with triggers, where the first deposits are known). By triggers, events are numbered 0, 1, ...
    in the order of the file.
    """

    events: str | None = None
    time: str | None = None


def read_packet_hits(
    path: PathLike,
    detector: Detector,
    channels: Any = None,
    how: PacketTimes | None = None,
    starts: Mapping[int, float] | None = None,
) -> np.ndarray:
    """The hits of a file of packets: a structured array with HIT_FIELDS, by event, plane, pixel and time. Axis: (hit,).

    `channels` are the maps behind the ADC words (default: the detector's own, see `channel_maps`): `charge` is the
    middle of what digitises to the word. `order` counts the hits of a pixel in an event by time. `starts` says when
    (us) the first deposit of each event is, as the segments tell time; events that it lacks are left out where `time`
    is deposit. `z` follows from the time since the event's trigger. Hits of no event are left out.
    """
    packets = read_packets(path, detector)
    how = how or PacketTimes()
    if starts is None and how.time == "deposit":
        raise ArgumentError("starts", "be given where `data_time` is deposit", "it is not", "Take them from segments.")
    if starts is None:
        how = how._replace(time=how.time or "clock")
    events, time = _choices(how, packets, path)
    packets["event"] = packets["event"] if events == "associations" else packets["trigger"]
    packets = packets[packets["event"] >= 0]
    start = _start_of_event(packets)
    zero = np.zeros(len(packets), dtype=np.int64)
    if time == "zero":
        zero = start
    elif time == "deposit":
        first, known = _first_deposits(packets["event"], starts or {}, detector.electronics.clock)
        packets, start, zero = packets[known], start[known], (start - first)[known]
    return _as_hits(packets, packets["tick"] - zero, start - zero, (detector, channels))


def _choices(how: PacketTimes, packets: np.ndarray, path: PathLike) -> tuple[str, str]:
    """How events and times are told in this file; refused where it does not tell them."""
    associated, triggered = (packets[name].max(initial=-1) >= 0 for name in ("event", "trigger"))
    events = how.events or ("associations" if associated else "triggers")
    check_choice("data_events", events, EVENTS)
    time = how.time or ("clock" if events == "associations" else "deposit")
    check_choice("data_time", time, TIMES)
    if events == "associations" and len(packets) and not associated:
        remedy = "Take the events from its triggers."
        raise ArgumentError("data_events", "be triggers", f"{path} associates no packet with an event", remedy)
    if (events == "triggers" or time != "clock") and len(packets) and not triggered:
        name, told = ("data_events", "associations") if events == "triggers" else ("data_time", "clock")
        raise ArgumentError(name, f"be {told}", f"{path} has no trigger before its data", "Check how it was made.")
    return events, time


def _start_of_event(packets: np.ndarray) -> np.ndarray:
    """The tick of the trigger before the first packet of each packet's event. Axis: (packet,)."""
    _, first, number = np.unique(packets["event"], return_index=True, return_inverse=True)
    return packets["start"][first][number]


def _first_deposits(event: np.ndarray, starts: Mapping[int, float], clock: float) -> tuple[np.ndarray, np.ndarray]:
    """Whole ticks of the first deposit of each event, and whether it is known. Axis: (packet,)."""
    events, number = np.unique(event, return_inverse=True)
    ticks = np.array([np.floor(starts.get(int(one), 0.0) / clock) for one in events], dtype=np.int64)
    known = np.array([int(one) in starts for one in events], dtype=bool)
    return ticks[number], known[number]


def _as_hits(packets: np.ndarray, tick: np.ndarray, start: np.ndarray, behind: tuple[Detector, Any]) -> np.ndarray:
    """Hits with HIT_FIELDS, sorted; `tick` and `start` (of the event) as the segments tell time. Axis: (hit,)."""
    detector, channels = behind
    channels = channel_maps(detector) if channels is None else channels
    pixel = packets["plane"], packets["ix"], packets["iy"]
    hits = np.zeros(len(packets), dtype=HIT_FIELDS)
    for name in ("event", "plane", "ix", "iy", "x", "y", "adc"):
        hits[name] = packets[name]
    hits["tick"] = tick
    own = type(channels)(*(np.asarray(column)[pixel] for column in channels))
    hits["charge"] = charge_of(packets["adc"], own, detector.electronics)
    hits["z"] = detector.drift_z(packets["plane"], tick - start)
    hits = hits[np.lexsort([hits[name] for name in ("tick", "iy", "ix", "plane", "event")])]
    hits["order"] = counted([hits[name] for name in ("event", "plane", "ix", "iy")])
    return hits


def counted(columns: list[np.ndarray]) -> np.ndarray:
    """0, 1, ... within each run of rows that agree in all columns. Axis: (row,)."""
    count = len(columns[0])
    new = np.ones(count, dtype=bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    first = np.maximum.accumulate(np.where(new, np.arange(count), 0))
    return np.arange(count) - first
