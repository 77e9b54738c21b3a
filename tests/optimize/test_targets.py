"""Data of a fit: files of hits and of packets give the same target."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

import larndsim
from larndsim.cli import main as larndsim_main
from larndsim.data.hits import HIT_FIELDS
from larndsim.data.segments import concatenate
from larndsim.errors import ArgumentError
from larndsim.io import HitsWriter, PacketTimes, read_hits
from optimize.cli import main
from optimize.cuts import OPEN, make_cuts
from optimize.dataset import load_dataset
from optimize.problem import make_problem
from optimize.settings import MAPS, make_settings
from optimize.targets import data_targets
from tests.optimize.conftest import DETECTOR, sample
from tests.samples import present

pytest.importorskip("larpix", reason="larpix-control is not installed")

BASE = {"params": ("Ab",), "cuts": "none", "method": "lbfgs"}
HALF_A_CELL = 1012 / 256 / 4e-3 / 2 + 1e-6  # electrons


def segments_at(t0):
    """Two events that begin at a time (us), the second with a late decay, 5 ms later."""
    segments = sample()._replace(event=(sample().event > 0).astype(np.int64))
    late = segments.select(segments.event == 1)
    return concatenate(segments._replace(t=segments.t + t0), late._replace(t=late.t + t0 + 5000.0))


@pytest.fixture(scope="module", params=[0.0, 1.2e6 + 0.27], ids=["early", "late"])
def simulated(request, tmp_path_factory):
    """The same events as segments, noisy hits and packets."""
    folder = tmp_path_factory.mktemp("targets")
    larndsim.write_segments(folder / "segments.h5", segments_at(request.param))
    for kind in ("hits", "packets"):
        words = ["--seed", "2", "--backend", "numpy", "--format", kind]
        assert larndsim_main(["simulate", str(folder / "segments.h5"), str(folder / f"{kind}.h5"), *words]) == 0
    return folder


def target_of(folder, name, **choices):
    settings = make_settings({**BASE, "input": folder / "segments.h5", "data": folder / name} | choices)
    (target,) = make_problem(settings).objective.targets
    return target


def agree(found, known, but=("charge",)):
    assert len(known) > 10
    for name, _ in HIT_FIELDS:
        if name not in but:
            atol = 1e-4 if name == "z" else 0.0
            np.testing.assert_allclose(found[name], known[name], rtol=0.0, atol=atol, err_msg=name)
    inside = known["adc"] < 255
    assert np.abs(found["charge"] - known["charge"])[inside].max() < HALF_A_CELL


@pytest.mark.parametrize(
    "choices",
    [{}, {"data_time": "deposit"}, {"data_events": "triggers"}, {"data_events": "triggers", "data_time": "clock"}],
    ids=str,
)
def test_packets_give_the_target_of_the_hits(simulated, choices):
    known = target_of(simulated, "hits.h5")
    assert known["order"].max() >= 10  # of the late decay
    agree(target_of(simulated, "packets.h5", **choices), known)


@pytest.mark.parametrize(
    ("name", "few"),
    present(
        ("small_selected.h5", "0:60"),
        ("small_muons.h5", "0:2"),
        ("jax_input_0.h5", "0:60"),
        ("predecessor_muons.h5", "0:2"),
    ),
)
def test_packets_of_files_that_users_have(name, few, sample_file, tmp_path):
    path = sample_file(name)
    for kind in ("hits", "packets"):
        words = ["--backend", "numpy", "--events", few, "--format", kind]
        assert larndsim_main(["simulate", str(path), str(tmp_path / f"{kind}.h5"), *words]) == 0
    known = read_hits(tmp_path / "hits.h5")
    choices = {"input": path, "events": tuple(np.unique(known["event"]).tolist()), "accuracy": 1e-2}
    agree(target_of(tmp_path, "packets.h5", **choices), target_of(tmp_path, "hits.h5", **choices))


def test_packets_of_part_of_the_events(simulated):
    choices = {"events": (1,)}
    agree(
        target_of(simulated, "packets.h5", data_events="triggers", **choices),
        target_of(simulated, "hits.h5", **choices),
    )


def test_the_first_deposit_of_an_event_may_be_cut(tmp_path):
    """The trigger was there: the start of an event is that of all its deposits, whatever the cuts leave."""
    segments = sample()
    muon = segments.event == 0
    segments = segments._replace(
        event=np.zeros_like(segments.event), track=muon.astype(np.int64), t=np.where(muon, 180.0, 30.0)
    )
    larndsim.write_segments(tmp_path / "segments.h5", segments)
    for kind in ("hits", "packets"):
        words = ["--backend", "numpy", "--format", kind]
        assert larndsim_main(["simulate", str(tmp_path / "segments.h5"), str(tmp_path / f"{kind}.h5"), *words]) == 0
    choices = {"cuts": {**OPEN, "track_length": 5.0}}
    known = target_of(tmp_path, "hits.h5", **choices)
    for events in ("associations", "triggers"):
        found = target_of(tmp_path, "packets.h5", data_time="deposit", data_events=events, **choices)
        agree(found, known, but=("charge", "z"))  # z counts from the first deposit that is left


def test_a_clock_that_is_not_that_of_the_segments(simulated, tmp_path):
    """Packets of a running clock, segments that begin at zero: the trigger tells."""
    larndsim.write_segments(tmp_path / "segments.h5", segments_at(0.0))
    known = target_of(simulated, "packets.h5")
    with h5py.File(simulated / "segments.h5") as file:
        begins = float(np.floor(file["segments"]["t0"].min() / 0.1))
    settings = {**BASE, "input": tmp_path / "segments.h5", "data": simulated / "packets.h5"}
    for time in ("deposit", "zero"):
        (found,) = make_problem(make_settings({**settings, "data_time": time})).objective.targets
        np.testing.assert_allclose(found["tick"], known["tick"] - begins)
        np.testing.assert_allclose(found["z"], known["z"], atol=1e-6)


def test_a_clock_that_is_far_off(simulated, tmp_path):
    """What would leave no hit that anything predicts is refused, with the way out."""
    larndsim.write_segments(tmp_path / "segments.h5", segments_at(-3e6))
    with pytest.raises(
        ArgumentError, match=r"must hold hits while the charge of their event drifts, but all .* us late"
    ):
        target_of(simulated, "packets.h5", input=tmp_path / "segments.h5")
    larndsim.write_segments(tmp_path / "segments.h5", segments_at(3e6))
    with pytest.raises(ArgumentError, match="us before the first deposit of their event"):
        target_of(simulated, "hits.h5", input=tmp_path / "segments.h5")


def test_rows_in_any_order(simulated):
    hits = read_hits(simulated / "hits.h5")
    shuffled = np.random.default_rng(1).permutation(hits)
    np.testing.assert_array_equal(
        target_of(simulated, shuffled_file(simulated, shuffled)), target_of(simulated, "hits.h5")
    )


def shuffled_file(folder, hits):
    with HitsWriter(folder / "shuffled.h5") as writer:
        writer.append(hits)
    return "shuffled.h5"


def test_channels_have_their_own_electronics(simulated, tmp_path):
    """Charges follow from the pedestal; hits of channels that are off are left out, as they are in predictions."""
    np.savez(tmp_path / "pedestals.npz", keys=[0], values=[600.0], default=600.0)
    plain = target_of(simulated, "packets.h5")
    moved = target_of(simulated, "packets.h5", pedestals=tmp_path / "pedestals.npz")
    np.testing.assert_allclose(plain["charge"] - moved["charge"], 20 / 4e-3)
    one = plain[0]
    address = [int(column[one["plane"], one["ix"], one["iy"]]) for column in DETECTOR.readout]
    (tmp_path / "off.json").write_text(json.dumps({"-".join(map(str, address[:3])): address[3:]}))
    fewer = target_of(simulated, "packets.h5", bad_channels=tmp_path / "off.json")
    gone = np.logical_and.reduce([plain[name] == one[name] for name in ("plane", "ix", "iy")])
    assert gone.any()
    np.testing.assert_array_equal(fewer, plain[~gone])


@pytest.mark.parametrize(
    ("source", "layout"),
    present(
        ("small_predecessor.yaml", "small_layout-2.2.16.yaml"),
        ("module0_predecessor.yaml", "multi_tile_layout-2.2.16.yaml"),
    ),
)
def test_pixels_that_no_channel_reads(source, layout, sample_file, tmp_path):
    """Packets cannot tell of them: so they are off in predictions, too."""
    files = {"detector": sample_file(source), "layout": sample_file(layout)}
    segments = larndsim.generate("muons", n=4, seed=1, detector=larndsim.load_detector(**files))
    larndsim.write_segments(tmp_path / "segments.h5", segments)
    for kind in ("hits", "packets"):
        words = ["--backend", "numpy", "--format", kind, *(f"--{name}={path}" for name, path in files.items())]
        assert larndsim_main(["simulate", str(tmp_path / "segments.h5"), str(tmp_path / f"{kind}.h5"), *words]) == 0
    choices = {**files, "accuracy": 1e-2}
    problems = {
        kind: make_problem(
            make_settings({**BASE, "input": tmp_path / "segments.h5", "data": tmp_path / f"{kind}.h5"} | choices)
        )
        for kind in ("hits", "packets")
    }
    unread = problems["hits"].objective.simulator.detector.readout.chip < 0
    assert unread.any()
    live = {kind: problem.objective.simulator.channels.live for kind, problem in problems.items()}
    np.testing.assert_array_equal(live["packets"], ~unread)
    assert live["hits"].all()
    (hits,), (packets,) = (problems[kind].objective.targets for kind in ("hits", "packets"))
    agree(packets, hits[~unread[hits["plane"], hits["ix"], hits["iy"]]])
    assert len(packets) < len(hits)


def test_a_fit_to_packets(tmp_path, capsys):
    larndsim.write_segments(tmp_path / "segments.h5", sample())
    words = ["--backend", "numpy", "--no-noise", "--format", "packets", "--set", "Ab=0.82"]
    assert larndsim_main(["simulate", str(tmp_path / "segments.h5"), str(tmp_path / "packets.h5"), *words]) == 0
    words = ["--input", str(tmp_path / "segments.h5"), "--data", str(tmp_path / "packets.h5"), "--cuts", "none"]
    assert main(["fit", "--params", "Ab", *words, "--out", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["parameters"]["Ab"]["value"] == pytest.approx(0.82, rel=1e-2)  # ticks and charges are whole


def test_the_dataset_knows_when_events_begin():
    segments = segments_at(7.0)
    starts = load_dataset(segments, make_cuts({"z_inner": 20.0, "z_outer": 60.0})).starts
    known = {event: segments.t[segments.event == event].min() for event in (0, 1)}
    assert starts == pytest.approx(known)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that are no data, or none that can be."""
    path = tmp_path_factory.mktemp("bad")
    larndsim.write_segments(path / "segments.h5", sample())
    hits = larndsim.Simulator(DETECTOR, backend="numpy", electronics="clocked")(sample(), seed=1).numpy()
    for name, rows in {"hits": hits, "none": hits[:0], **impossible(hits)}.items():
        with HitsWriter(path / f"{name}.h5") as writer:
            writer.append(rows)
    words = ["--backend", "numpy", "--format", "packets"]
    assert larndsim_main(["simulate", str(path / "segments.h5"), str(path / "packets.h5"), *words]) == 0
    with h5py.File(path / "packets.h5") as file:
        rows = file["packets"][:]
    strange = rows.copy()
    strange["chip_id"] = 250
    for name, table in {
        "others": ("packets", strange),
        "empty": ("packets", rows[:0]),
        "else": ("light", rows),
    }.items():
        with h5py.File(path / f"{name}.h5", "w") as copy:
            copy[table[0]] = table[1]
    (path / "text.h5").write_text("no")
    (path / "few.json").write_text('{"100101100": {"pedestal_mv": 600}}')
    return path


def impossible(hits):
    """Tables that no chip records."""
    two = hits[np.flatnonzero(hits["order"] == 1)[0] - 1 :][:2]  # of one pixel

    def changed(field, values, rows=two):
        rows = rows.copy()
        rows[field] = values
        return rows

    many = changed("tick", two["tick"][0] + 40 * np.arange(12), np.repeat(two[:1], 12))
    return {
        "adc": changed("adc", 300),
        "half": changed("adc", 3.5),
        "early": changed("tick", two["tick"] - 1e4),
        "twice": two[[0, 0]],
        "order": changed("order", two["order"][::-1]),
        "close": changed("tick", two["tick"][0] + [0, 5]),
        "many": changed("order", np.arange(12), many),
        "other": changed("x", two["x"] + 1.0),
    }


BAD = [
    (["--data", "none.h5"], "none.h5 holds none"),
    (["--data", "empty.h5"], "empty.h5 holds none"),
    (["--data", "missing.h5"], "missing.h5 does not exist"),
    (["--data", "text.h5"], "text.h5 is not an HDF5 file"),
    (["--data", "else.h5"], "else.h5 holds neither"),
    (["--data", "segments.h5"], "segments.h5 holds segments"),
    (["--data", "adc.h5"], "hold whole ADC values from 0 to 255, but 2 are not, the first of them 300"),
    (["--data", "half.h5"], "hold whole ADC values from 0 to 255, but 2 are not, the first of them 3.5"),
    (["--data", "early.h5"], "us before the first deposit of their event, but 2 do not"),
    (["--data", "twice.h5"], "occur once"),
    (["--data", "order.h5"], "have an `order` that follows their ticks"),
    (["--data", "close.h5"], "follow each other in a pixel after 28 ticks at the earliest"),
    (["--data", "many.h5"], "number 10 per pixel at most"),
    (["--data", "other.h5"], "2 of 2 hits lie on no pixel of module0"),
    (["--data", "others.h5"], "`detector` must have the channels of the packets"),
    (["--data", "packets.h5", "--pedestals", "few.json"], "must name all channels of module0, but 78399 are missing"),
    (["--data", "hits.h5", "--data-events", "triggers"], "`data_events` must be left out with a file of hits"),
    (["--data", "hits.h5", "--data-time", "zero"], "`data_time` must be left out with a file of hits"),
    (["--data-events", "triggers"], "`data_events` must come with `data`"),
]


@pytest.mark.parametrize(("words", "sentence"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_data_is_one_sentence_and_no_folder(words, sentence, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["fit", "--input", "segments.h5", "--params", "Ab", "--cuts", "none", *words, "--out", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert "Traceback" not in err
    assert not (folder / "run").exists()


def test_files_of_channels_are_found_from_anywhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in MAPS:
        settings = make_settings({**BASE, "input": "segments.h5", name: "few.json"})
        assert getattr(settings, name) == str(folder / "few.json")


def test_arrays_of_hits(folder):
    hits = read_hits(folder / "hits.h5")
    batch = larndsim.Simulator(DETECTOR, backend="numpy").prepare(sample())
    np.testing.assert_array_equal(data_targets(hits, DETECTOR, (batch,))[0], hits)
    with pytest.raises(ArgumentError, match="`data` must be a structured array of hits, but it lacks event"):
        data_targets(np.zeros(3), DETECTOR, (batch,))
    with pytest.raises(ArgumentError, match="`data` must hold hits, but it holds none"):
        data_targets(hits[:0], DETECTOR, (batch,))
    with pytest.raises(ArgumentError, match="`data_time` must be left out with a file of hits"):
        data_targets(hits, DETECTOR, (batch,), how=PacketTimes(time="clock"))
