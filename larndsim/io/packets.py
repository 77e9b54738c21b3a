"""Hits as LArPix packets: the HDF5 format of larpix-control, with `mc_packets_assn` beside the packets.

Each event begins with a timestamp packet (whole seconds) and a trigger packet (clock ticks) per io group; then come
its hits as data packets, by time. A chip counts ticks in 31 bits: timestamps wrap around every 2^31 ticks (215 s at
0.1 us), and the timestamp packet before them tells how often they have.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..detector import Detector, pixel_centre
from ..errors import ArgumentError
from .atomic import replacing
from .hdf5 import Output, PathLike, append, growing, opened, table_of, uninterrupted, write_attributes

VERSION = "2.4"
WRAP = 2**31  # clock ticks
BEHIND = 10  # segments that are named behind a packet
ASSOCIATION = np.dtype(
    [("event_ids", np.int64, (1,)), ("segment_ids", np.int64, (BEHIND,)), ("fraction", np.float64, (BEHIND,))]
)
PACKET_HITS = np.dtype(
    [
        *((name, np.int64) for name in ("event", "plane", "ix", "iy")),
        *((name, np.float64) for name in ("x", "y")),
        *((name, np.int64) for name in ("tick", "adc", "io_group", "io_channel", "chip", "channel")),
        *((name, np.int64) for name in ("trigger", "start")),
    ]
)
PACKET_FIELDS = np.dtype(
    [(name, np.int64) for name in ("io_group", "io_channel", "chip_id", "channel_id")]
    + [(name, np.int64) for name in ("timestamp", "dataword", "packet_type")]
)
PACKET_TYPES = {0: "data", 1: "test", 2: "write", 3: "read", 4: "timestamp", 5: "message", 6: "sync", 7: "trigger"}
_DATA, _TIMESTAMP, _SYNC, _TRIGGER = 0, 4, 6, 7
_SECOND = ord("S")  # what the sync packet says of which the clocks start again from 0, every second
SAME = 1  # ticks between triggers of the same event in different io groups, at most
_TRIGGER_TYPE = 2  # an external trigger
_MUST = "be an HDF5 file of LArPix packets"


class PacketsWriter:
    """Writes hits as packets, event by event, to a file that takes its name when the block ends well.

    `left_out` counts the hits on pixels that no channel reads.
    """

    def __init__(self, path: PathLike, detector: Detector, attributes: Mapping[str, Any] | None = None) -> None:
        _check_adc(detector)
        self.path = path
        self.detector = detector
        self.attributes = attributes or {}
        self.left_out = 0
        self._format = _larpix_format()
        self._row = np.dtype(self._format.dtypes[VERSION]["packets"])
        self._groups = np.unique(detector.readout.io_group[detector.readout.io_group >= 0])

    def __enter__(self) -> PacketsWriter:
        with ExitStack() as stack:
            with uninterrupted():
                self._output = stack.enter_context(Output(stack.enter_context(replacing(self.path)), "w+"))
                self._format.to_file(self._output, [], version=VERSION, workers=1)
                self._output.check()
                self._file = stack.enter_context(h5py.File(self._output, "a"))
                write_attributes(self._file, self.attributes)
                self._truth = growing(self._file, "mc_packets_assn", ASSOCIATION)
            self._stack = stack.pop_all()
        return self

    @uninterrupted()
    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @uninterrupted()
    def append(self, hits: np.ndarray, truth: np.ndarray | None = None, start: float = 0.0) -> None:
        """Add the hits (HIT_FIELDS) of one event that begins at `start` (us), and what is behind them (TRUTH_FIELDS).

        Ticks that are not whole are rounded; ADC values that are not are digitised as the detector does it.
        """
        tick = int(np.floor(start / self.detector.electronics.clock))
        wired = self.detector.readout.chip[hits["plane"], hits["ix"], hits["iy"]] >= 0
        order = np.flatnonzero(wired)
        order = order[np.argsort(hits["tick"][order], kind="stable")]
        self.left_out += len(hits) - len(order)
        heads = self._heads(tick)
        packets = self._data(hits[order], receipt=tick)
        association = _associations(len(hits), hits["event"], truth)[order]
        append(self._file["packets"], np.concatenate([heads, packets]))
        append(self._truth, np.concatenate([_associations(len(heads)), association]))
        self._output.check()

    def _heads(self, tick: int) -> np.ndarray:
        """A timestamp and a trigger packet per io group for an event that begins at a tick."""
        seconds = max(int(np.floor(tick * self.detector.electronics.clock * 1e-6)), 0)
        rows = np.zeros((len(self._groups), 2), dtype=self._row)
        rows["io_group"] = self._groups[:, None]
        rows["packet_type"] = _TIMESTAMP, _TRIGGER
        rows["timestamp"] = seconds, tick % WRAP
        rows["trigger_type"] = 0, _TRIGGER_TYPE
        return rows.ravel()

    def _data(self, hits: np.ndarray, receipt: int) -> np.ndarray:
        """One data packet per hit."""
        readout, pixel = self.detector.readout, (hits["plane"], hits["ix"], hits["iy"])
        rows = np.zeros(len(hits), dtype=self._row)
        for field, values in zip(("io_group", "io_channel", "chip_id", "channel_id"), readout, strict=True):
            rows[field] = values[pixel]
        rows["timestamp"] = np.rint(hits["tick"]).astype(np.int64) % WRAP
        rows["receipt_timestamp"] = rows["timestamp"]
        whole = {"round": np.rint, "floor": np.floor}[self.detector.electronics.digitisation]
        rows["dataword"] = np.clip(whole(hits["adc"]), 0, 255)
        rows["first_packet"] = rows["direction"] = 1
        rows["packet_type"] = _DATA
        # the same bits as a configuration packet would mean them, as larpix-control writes them
        rows["register_address"] = rows["channel_id"] | (rows["timestamp"] % 4) << 6
        rows["register_data"] = rows["timestamp"] >> 2 & 255
        rows["parity"] = _parity(rows)
        rows["valid_parity"] = 1
        return rows


def _parity(rows: np.ndarray) -> np.ndarray:
    """The bit that makes the number of ones among the 64 bits of a data packet odd."""
    fields = ("chip_id", "channel_id", "timestamp", "first_packet", "dataword")
    words = np.stack([rows[field].astype(np.uint64) for field in fields])
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8).reshape(len(fields), len(rows), 8), axis=-1)
    return 1 - bits.sum(axis=(0, 2)) % 2


def _associations(count: int, event: np.ndarray | None = None, truth: np.ndarray | None = None) -> np.ndarray:
    """Event and most important segments behind each of `count` packets; -1 and fraction 0 where there is none."""
    rows = np.zeros(count, dtype=ASSOCIATION)
    rows["event_ids"][:, 0] = -1 if event is None else event
    rows["segment_ids"] = -1
    if truth is None or len(truth) == 0:
        return rows
    truth = truth[np.lexsort([-truth["fraction"], truth["hit"]])]
    rank = np.arange(len(truth)) - np.searchsorted(truth["hit"], truth["hit"])
    truth, rank = truth[rank < BEHIND], rank[rank < BEHIND]
    rows["segment_ids"][truth["hit"], rank] = truth["segment_id"]
    rows["fraction"][truth["hit"], rank] = truth["fraction"]
    total = rows["fraction"].sum(axis=1, keepdims=True)
    rows["fraction"] /= np.where(total > 0, total, 1.0)
    return rows


class _Pixels(NamedTuple):
    """All wired pixels of a detector, sorted by the address of their channel. Axis: (pixel,)."""

    address: np.ndarray
    pixel: np.ndarray


def read_packets(path: PathLike, detector: Detector) -> np.ndarray:
    """The hits behind the data packets of a file: a structured array with PACKET_HITS. Axis: (hit,).

    `tick` counts from time zero, wraps undone; `event` is -1 where `mc_packets_assn` does not tell it. `trigger` is the
    number of the trigger that comes before in the file, from 0 on (one per event, whichever io groups it reaches), and
    `start` its tick; -1 and 0 before the first.
    """
    with opened(path, "LArPix packets") as file:
        packets = table_of(file, "packets", PACKET_FIELDS, _MUST)[:]
        event = _events(file, len(packets))
    ticks = _unwrapped(packets, detector.electronics.clock)
    trigger, start = _triggers(packets, ticks)
    data = packets["packet_type"] == _DATA
    address = (packets["io_group"], packets["io_channel"], packets["chip_id"], packets["channel_id"])
    addresses = [part[data].astype(np.int64) for part in address]
    hits = np.zeros(int(data.sum()), dtype=PACKET_HITS)
    hits["plane"], hits["ix"], hits["iy"] = _pixels_of(addresses, detector, path)
    hits["x"], hits["y"] = pixel_centre(detector.geometry, hits["plane"], hits["ix"], hits["iy"])
    for name, values in zip(("io_group", "io_channel", "chip", "channel"), addresses, strict=True):
        hits[name] = values
    hits["event"] = event[data]
    hits["tick"], hits["trigger"], hits["start"] = ticks[data], trigger[data], start[data]
    hits["adc"] = packets["dataword"][data]
    return hits


def _pixels_of(addresses: list[np.ndarray], detector: Detector, path: PathLike) -> tuple[np.ndarray, ...]:
    """Plane, ix and iy of the pixels that channels of the given addresses read."""
    readout = detector.readout
    wired = np.flatnonzero(readout.chip.ravel() >= 0)
    known = _code(*(part.ravel()[wired] for part in readout))
    order = np.argsort(known)
    wanted = _code(*addresses)
    place = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)]
    if (strange := known[place] != wanted).any():
        first = "-".join(str(part[strange.argmax()]) for part in addresses)
        but = f"{path} has {strange.sum()} packets of others, the first from {first}"
        raise ArgumentError("detector", "have the channels of the packets", but, "Give the detector of this file.")
    return np.unravel_index(wired[place], readout.chip.shape)


def _code(io_group: np.ndarray, io_channel: np.ndarray, chip: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """One integer per address."""
    group, io, chip, channel = (np.asarray(part, dtype=np.int64) for part in (io_group, io_channel, chip, channel))
    return ((group * 256 + io) * 256 + chip) * 64 + channel


def _events(file: h5py.File, count: int) -> np.ndarray:
    """The event of each packet, -1 where none is told. Axis: (packet,)."""
    table = file.get("mc_packets_assn")
    names = table.dtype.names if isinstance(table, h5py.Dataset) else None
    if names is None or "event_ids" not in names:
        return np.full(count, -1)
    if len(table) != count:
        but = f"{file.filename} has {len(table)} rows for {count} packets"
        raise ArgumentError("path", "have a row of `mc_packets_assn` per packet", but, "Copy the file again.")
    return table["event_ids"].reshape(count, -1)[:, 0].astype(np.int64)


def _triggers(packets: np.ndarray, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number and tick of the trigger before each packet; -1 and 0 before the first. Axis: (packet,).

    A trigger comes in a packet per io group: packets of other groups, of the same tick, belong to the same one.
    """
    first: list[int] = []
    groups: set[int] = set()
    for row in np.flatnonzero(packets["packet_type"] == _TRIGGER).tolist():
        group = int(packets["io_group"][row])
        if not first or group in groups or abs(int(ticks[row] - ticks[first[-1]])) > SAME:
            first.append(row)
            groups = set()
        groups.add(group)
    number = np.searchsorted(np.array(first, dtype=np.int64), np.arange(len(packets)), side="right") - 1
    starts = np.append(ticks[np.array(first, dtype=np.int64)], 0)
    return number, starts[number]


def _unwrapped(packets: np.ndarray, clock: float) -> np.ndarray:
    """Ticks from time zero of all packets, near the time that the last timestamp packet before them tells.

    Where sync packets say that the clocks start again every second, the timestamp packet tells the second of the
    trigger, and the data packets are those nearest to their trigger.
    """
    seconds = _latest(packets, _TIMESTAMP, packets["timestamp"].astype(np.int64))
    ticks = packets["timestamp"].astype(np.int64)
    if not _every_second(packets):
        return _nearest(ticks, seconds / (1e-6 * clock), WRAP)
    second = round(1e6 / clock)
    return _nearest(ticks, _latest(packets, _TRIGGER, ticks + second * seconds), second)


def _every_second(packets: np.ndarray) -> bool:
    """Whether the clocks start again from 0 every second."""
    synchronised = packets["packet_type"] == _SYNC
    if "trigger_type" in (packets.dtype.names or ()):
        synchronised &= packets["trigger_type"] == _SECOND
    return bool(synchronised.any())


def _latest(packets: np.ndarray, kind: int, values: np.ndarray) -> np.ndarray:
    """The value of the last packet of a kind, up to each packet; 0 before the first. Axis: (packet,)."""
    last = np.maximum.accumulate(np.where(packets["packet_type"] == kind, np.arange(len(packets)), -1))
    return np.where(last >= 0, values[last], 0) if len(values) else values


def _nearest(ticks: np.ndarray, near: np.ndarray, period: int) -> np.ndarray:
    """Ticks of clocks that start again after a period, with the multiple of it that brings them near to others."""
    return ticks + period * np.rint((near - ticks) / period).astype(np.int64)


def _check_adc(detector: Detector) -> None:
    if detector.electronics.adc_counts > 256:
        but = f"{detector.name} has an ADC of {detector.electronics.adc_counts} counts, and packets hold 256"
        raise ArgumentError("format", "be hits", but, "Write hits.")


def _larpix_format() -> Any:
    """larpix-control's definition of the file format."""
    try:
        return importlib.import_module("larpix.format.hdf5format")
    except ImportError as error:
        remedy = "Install it with: pip install 'larndsim[packets]'."
        raise ArgumentError("format", "be hits", "larpix-control is not installed", remedy) from error
