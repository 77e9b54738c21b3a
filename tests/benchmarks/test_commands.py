"""The commands, on small samples."""

from __future__ import annotations

import itertools
import json

import h5py
import numpy as np
import pytest

import larndsim
from benchmarks.__main__ import COMMANDS, main
from benchmarks.resume import differences
from benchmarks.samples import muons, muons_of, parts
from larndsim.data.segments import concatenate


def test_parts_are_whole_events():
    segments = muons(900)
    pieces = list(parts(segments, 100))
    assert len(pieces) > 1
    assert all(np.array_equal(a, b) for a, b in zip(concatenate(*pieces), segments, strict=True))
    for first, second in itertools.pairwise(pieces):
        assert first.event[-1] != second.event[0]
    assert max(len(piece.event) for piece in pieces) <= 100
    assert len(list(parts(segments, 1))) == len(np.unique(segments.event))
    assert len(list(parts(segments, 10**9))) == 1


def test_so_many_segments():
    assert len(muons_of(123).event) == 123


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("compare --lengths 10 --backends numpy torch --dtypes float32 --plans six --seconds 0", 2),
        ("scaling --most 100 --backends numpy", 1),
        ("stages --length 10 --backends numpy --seconds 0", 1),
        ("unlike --events 2 --backends numpy", 1),
        ("pace --segments 20 --backends numpy --runs 1", 1),
        ("scores --muons 10 --protons 2 --toys 1-8", 6),
        ("likelihood --muons 10 --protons 2 --backends torch --seconds 0", 1),
    ],
)
def test_commands(command, rows, tmp_path, capsys):
    assert main([*command.split(), "--out", str(tmp_path)]) == 0
    name = command.split()[0]
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(result["rows"]) == rows
    assert (tmp_path / f"{name}.png").stat().st_size > 1000
    assert (tmp_path / f"{name}.md").read_text().splitlines()[0] in capsys.readouterr().out


@pytest.mark.slow
def test_a_large_file_is_streamed(capsys):
    assert main(["streaming", "--segments", "300", "--backend", "numpy", "--after", "0"]) == 0
    printed = capsys.readouterr().out
    assert "the last is 16777217" in printed
    assert "killed: no output file" in printed
    assert int(printed.split("of the last event: ")[1]) > 0


@pytest.mark.slow
def test_a_fit_that_is_killed_ends_as_if_it_had_not_been(capsys):
    assert main(["resume", "--kills", "2", "--iterations", "80", "--muons", "3", "--protons", "1"]) == 0
    assert "result and history agree bit for bit" in capsys.readouterr().out


def test_a_difference_of_one_bit_is_found(tmp_path):
    for name, value in (("a", 1.0), ("b", np.nextafter(1.0, 2.0)), ("c", 1.0)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps({"loss": value, "wall_s": id(folder)}))
        with h5py.File(folder / "history.h5", "w") as file:
            file["loss"], file["wall_s"] = [value], [float(id(folder))]
    assert differences(tmp_path / "a", tmp_path / "b") == ["history.loss", "loss"]
    assert differences(tmp_path / "a", tmp_path / "c") == []


def test_no_such_device(capsys, tmp_path):
    assert main(["compare", "--backends", "numpy", "--devices", "cuda", "--out", str(tmp_path)]) == 2
    assert "Argument `devices` must name one that is there, but none of cuda is." in capsys.readouterr().err


def test_no_such_device_in_another_process(capsys, tmp_path, differentiable_backend):
    words = ["scaling", "--most", "100", "--backends", differentiable_backend, "--device", "cuda:99"]
    assert main([*words, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Argument `device` must be there" in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as error:
        main([command, "--help"])
    assert error.value.code == 0
    assert f"benchmarks {command}" in capsys.readouterr().out


def test_two_tracks_over_the_same_pixels(tmp_path):
    assert main(["overlap", str(tmp_path / "two.h5"), "--muons", "20", "--protons", "5"]) == 0
    segments = larndsim.read_segments(tmp_path / "two.h5")
    simulator = larndsim.Simulator("module0", "numpy")
    first = segments.track < 1000
    pixels = []
    for own in (first, ~first):
        batch = simulator.prepare(segments.select(own), vary=())
        pixels.append({*zip(*(column.tolist() for column in batch.all_pixels()[:4]), strict=True)})
    assert len(pixels[0] & pixels[1]) > 0.5 * len(pixels[0])
