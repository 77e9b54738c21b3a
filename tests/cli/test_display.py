"""`larndsim display`."""

from __future__ import annotations

import shlex
from pathlib import Path

import h5py
import pytest

from larndsim.cli import display, main

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def test_the_example_works(tmp_path, monkeypatch, hits_file, capsys):
    monkeypatch.chdir(tmp_path)
    Path("hits.h5").write_bytes(hits_file.read_bytes())
    example = display.EXAMPLE.replace("--event 3", "--event 1")
    assert main(shlex.split(example)[1:]) == 0
    assert Path("event.png").read_bytes()[:4] == b"\x89PNG"
    assert capsys.readouterr().out.startswith("event.png: event 1, ")


def test_without_the_file_of_segments(tmp_path, hits_file, segments_file, capsys):
    moved, out = tmp_path / "hits.h5", tmp_path / "event.pdf"
    moved.write_bytes(hits_file.read_bytes())
    with h5py.File(moved, "a") as file:
        file.attrs["input"] = str(tmp_path / "none.h5")
        del file.attrs["detector_source"]
    assert main(["display", str(moved), "--event", "1", "--out", str(out)]) == 0
    assert "truth and waveforms are left out" in capsys.readouterr().out
    assert main(["display", str(moved), "--event", "1", "--out", str(out), "--segments", str(segments_file)]) == 0
    assert "left out" not in capsys.readouterr().out


def test_bad_input_is_one_sentence_and_no_file(tmp_path, hits_file, segments_file, capsys):
    out = str(tmp_path / "event.png")
    for arguments, sentence in (
        ([str(hits_file), "--event", "77", "--out", out], "must name events of the file"),
        ([str(segments_file), "--event", "1", "--out", out], "must be an HDF5 file of hits"),
        ([str(tmp_path / "none.h5"), "--event", "1", "--out", out], "does not exist"),
        ([str(hits_file), "--event", "1", "--out", str(tmp_path / "event.gif")], "must end in .png"),
        ([str(hits_file), "--event", "1", "--out", str(tmp_path / "no" / "a.png")], "existing folder"),
        ([str(hits_file), "--event", "1", "--out", out, "--segments", str(tmp_path / "none.h5")], "does not exist"),
    ):
        assert main(["display", *arguments]) == 2
        captured = capsys.readouterr()
        assert sentence in captured.err and captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
