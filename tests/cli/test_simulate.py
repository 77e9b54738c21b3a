"""`larndsim simulate`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import larndsim
from larndsim.cli import main, simulate, streaming
from larndsim.cli.program import run_program
from larndsim.detector.channel_files import unique_ids_of
from larndsim.io import read_hits, read_hits_info, read_hits_truth, read_packets

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments) -> int:
    return main(["simulate", *map(str, arguments)])


def test_the_example_works(tmp_path, monkeypatch, segments_file, capsys):
    monkeypatch.chdir(tmp_path)
    Path("muons.h5").write_bytes(segments_file.read_bytes())
    assert main(shlex.split(simulate.EXAMPLE)[1:]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("hits.h5: 3 events, ")
    assert captured.out.count("\n") == 1
    assert captured.err == ""  # no progress bar, since this is no terminal
    info = read_hits_info("hits.h5")
    assert info["parameters"]["Ab"] == 0.81
    assert info["command"].startswith(simulate.EXAMPLE.split(" --")[0])


def test_the_same_command_gives_the_same_hits(tmp_path, segments_file, hits_file):
    again = tmp_path / "again.h5"
    assert run(segments_file, again, "--backend", "numpy", "--seed", 3) == 0
    for read in (read_hits, read_hits_truth):
        np.testing.assert_array_equal(read(again), read(hits_file))
    for seed in ("4", None):
        noise = ["--no-noise"] if seed is None else ["--seed", seed]
        assert run(segments_file, again, "--backend", "numpy", *noise) == 0
        assert not np.array_equal(read_hits(again)["adc"], read_hits(hits_file)["adc"])


def check_same(found, expected):
    """The same hits, the last bits of their charge (and what depends on it smoothly) aside."""
    for name in ("event", "plane", "ix", "iy", "order", "tick", "adc"):
        np.testing.assert_array_equal(found[name], expected[name])
    for name in ("x", "y", "z", "charge"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


def test_memory_and_selection_change_nothing(tmp_path, segments_file, hits_file):
    some = tmp_path / "some.h5"
    assert run(segments_file, some, "--backend", "numpy", "--seed", 3, "--memory", "700MB") == 0
    check_same(read_hits(some), read_hits(hits_file))
    assert run(segments_file, some, "--backend", "numpy", "--seed", 3, "--events", "1:2") == 0
    check_same(read_hits(some), read_hits(hits_file, events=[1]))


def test_one_event_after_the_other_gives_the_same(tmp_path, segments_file, hits_file, monkeypatch):
    monkeypatch.setattr(streaming, "AT_ONCE", 1)
    some = tmp_path / "some.h5"
    assert run(segments_file, some, "--backend", "numpy", "--seed", 3) == 0
    check_same(read_hits(some), read_hits(hits_file))
    one, other = read_hits_truth(some), read_hits_truth(hits_file)
    for name in ("hit", "event", "segment_id"):
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_allclose(one["fraction"], other["fraction"], rtol=1e-5)


def test_truth_sums_to_one_and_names_segments_of_the_file(segments_file, hits_file):
    hits, truth = read_hits(hits_file), read_hits_truth(hits_file)
    assert len(hits) > 50
    np.testing.assert_allclose(np.bincount(truth["hit"], weights=truth["fraction"], minlength=len(hits)), 1.0)
    with h5py.File(segments_file) as file:
        event_of = dict(zip(file["segments"]["segment_id"], file["segments"]["eventID"], strict=True))
    assert [event_of[segment] for segment in truth["segment_id"]] == truth["event"].tolist()
    np.testing.assert_array_equal(hits["event"][truth["hit"]], truth["event"])


def test_attributes_allow_to_repeat_the_run(hits_file, segments_file):
    info = read_hits_info(hits_file)
    assert info["version"] == larndsim.__version__
    assert info["detector"] == larndsim.load_detector("module0").describe()
    assert info["parameters"] == larndsim.load_detector("module0").nominal._asdict()
    assert (info["seed"], info["backend"], info["dtype"], info["electronics"]) == (3, "numpy", "float32", "clocked")
    assert info["input"] == str(segments_file)
    assert main(shlex.split(info["command"])[1:]) == 0


def test_the_library_gives_the_same(segments_file, hits_file):
    simulator = larndsim.Simulator("module0", backend="numpy", electronics="clocked")
    hits = simulator(larndsim.read_segments(segments_file, events=[2]), seed=3).numpy()
    check_same(hits, read_hits(hits_file, events=[2]))


def test_packets(tmp_path, segments_file, hits_file, capsys):
    pytest.importorskip("larpix", reason="larpix-control is not installed")
    path = tmp_path / "packets.h5"
    assert run(segments_file, path, "--backend", "numpy", "--seed", 3, "--format", "packets") == 0
    packets, hits = read_packets(path, larndsim.load_detector("module0")), read_hits(hits_file)
    packets.sort(order=["event", "plane", "ix", "iy", "tick"])
    for name in ("event", "plane", "ix", "iy", "tick", "adc"):
        np.testing.assert_array_equal(packets[name], hits[name])


def test_a_configuration_and_flags_that_override_it(tmp_path, segments_file):
    config, path = tmp_path / "run.yaml", tmp_path / "hits.h5"
    config.write_text(
        "backend: numpy\nelectronics: relaxed\nset: {Ab: 0.81, kb: 0.05}\nevents: 0:1\n"
        "truth: false\nlink_vdrift_eField: true\n"
    )
    assert run(segments_file, path, "--config", config, "--set", "Ab=0.82", "--events", "1") == 0
    info = read_hits_info(path)
    assert (info["backend"], info["electronics"], info["seed"]) == ("numpy", "relaxed", None)
    assert (info["parameters"]["Ab"], info["parameters"]["kb"]) == (0.82, 0.05)
    assert info["link_vdrift_eField"] is True
    assert set(read_hits(path)["event"]) == {1}
    assert len(read_hits_truth(path)) == 0


def test_channel_files(tmp_path, monkeypatch, segments_file):
    monkeypatch.chdir(tmp_path)
    for name, value in (("low", 5000.0), ("steep", 8e-3)):
        np.savez(f"{name}.npz", keys=np.array([0]), values=np.array([value]), default=np.array(value))
    Path("bad.json").write_text('{"All": [0, 1, 2, 3, 4, 5]}')
    options = ["--backend", "numpy", "--no-noise", "--no-truth"]

    def hits(*more):
        assert run(segments_file, "out.h5", *options, *more) == 0
        return read_hits("out.h5")

    plain = hits()
    assert len(hits("--thresholds", "low.npz")) > len(plain)
    assert hits("--gains", "steep.npz")["adc"].mean() > plain["adc"].mean() + 1
    readout, good = larndsim.load_detector("module0").readout, hits("--bad-channels", "bad.json")
    assert 0 < len(good) < len(plain)
    assert not np.isin(readout.channel[good["plane"], good["ix"], good["iy"]], range(6)).any()


def test_pedestals_and_references(tmp_path, monkeypatch, segments_file):
    """By key, and by the unique ids of the calibration chain, whose channels may be some of all."""
    monkeypatch.chdir(tmp_path)
    np.savez("pedestals.npz", keys=np.array([0]), values=np.array([-3.0]), default=np.array(620.0))
    options = ["--backend", "numpy", "--electronics", "relaxed", "--no-truth"]

    def hits(*more):
        assert run(segments_file, "out.h5", *options, *more) == 0
        return read_hits("out.h5")

    plain = hits()
    per_count = 1012 / 256  # mV
    higher = hits("--pedestals", "pedestals.npz")
    np.testing.assert_array_equal(higher["charge"], plain["charge"])
    np.testing.assert_allclose(higher["adc"] - plain["adc"], 40 / per_count, rtol=1e-3)
    detector = larndsim.load_detector("module0")
    row = plain[0]
    pixel = row["plane"], row["ix"], row["iy"]
    for variant in ("tile", "io_channel"):
        key = str(unique_ids_of(detector, variant)[pixel])
        Path("one.json").write_text(json.dumps({key: {"pedestal_mv": 600, "vref_mv": 1400, "vcm_mv": 300}}))
        for flag, expected in (
            ("--pedestals", row["adc"] + 20 / per_count),
            ("--references", (row["charge"] * 4e-3 + 280) * 256 / 1100),
        ):
            found = hits(flag, "one.json", "--fill-channels", "--unique-id", variant)
            assert found[0]["adc"] == pytest.approx(expected, rel=1e-5)
            own = np.logical_and.reduce([plain[name] == row[name] for name in ("plane", "ix", "iy")])
            np.testing.assert_array_equal(found["adc"][~own], plain["adc"][~own])
    info = read_hits_info("out.h5")["channel_maps"]
    assert (info["references"], info["fill-channels"]) == (str(tmp_path / "one.json"), True)
    assert info["unique-id"] == "io_channel"


def test_a_detector_that_takes_the_word_below(tmp_path, segments_file):
    for name in ("round", "floor"):
        (tmp_path / f"{name}.yaml").write_text(f"digitisation: {name}\n")
        options = ["--backend", "numpy", "--no-noise", "--no-truth", "--detector", tmp_path / f"{name}.yaml"]
        assert run(segments_file, tmp_path / f"{name}.h5", *options) == 0
    nearest, below = (read_hits(tmp_path / f"{name}.h5") for name in ("round", "floor"))
    np.testing.assert_array_equal(nearest["charge"], below["charge"])
    assert set(nearest["adc"] - below["adc"]) == {0.0, 1.0}
    assert read_hits_info(tmp_path / "floor.h5")["detector"]["electronics"]["digitisation"] == "floor"


# What is wrong, and what the sentence says of it: {} stands for the file of segments.
BAD = [
    (["none.h5"], "does not exist"),
    (["text.h5"], "is not an HDF5 file"),
    (["short.h5"], "is truncated"),
    (["empty.h5"], "must hold a dataset `segments`"),
    (["missing.h5"], "lacks dE and has only"),
    (["words.h5"], "must hold real numbers in the field `dE`"),
    (["nan.h5"], "must have a finite `z_start` in every row"),
    (["{}", "--detector", "modul0"], "Did you mean `module0`?"),
    (["{}", "--layout", "layout.yaml"], "must hold `pixel_pitch`"),
    (["{}", "--backend", "pytorch"], "`backend` must be one of"),
    (["{}", "--device", "cuda:77"], "`device` must be"),
    (["{}", "--dtype", "float16"], "`dtype` must be one of"),
    (["{}", "--electronics", "fast"], "`electronics` must be one of"),
    (["{}", "--set", "Abb=1"], "`set` must be one of Ab"),
    (["{}", "--set", "Ab"], "`set` must be NAME=VALUE"),
    (["{}", "--set", "Ab=high"], "`Ab` must be a number"),
    (["{}", "--set", "lifetime=-3"], "`lifetime` must be greater than 0"),
    (["{}", "--format", "text"], "`format` must be one of hits, packets"),
    (["{}", "--memory", "much"], "`memory` must be a number of bytes"),
    (["{}", "--memory", "10MB"], "`memory` must be more than"),
    (["{}", "--memory", "0.601 GB"], "`memory` must hold the largest event, but event 0 has 12 segments"),
    (["{}", "--events", "5:9"], "`events` must name events of the file"),
    (["{}", "--events", "a:b"], "`events` must be FIRST:END"),
    (["{}", "--events", ""], "`events` must be FIRST:END"),
    (["{}", "--memory", "nan"], "`memory` must be a number of bytes"),
    (["{}", "--memory", "1e400"], "`memory` must be a number of bytes"),
    (["{}", "--seed", str(2**63)], "`seed` must be a whole number from 0 to 2**63 - 1"),
    (["{}", "--seed", "9" * 5000], "`seed` must be a whole number from 0 to 2**63 - 1"),
    (["{}", "--set", "vdrift=1e-9"], "`vdrift` must lie within 0.014 and 1.8"),
    (["{}", "--set", "tran_diff=1000"], "`tran_diff` must lie within"),
    (["{}", "--set", "lifetime=1e-9"], "`lifetime` must lie within 0.0005 and 5e+09"),
    (["{}", "--set", "shift_z=-100"], "`shift_z` must lie within -2.2 and 2.2"),
    (["{}", "--config", "layouts.yaml"], "`layout` must list names of files"),
    (["{}", "--config", "sexagesimal.yaml"], "but 10:50 names none"),
    (["nowhere.h5"], "must hold a dataset `segments`"),
    (["unsigned.h5"], "must have identifiers below 2**63"),
    (["{}", "--seed", "-1"], "`seed` must be a whole number"),
    (["{}", "--seed", "1", "--no-noise"], "`seed` must be given with noise alone"),
    (["{}", "--thresholds", "none.npz"], "must be an npz file"),
    (["{}", "--pedestals", "none.npz"], "must be a file that can be read"),
    (["{}", "--pedestals", "few.json"], "must name all channels of module0, but 78399 are missing"),
    (["{}", "--pedestals", "few.json", "--unique-id", "chip"], "`unique_id` must be one of io_channel, tile"),
    (["{}", "--pedestals", "others.json"], "but 1 of its 1 unique ids match no channel, the first of them 3"),
    (["{}", "--references", "few.json"], 'must map unique ids to {"vref_mv": ..., "vcm_mv": ...} in mV'),
    (["{}", "--unique-id", "tile"], "`unique_id` must come with a JSON file"),
    (["{}", "--fill-channels"], "`fill_channels` must be left out without files of channels"),
    (["{}", "--config", "unknown.yaml"], "Did you mean `seed`?"),
    (["{}", "--config", "wrong.yaml"], "`truth` must be true or false"),
    (["{}", "--nosie"], "unrecognized arguments: --nosie"),
]


@pytest.mark.parametrize("kind", ["hits", "packets"])
def test_nothing_in_the_detector(tmp_path, segments_file, kind):
    far, path = tmp_path / "far.h5", tmp_path / "out.h5"
    segments = larndsim.read_segments(segments_file)
    larndsim.write_segments(far, segments._replace(x_start=segments.x_start + 200, x_end=segments.x_end + 200))
    assert run(far, path, "--backend", "numpy", "--format", kind) == 0
    found = read_hits(path) if kind == "hits" else read_packets(path, larndsim.load_detector("module0"))
    assert len(found) == 0


@pytest.fixture
def folder(tmp_path, monkeypatch, segments_file):
    """A folder of bad files."""
    monkeypatch.chdir(tmp_path)
    content = segments_file.read_bytes()
    Path("text.h5").write_text("no HDF5")
    Path("short.h5").write_bytes(content[: len(content) // 2])
    with h5py.File(segments_file) as file:
        rows = file["segments"][:]
    with h5py.File("empty.h5", "w") as file:
        file["other"] = rows
    with h5py.File("missing.h5", "w") as file:
        file["segments"] = rows[[name for name in rows.dtype.names if name != "dE"]].copy()
    with h5py.File("words.h5", "w") as file:
        words = [(name, "S5" if name == "dE" else kind) for name, kind in rows.dtype.descr]
        file["segments"] = np.zeros(3, dtype=words)
    with h5py.File("nowhere.h5", "w") as file:
        file["segments"] = h5py.SoftLink("/none")
    with h5py.File("unsigned.h5", "w") as file:
        unsigned = rows.astype([(name, "u8" if name == "eventID" else kind) for name, kind in rows.dtype.descr])
        unsigned["eventID"] += 2**63
        file["segments"] = unsigned
    rows["z_start"][-1] = np.nan
    with h5py.File("nan.h5", "w") as file:
        file["segments"] = rows
    Path("layout.yaml").write_text("chip_channel_to_position: {}\n")
    Path("few.json").write_text('{"100101100": {"pedestal_mv": 600}}')
    Path("others.json").write_text('{"3": {"pedestal_mv": 600}}')
    Path("unknown.yaml").write_text("sede: 3\n")
    Path("wrong.yaml").write_text("truth: 3\n")
    Path("layouts.yaml").write_text("layout: [1, 2]\n")
    Path("sexagesimal.yaml").write_text("events: 10:50\n")  # 650 to YAML 1.1
    return tmp_path


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_sentence_and_no_file(arguments, sentence, folder, segments_file, capsys):
    before = sorted(folder.iterdir())
    source, *options = (str(segments_file) if word == "{}" else word for word in arguments)
    try:
        code = run(source, "out.h5", *options)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith("larndsim") and sentence in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_outputs_that_cannot_be_written(folder, segments_file, capsys):
    own = Path("own.h5")
    own.write_bytes(segments_file.read_bytes())
    for source, target, sentence in (
        (segments_file, "no/out.h5", "must lie in an existing folder"),
        (segments_file, folder, "is a folder or a device"),
        (own, "own.h5", "must be another file than the input"),
    ):
        assert run(source, target, "--backend", "numpy") == 2
        assert sentence in capsys.readouterr().err
    assert own.read_bytes() == segments_file.read_bytes()


def test_help_shows_the_example(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    assert simulate.EXAMPLE in capsys.readouterr().out


def test_an_interrupted_run_leaves_nothing(tmp_path, segments_file, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(larndsim.Simulator, "hits", interrupted)
    assert run_program("larndsim", "", [simulate], ["simulate", str(segments_file), str(tmp_path / "out.h5")]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_leaves_no_output_and_can_be_repeated(tmp_path, segments_file):
    target = tmp_path / "out.h5"
    command = [sys.executable, "-m", "larndsim", "simulate", str(segments_file), str(target), "--backend", "numpy"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not any(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not target.exists()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert len(read_hits(target)) > 50


def test_expected_hits(tmp_path, segments_file, capsys):
    out = tmp_path / "expected.h5"
    assert run(segments_file, out, "--backend", "numpy", "--electronics", "expected") == 0
    simulator = larndsim.Simulator("module0", backend="numpy", electronics="expected")
    hits, known = read_hits(out, events=[2]), simulator(larndsim.read_segments(segments_file, events=[2])).numpy()
    for name in known.dtype.names:
        np.testing.assert_allclose(hits[name], known[name], rtol=1e-4, err_msg=name)
    assert hits.dtype.names[-3:] == ("probability", "tick_spread", "charge_spread")
    assert 0.5 < hits["probability"].max() < 1.0 + 1e-5 and hits["charge_spread"].min() > 0
    assert read_hits_info(out)["electronics"] == "expected"
    assert len(read_hits_truth(out)) >= len(read_hits(out))
    assert main(["info", str(out)]) == 0
    assert "probability" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--seed", "1"], "`seed` must be left out with electronics expected"),
        (["--noise"], "`noise` must be left out with electronics expected"),
        (["--no-noise"], "Drop --no-noise."),
        (["--format", "packets"], "`format` must be hits with electronics expected"),
    ],
)
def test_noise_and_packets_are_refused_with_expected(tmp_path, segments_file, options, sentence, capsys):
    out = tmp_path / "expected.h5"
    assert run(segments_file, out, "--backend", "numpy", "--electronics", "expected", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()
