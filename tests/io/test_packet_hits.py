"""Packets as data: hits of events, with charges from ADC words and the time of the segments."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from larndsim.data.hits import HIT_FIELDS
from larndsim.detector import adc_cell, channel_maps, pixel_centre
from larndsim.errors import ArgumentError
from larndsim.io import PacketsWriter, PacketTimes, kinds_of, read_packet_hits, read_packets
from larndsim.io.packets import WRAP
from tests import cases

pytest.importorskip("larpix.format.hdf5format", reason="larpix-control is not installed")

DETECTOR = cases.DETECTOR
ELECTRONICS = DETECTOR.electronics
STARTS = {7: 0.04, 3: 1.2e6, 9: WRAP * 0.1 - 5.0, 11: 2e9}  # us; the clock wraps during event 9


def hits_of(event: int, start: float, seed: int) -> np.ndarray:
    """Two to four hits of each of 20 pixels, as `read_hits` would give them."""
    rng = np.random.default_rng(seed)
    pixel = rng.permutation(2 * 140 * 280)[:20]
    hits = np.zeros(60, dtype=HIT_FIELDS)
    for name, values in zip(("plane", "ix", "iy"), np.unravel_index(np.sort(pixel), (2, 140, 280)), strict=True):
        hits[name] = np.repeat(values, 3)
    hits["event"], hits["order"] = event, np.tile([0, 1, 2], 20)
    hits["tick"] = np.floor(start / 0.1) + np.repeat(rng.integers(-30, 500, 20), 3) + 40 * hits["order"]
    hits["x"], hits["y"] = pixel_centre(DETECTOR.geometry, hits["plane"], hits["ix"], hits["iy"])
    hits["adc"] = rng.integers(0, 256, 60)
    hits["z"] = DETECTOR.drift_z(hits["plane"], hits["tick"] - np.floor(start / 0.1))
    return hits


@pytest.fixture(scope="module")
def known() -> np.ndarray:
    return np.concatenate([hits_of(event, start, seed) for seed, (event, start) in enumerate(STARTS.items())])


@pytest.fixture(scope="module")
def written(known, tmp_path_factory):
    path = tmp_path_factory.mktemp("packets") / "packets.h5"
    with PacketsWriter(path, DETECTOR) as writer:
        for event, start in STARTS.items():
            writer.append(known[known["event"] == event], start=start)
    return path


def without_truth(path, tmp_path, change=None):
    """A copy of the file without associations, whose packets may be changed."""
    copy = tmp_path / "data.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "a") as file:
        del file["mc_packets_assn"]
        if change is not None:
            rows = change(file["packets"][:])
            file["packets"].resize(len(rows), axis=0)
            file["packets"][:] = rows
    return copy


def by_event(hits):
    return hits[np.argsort(hits["event"], kind="stable")]


def equal(found, known, but=("charge",)):
    for name, _ in HIT_FIELDS:
        if name not in but:
            np.testing.assert_allclose(found[name], known[name], rtol=1e-12, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("time", [None, "clock", "deposit"])
def test_what_was_written_comes_back(written, known, time):
    found = read_packet_hits(written, DETECTOR, how=PacketTimes(time=time), starts=STARTS)
    equal(found, by_event(known))
    own = SimpleNamespace(gain=4e-3, pedestal=580.0, v_cm=288.0, v_ref=1300.0)
    low, high = adc_cell(found["adc"], own, ELECTRONICS)
    assert ((low < found["charge"]) & (found["charge"] < high)).all()


@pytest.mark.parametrize("time", [None, "deposit", "zero", "clock"])
def test_events_by_triggers_are_numbered_in_order(written, known, tmp_path, time):
    order = {event: number for number, event in enumerate(STARTS)}
    starts = {order[event]: start for event, start in STARTS.items()}
    expected = known.copy()
    expected["event"] = [order[event] for event in known["event"].tolist()]
    if time == "zero":
        expected["tick"] -= [np.floor(starts[event] / 0.1) for event in expected["event"].tolist()]
    for path, how in (
        (written, PacketTimes("triggers", time)),
        (without_truth(written, tmp_path), PacketTimes(None, time)),
    ):
        equal(read_packet_hits(path, DETECTOR, how=how, starts=starts), by_event(expected))


def test_a_clock_that_starts_again_every_second(written, known, tmp_path):
    """As pulses per second make it: sync packets, and timestamps within their second."""

    def every_second(rows):
        rows = np.concatenate([rows[:1], rows])
        rows["packet_type"][0], rows["trigger_type"][0] = 6, ord("S")
        kind, second = rows["packet_type"], 10**7
        ticks = np.append(0, read_packets(written, DETECTOR)["tick"])
        assert len(np.unique(ticks // second)) > 3
        rows["timestamp"][kind == 0] = read_packets(written, DETECTOR)["tick"] % second
        starts = np.repeat([int(start / 0.1) for start in STARTS.values()], 2)
        rows["timestamp"][kind == 7] = starts % second
        rows["timestamp"][kind == 4] = starts // second
        return rows

    path = without_truth(written, tmp_path, every_second)
    order = {event: number for number, event in enumerate(STARTS)}
    expected = known.copy()
    expected["event"] = [order[event] for event in known["event"].tolist()]
    for time in ("clock", "deposit"):
        starts = {order[event]: start for event, start in STARTS.items()}
        equal(read_packet_hits(path, DETECTOR, how=PacketTimes(time=time), starts=starts), by_event(expected))


def test_triggers_of_one_io_group_at_a_time(written, known, tmp_path):
    """Where each event is triggered in one group alone, another group at another time is another event."""

    def one_group(rows):
        triggers = rows["packet_type"] == 7
        event = (np.cumsum(triggers) - 1) // 2
        return rows[~(triggers & (rows["io_group"] != 1 + event % 2))]

    path = without_truth(written, tmp_path, one_group)
    found = read_packet_hits(path, DETECTOR, how=PacketTimes(time="clock"))
    assert np.unique(found["event"], return_counts=True)[1].tolist() == [60, 60, 60, 60]


def test_charges_of_channels_of_their_own(written):
    pedestals = np.full(DETECTOR.geometry.shape, 600.0)
    plain = read_packet_hits(written, DETECTOR)
    moved = read_packet_hits(written, DETECTOR, channel_maps(DETECTOR, pedestals=pedestals))
    np.testing.assert_allclose(plain["charge"] - moved["charge"], 20 / 4e-3)
    below = dataclasses.replace(DETECTOR, electronics=dataclasses.replace(ELECTRONICS, digitisation="floor"))
    np.testing.assert_allclose(read_packet_hits(written, below)["charge"] - plain["charge"], 0.5 * 1012 / 256 / 4e-3)


def test_what_a_file_does_not_tell(written, tmp_path):
    nothing = without_truth(written, tmp_path, lambda rows: rows[rows["packet_type"] == 0])
    for how, sentence in (
        (PacketTimes("associations"), "`data_events` must be triggers, but .* associates no packet with an event"),
        (PacketTimes(), "`data_events` must be associations, but .* has no trigger before its data"),
        (PacketTimes("events"), "`data_events` must be one of associations, triggers"),
        (PacketTimes(time="deposit"), "`starts` must be given where `data_time` is deposit"),
        (PacketTimes(time="noon"), "`data_time` must be one of clock, deposit, zero"),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            read_packet_hits(nothing, DETECTOR, how=how)
    empty = without_truth(written, tmp_path, lambda rows: rows[:0])
    assert len(read_packet_hits(empty, DETECTOR)) == 0
    with h5py.File(written) as file, h5py.File(tmp_path / "short.h5", "w") as copy:
        copy["packets"], copy["mc_packets_assn"] = file["packets"][:], file["mc_packets_assn"][:-1]
    with pytest.raises(ArgumentError, match="must have a row of `mc_packets_assn` per packet"):
        read_packet_hits(tmp_path / "short.h5", DETECTOR)


def test_events_whose_start_is_not_known_are_left_out(written):
    found = read_packet_hits(written, DETECTOR, how=PacketTimes(time="deposit"), starts={3: STARTS[3]})
    assert set(found["event"]) == {3}


def test_hits_before_the_first_trigger_belong_to_no_event(written, tmp_path):
    def late(rows):
        head, data = np.flatnonzero(rows["packet_type"] == 7)[:2], np.flatnonzero(rows["packet_type"] == 0)[:10]
        return np.concatenate([rows[data], rows[head], np.delete(rows, [*head, *data])])

    assert len(read_packet_hits(without_truth(written, tmp_path, late), DETECTOR)) == 60 * 4 - 10


def test_associations_of_other_simulators_may_name_no_events(written, tmp_path):
    """Then the triggers tell; and packets may stand beside the segments that they are made of."""
    path = without_truth(written, tmp_path)
    with h5py.File(path, "a") as file:
        file["mc_packets_assn"] = np.zeros(len(file["packets"]), dtype=[("track_ids", "i8", (5,))])
        file["tracks"] = np.zeros(3, dtype=[("eventID", "i8")])
    assert set(read_packet_hits(path, DETECTOR, how=PacketTimes(time="clock"))["event"]) == {0, 1, 2, 3}
    assert kinds_of(path) == ("segments", "packets")
