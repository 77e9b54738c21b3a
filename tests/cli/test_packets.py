"""`larndsim simulate --format packets` with a layout file, against the hits and larpix-control's own reader."""

from __future__ import annotations

from collections import defaultdict

import h5py
import numpy as np
import pytest
import yaml

import larndsim
from larndsim.cli import main
from larndsim.io import read_hits, read_hits_truth
from tests.cli.conftest import write_muons
from tests.detector.test_readout import readout_twin
from tests.samples import present

hdf5format = pytest.importorskip("larpix.format.hdf5format", reason="larpix-control is not installed")


@pytest.fixture(scope="module", params=present("small_layout-2.4.16.yaml", "multi_tile_layout-2.4.16.yaml"))
def layout_file(request, sample_file):
    """A layout whose tiles are mounted in two ways."""
    return sample_file(request.param)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, layout_file):
    """The same events as hits and as packets."""
    folder = tmp_path_factory.mktemp("packets")
    write_muons(folder / "muons.h5", larndsim.load_detector("module0", layout_file))
    options = ["--backend", "numpy", "--seed", "3", "--layout", str(layout_file)]
    for kind in ("hits", "packets"):
        words = ["--format", kind, *options]
        assert main(["simulate", str(folder / "muons.h5"), str(folder / f"{kind}.h5"), *words]) == 0
    return folder / "hits.h5", folder / "packets.h5"


def test_every_hit_is_a_packet_with_the_address_of_the_layout(simulated, layout_file):
    hits_path, packets_path = simulated
    layout = yaml.load(layout_file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    address = readout_twin(layout, [1, 2])
    expected = [
        (*address[hit["plane"], hit["ix"], hit["iy"]], int(hit["tick"]) % 2**31, int(hit["adc"]))
        for hit in read_hits(hits_path)
    ]
    packets = [p for p in hdf5format.from_file(str(packets_path))["packets"] if p.packet_type == 0]
    fields = ("io_group", "io_channel", "chip_id", "channel_id", "timestamp", "dataword")
    found = [tuple(int(getattr(packet, field)) for field in fields) for packet in packets]
    assert len(expected) > 50 and len({row[0] for row in expected}) == 2
    assert sorted(found) == sorted(expected)


def test_truth_of_packets_is_that_of_the_hits(simulated):
    hits_path, packets_path = simulated
    pairs = defaultdict(list)
    for pair in read_hits_truth(hits_path):
        pairs[pair["hit"]].append((pair["segment_id"], pair["fraction"]))
    hits = read_hits(hits_path)
    expected = {
        (hit["event"], hit["tick"], hit["adc"], *(segment for segment, _ in pairs[row][:10])): pairs[row][:10]
        for row, hit in enumerate(hits)
    }
    with h5py.File(packets_path) as file:
        data = file["packets"]["packet_type"] == 0
        packets, truth = file["packets"][:][data], file["mc_packets_assn"][:][data]
    np.testing.assert_allclose(truth["fraction"].sum(axis=1), 1.0)
    for packet, behind in zip(packets, truth, strict=True):
        tick = (int(packet["timestamp"]) + 2**30) % 2**31 - 2**30  # before time zero, they wrap
        named = behind["segment_ids"] >= 0
        key = (behind["event_ids"][0], tick, packet["dataword"], *behind["segment_ids"][named])
        known = np.array([fraction for _, fraction in expected[key]])
        np.testing.assert_allclose(behind["fraction"][named], known / known.sum())
