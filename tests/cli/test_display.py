"""`larndsim display`."""

from __future__ import annotations

import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from larndsim.cli import display, main
from larndsim.display import CLOSEST, _windows, _within, draw_event, load_event

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def test_the_example_works(tmp_path, monkeypatch, hits_file, capsys):
    monkeypatch.chdir(tmp_path)
    Path("hits.h5").write_bytes(hits_file.read_bytes())
    assert main(shlex.split(display.EXAMPLE)[1:]) == 0
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


def test_the_files_of_the_detector_are_found_from_anywhere(tmp_path, monkeypatch, segments_file, capsys):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    np.savez("low.npz", keys=np.array([0]), values=np.array([5000.0]), default=np.array(5000.0))
    options = ["--backend", "numpy", "--no-truth", "--events", "1", "--thresholds", "low.npz"]
    assert main(["simulate", str(segments_file), "hits.h5", *options]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["display", "there/hits.h5", "--event", "1"]) == 0
    assert "left out" not in capsys.readouterr().out
    event = load_event("there/hits.h5", 1)
    assert event.waveforms is not None and set(event.threshold.ravel()) == {5000.0}
    Path("there/low.npz").unlink()
    assert main(["display", "there/hits.h5", "--event", "1"]) == 0
    assert "the files of the detector are not there, so waveforms are left out" in capsys.readouterr().out


def test_windows_hold_the_hits_and_lie_on_the_planes(hits_file):
    event = load_event(hits_file, 1)
    g = event.geometry
    far = event.hits[:2].copy()
    far["y"] = g.y_low[0] + 0.2, g.y_high[0] - 0.2
    for hits, part in ((event.hits, None), (event.hits[:1], CLOSEST), (far, 1.0), (event.hits[:0], 1.0)):
        (x, y), other = _windows(event._replace(hits=hits), [0, 1])
        assert np.all((x[0] <= hits["x"]) & (hits["x"] <= x[1]) & (y[0] <= hits["y"]) & (hits["y"] <= y[1]))
        assert g.x_low[0] - 1e-9 <= x[0] and x[1] <= g.x_high[0] + 1e-9
        assert g.y_low[0] - 1e-9 <= y[0] and y[1] <= g.y_high[0] + 1e-9
        shown = np.ptp(x) / (g.x_high[0] - g.x_low[0])
        assert np.ptp(y) / (g.y_high[0] - g.y_low[0]) == pytest.approx(shown)
        assert part is None or shown == pytest.approx(part)
        np.testing.assert_array_equal(other, (x, y))
    assert CLOSEST < np.ptp(_windows(event, [0, 1])[0][1]) / (g.y_high[0] - g.y_low[0]) < 1.0


def test_every_segment_is_drawn(hits_file):
    event = load_event(hits_file, 1)
    figure = draw_event(event)
    lines = [c for axis in figure.axes for c in axis.collections if type(c).__name__ == "LineCollection"]
    inside = sum(len(_within(event, plane).dE) for plane in (0, 1))
    assert sum(len(c.get_segments()) for c in lines if c.get_zorder() == 0.5) == 2 * inside > 0
    space = next(axis for axis in figure.axes if axis.name == "3d")
    assert max(len(c._segments3d) for c in space.collections if hasattr(c, "_segments3d")) == len(event.segments.dE)


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


def test_expected_hits_are_drawn(tmp_path, segments_file, capsys):
    hits, out = tmp_path / "hits.h5", tmp_path / "event.png"
    options = ["--backend", "numpy", "--no-truth", "--events", "1", "--electronics", "expected"]
    assert main(["simulate", str(segments_file), str(hits), *options]) == 0
    assert main(["display", str(hits), "--event", "1", "--out", str(out)]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"
    event = load_event(hits, 1)
    assert event.hits["probability"].min() < 0.5
    assert f"{event.hits['probability'].sum():.4g} expected hits" in draw_event(event).get_suptitle()
