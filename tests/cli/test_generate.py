"""`larndsim generate`."""

from __future__ import annotations

import shlex

import numpy as np

import larndsim
from larndsim.cli import generate, main


def test_the_example_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(generate.EXAMPLE)[1:]) == 0
    segments = larndsim.read_segments("muons.h5")
    assert len(np.unique(segments.event)) == 100
    assert capsys.readouterr().out.startswith(f"muons.h5: 100 events, {len(segments.dE)} segments")


def test_options_reach_the_library(tmp_path):
    path = tmp_path / "out.h5"
    assert main(["generate", "muons", str(path), "--seed", "5", "--length", "120"]) == 0
    expected = larndsim.generate("muons", n=None, seed=5, length=120.0)
    read = larndsim.read_segments(path)
    for name in ("event", "x_start", "z_end", "dE"):
        np.testing.assert_allclose(getattr(read, name), getattr(expected, name), rtol=1e-6, atol=1e-5)


def test_bad_input_is_one_sentence_and_no_file(tmp_path, capsys):
    path = tmp_path / "out.h5"
    for arguments in (
        ["moons", str(path)],
        ["muons", str(path), "--n", "-1"],
        ["muons", str(tmp_path / "no" / "a.h5")],
    ):
        assert main(["generate", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("larndsim: ")
        assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
