"""Files of packets, against larpix-control's own reader and writer."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from larndsim.data.hits import HIT_FIELDS
from larndsim.detector import Detector, Readout
from larndsim.errors import ArgumentError
from larndsim.io import PacketsWriter, read_packets
from larndsim.io.hits import TRUTH_FIELDS
from larndsim.io.packets import WRAP
from tests import cases

hdf5format = pytest.importorskip("larpix.format.hdf5format", reason="larpix-control is not installed")

DETECTOR = cases.DETECTOR
SECOND = 10**7  # ticks


def hits_of(event: int, ticks: np.ndarray, seed: int = 0) -> np.ndarray:
    """Hits on random pixels of a detector."""
    rng = np.random.default_rng(seed)
    hits = np.zeros(len(ticks), dtype=HIT_FIELDS)
    for name, size in zip(("plane", "ix", "iy"), DETECTOR.geometry.shape, strict=True):
        hits[name] = rng.integers(0, size, len(ticks))
    hits["event"], hits["tick"], hits["adc"] = event, ticks, rng.integers(0, 256, len(ticks))
    return hits


def truth_of(hits: np.ndarray, behind: int) -> np.ndarray:
    truth = np.zeros(len(hits) * behind, dtype=TRUTH_FIELDS)
    truth["hit"] = np.repeat(np.arange(len(hits)), behind)
    truth["segment_id"] = np.tile(np.arange(behind), len(hits))
    truth["fraction"] = np.tile((1.0 + np.arange(behind)) / (behind * (behind + 1) / 2), len(hits))
    return truth


EVENTS = {
    7: (0.0, np.array([-3.0, 12.0, 5.0, 400.0])),
    8: (1.2e6, 12 * SECOND // 10 + np.arange(20.0)),
    2**40: (1e9, 1000 * SECOND + np.arange(0.0, 2000.0, 7)),  # the clock has wrapped four times
    9: (WRAP * 0.1 - 5.0, WRAP + np.arange(-10.0, 10.0)),  # and here it wraps
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("packets") / "packets.h5"
    with PacketsWriter(path, DETECTOR, {"seed": 3}) as writer:
        for event, (start, ticks) in EVENTS.items():
            hits = hits_of(event, ticks)
            writer.append(hits, truth_of(hits, 13), start)
        assert writer.left_out == 0
        assert not path.exists()
    return path


def expected() -> np.ndarray:
    parts = [hits_of(event, ticks) for event, (_, ticks) in EVENTS.items()]
    return np.concatenate([hits[np.argsort(hits["tick"], kind="stable")] for hits in parts])


def test_larpix_control_reads_every_hit(written):
    packets = hdf5format.from_file(str(written))["packets"]
    kinds = np.array([packet.packet_type for packet in packets])
    assert (kinds[:4] == [4, 7, 4, 7]).all()
    data = [packet for packet in packets if packet.packet_type == 0]
    hits = expected()
    assert len(data) == len(hits)
    pixel = (hits["plane"], hits["ix"], hits["iy"])
    for name, values in {
        "io_group": DETECTOR.readout.io_group[pixel],
        "io_channel": DETECTOR.readout.io_channel[pixel],
        "chip_id": DETECTOR.readout.chip[pixel],
        "channel_id": DETECTOR.readout.channel[pixel],
        "timestamp": hits["tick"].astype(int) % WRAP,
        "dataword": hits["adc"],
    }.items():
        np.testing.assert_array_equal([int(getattr(packet, name)) for packet in data], values, err_msg=name)
    assert all(packet.has_valid_parity() for packet in data)


def test_the_rows_are_those_that_larpix_control_writes(written, tmp_path):
    again = tmp_path / "again.h5"
    hdf5format.to_file(str(again), hdf5format.from_file(str(written))["packets"], workers=1)
    with h5py.File(written) as ours, h5py.File(again) as theirs:
        assert ours["_header"].attrs["version"] == theirs["_header"].attrs["version"] == "2.4"
        a, b = ours["packets"][:], theirs["packets"][:]
    a["io_group"][a["packet_type"] == 4] = 0  # their timestamp packets forget it
    np.testing.assert_array_equal(a, b)


def test_reading_gives_the_hits_back(written):
    read, hits = read_packets(written, DETECTOR), expected()
    for name in ("event", "plane", "ix", "iy", "tick", "adc"):
        np.testing.assert_array_equal(read[name], hits[name], err_msg=name)


def test_truth_names_the_ten_most_important_segments(written):
    with h5py.File(written) as file:
        truth, kind = file["mc_packets_assn"][:], file["packets"]["packet_type"]
        assert file.attrs["seed"] == 3
    data = truth[kind == 0]
    assert (data["segment_ids"] == np.arange(12, 2, -1)).all()
    np.testing.assert_allclose(data["fraction"].sum(axis=1), 1.0)
    np.testing.assert_array_equal(data["event_ids"][:, 0], expected()["event"])
    assert (truth[kind != 0]["event_ids"] == -1).all()
    assert (truth[kind != 0]["fraction"] == 0).all()


def test_real_numbers_become_words_as_the_detector_digitises(tmp_path):
    hits = hits_of(1, np.arange(3.0))
    hits["adc"] = 3.2, 3.7, 255.0
    for digitisation, words in (("round", [3, 4, 255]), ("floor", [3, 3, 255])):
        electronics = dataclasses.replace(DETECTOR.electronics, digitisation=digitisation)
        with PacketsWriter(tmp_path / "packets.h5", dataclasses.replace(DETECTOR, electronics=electronics)) as writer:
            writer.append(hits)
        assert read_packets(tmp_path / "packets.h5", DETECTOR)["adc"].tolist() == words


def half_wired() -> Detector:
    """The detector, without channels for half of its first plane."""
    readout = Readout(*(column.copy() for column in DETECTOR.readout))
    for column in readout:
        column[0, :, :140] = -1
    detector = dataclasses.replace(DETECTOR)
    vars(detector)["readout"] = readout  # where the cached property keeps its value
    return detector


def test_hits_without_a_channel_are_left_out_and_counted(tmp_path):
    hits = hits_of(1, np.arange(50.0))
    lost = int(((hits["plane"] == 0) & (hits["iy"] < 140)).sum())
    assert 0 < lost < 50
    with PacketsWriter(tmp_path / "packets.h5", half_wired()) as writer:
        writer.append(hits, truth_of(hits, 2))
        assert writer.left_out == lost
    assert len(read_packets(tmp_path / "packets.h5", DETECTOR)) == 50 - lost


def test_files_of_another_kind_or_detector(tmp_path, written):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(ArgumentError, match=r"must be an HDF5 file of LArPix packets, but .* holds `other`"):
        read_packets(tmp_path / "other.h5", DETECTOR)
    with pytest.raises(ArgumentError, match="Argument `detector` must have the channels of the packets"):
        read_packets(written, half_wired())


def test_an_adc_that_packets_cannot_hold(tmp_path):
    wide = dataclasses.replace(DETECTOR.electronics, adc_counts=1024)
    with pytest.raises(ArgumentError, match="ADC of 1024 counts"):
        PacketsWriter(tmp_path / "packets.h5", dataclasses.replace(DETECTOR, electronics=wide))


def test_without_larpix_control(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "larpix.format.hdf5format", None)
    with pytest.raises(ArgumentError, match="pip install 'larndsim\\[packets\\]'"):
        PacketsWriter(tmp_path / "packets.h5", DETECTOR)
