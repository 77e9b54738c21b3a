"""Lifetimes for the calibration chain."""

from __future__ import annotations

import json

import numpy as np
import pytest

from optimize.cli import main

NAMES = ("electron_lifetime_central_value", "electron_lifetime_upper_bound", "electron_lifetime_lower_bound")
WORDS = ["fit", "--cuts", "none", "--loss", "waveform", "--seed", "1", "--iterations", "30"]


@pytest.fixture(scope="module")
def run(segments_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    assert main([*WORDS, "--input", str(segments_file), "--params", "Ab", "lifetime", "--out", str(folder)]) == 0
    return folder


def copy_of(run, folder, change):
    """A run whose result is another one."""
    folder.mkdir()
    for path in run.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    result = json.loads((run / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_lifetime_is_what_the_run_has_found(run, tmp_path, capsys):
    path = tmp_path / "lifetime.npz"
    assert main(["export", str(run), "--unix-time", "1718000000.5", "--out", str(path)]) == 0
    assert f"see {path}" in capsys.readouterr().out
    own = json.loads((run / "result.json").read_text())["parameters"]["lifetime"]
    with np.load(path, allow_pickle=False) as file:
        assert set(file) == set(NAMES)
        central, upper, lower = (file[name] for name in NAMES)
    for rows, value in ((central, own["value"]), (lower, own["interval"][0]), (upper, own["interval"][1])):
        assert rows.dtype == np.dtype([("unix_s", "f8"), ("lt_us", "f8")])
        assert rows.tolist() == [(1718000000.5, value)]
    assert lower["lt_us"] < central["lt_us"] < upper["lt_us"]


def test_several_runs_come_by_time(run, tmp_path):
    other = copy_of(run, tmp_path / "b", lambda r: r["parameters"]["lifetime"].update(value=1.0, interval=[0.5, 2.0]))
    words = ["export", str(run), str(other), "--unix-time", "2000", "1000", "--out", str(tmp_path / "a.npz")]
    assert main(words) == 0
    with np.load(tmp_path / "a.npz") as file:
        central, upper = file[NAMES[0]], file[NAMES[1]]
    assert central["unix_s"].tolist() == [1000.0, 2000.0]
    assert (central["lt_us"][0], upper["lt_us"][0]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(status="max_iterations"), "`run` must have the status converged, but that of"),
        (lambda r: r["parameters"]["lifetime"].update(interval=[None, None]), "must have an error of the lifetime"),
        (lambda r: r.clear(), "has not ended"),
    ],
)
def test_runs_that_say_nothing_of_a_lifetime(change, sentence, run, tmp_path, capsys):
    folder = copy_of(run, tmp_path / "b", change)
    assert main(["export", str(folder), "--unix-time", "1", "--out", str(tmp_path / "a.npz")]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a.npz").exists()


def test_a_run_without_lifetime(segments_file, tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert main([*WORDS, "--input", str(segments_file), "--params", "Ab", "--out", folder]) == 0
    assert main(["export", folder, "--unix-time", "1", "--out", str(tmp_path / "a.npz")]) == 2
    assert "`run` must be a fit of the lifetime, but" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--unix-time", "1", "2", "--out", "a.npz"],
            "must be one time per run, but there are 2 for 1 runs",
        ),
        (["--unix-time", "nan", "--out", "a.npz"], "`unix_time` must be seconds since 1970, but one is nan"),
        (["--unix-time", "1", "--out", "a.json"], "`out` must be a file named .npz, but it is a.json"),
        (["--unix-time", "1", "--out", "no/a.npz"], "must lie in an existing folder"),
    ],
)
def test_refusals(words, sentence, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_time_is_required(run, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run), "--out", "a.npz"])
    assert stop.value.code == 2
    assert "--unix-time" in capsys.readouterr().err
