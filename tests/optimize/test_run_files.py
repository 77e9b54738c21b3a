"""What is broken in the folder of a run is one sentence, whoever reads it."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from larndsim.errors import ArgumentError
from optimize.cli import main
from optimize.records import Run
from optimize.residuals import Residuals

FIT = ["fit", "--params", "Ab", "lifetime", "--cuts", "none", "--loss", "waveform", "--iterations", "2"]


@pytest.fixture(scope="module")
def whole(segments_file, tmp_path_factory):
    """A run that has ended."""
    folder = tmp_path_factory.mktemp("files") / "run"
    assert main([*FIT, "--input", str(segments_file), "--out", str(folder)]) == 3
    return folder


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "run")


def changed(**values):
    """A result with other values; those of parameters by their names."""

    def change(folder):
        result = json.loads((folder / "result.json").read_text())
        for name, value in values.items():
            result["parameters"][name].update(value) if name in result["parameters"] else result.update({name: value})
        (folder / "result.json").write_text(json.dumps(result))

    return change


def without(name):
    """A result that lacks something."""

    def change(folder):
        result = json.loads((folder / "result.json").read_text())
        del result[name]
        (folder / "result.json").write_text(json.dumps(result))

    return change


def history(change):
    def open_and_change(folder):
        with h5py.File(folder / "history.h5", "a") as file:
            change(file)

    return open_and_change


def named(*names):
    return history(lambda file: file.attrs.__setitem__("parameters", names))


def half(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:900])


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def foreign_residuals(folder):
    np.savez(folder / "residuals.npz", adc=np.zeros(3))


OTHER_RESULT = "hold the result of a fit of Ab, lifetime, but {}/result.json holds something else"
OTHER_HISTORY = "hold the history of a fit, but {}/history.h5 holds something else"
BROKEN = [
    (half("history.h5"), "be an HDF5 file of the history of a fit, but {}/history.h5 is truncated"),
    (text("history.h5", "text"), "be an HDF5 file of the history of a fit, but {}/history.h5 is not an HDF5 file"),
    (history(lambda file: file.__delitem__("loss")), OTHER_HISTORY),
    (history(lambda file: file.attrs.clear()), OTHER_HISTORY),
    (named("Ab"), OTHER_HISTORY),
    (named("Ab", "colour"), OTHER_HISTORY),
    (half("result.json"), "hold a whole result, but {}/result.json cannot be read"),
    (text("result.json", ""), "hold a whole result, but {}/result.json cannot be read"),
    (text("result.json", "[" * 100_000), "hold a whole result, but {}/result.json cannot be read"),
    (text("result.json", "[]"), OTHER_RESULT),
    (text("result.json", '{"status": "converged"}'), OTHER_RESULT),
    (without("dataset"), OTHER_RESULT),
    (changed(wall_s="long"), OTHER_RESULT),
    (changed(correlation=[[1.0]]), OTHER_RESULT),
    (changed(p_value="small"), OTHER_RESULT),
    (changed(parameters={"Ab": {"init": 0.8, "value": 0.8}}), OTHER_RESULT),
    (changed(Ab={"value": None}), OTHER_RESULT),
    (changed(lifetime={"interval": [1.0]}), OTHER_RESULT),
    (text("config.yaml", "- 1"), "be a YAML file of keys and values, but {}/config.yaml holds a list"),
    (lambda folder: (folder / "config.yaml").unlink(), "be a file that can be read, but {}/config.yaml: No such file"),
]


@pytest.mark.parametrize(("breaks", "sentence"), BROKEN)
@pytest.mark.parametrize("command", ["report", "plot", "export"])
def test_a_broken_run_is_one_sentence(command, breaks, sentence, run, tmp_path, capsys):
    breaks(run)
    out = tmp_path / {"report": "page.html", "plot": "pictures", "export": "lifetime.npz"}[command]
    assert main([command, str(run), "--out", str(out), *(["--unix-time", "1"] if command == "export" else [])]) == 2
    words, err = capsys.readouterr()
    assert words == ""
    assert err.startswith("larndsim-optimize: Argument `run` must " + sentence.format(run))
    assert err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("breaks", [half("residuals.npz"), text("residuals.npz", ""), foreign_residuals])
def test_broken_residuals_are_one_sentence(breaks, run, tmp_path, capsys):
    arrays = dict.fromkeys(Residuals._fields, np.zeros(100))
    np.savez_compressed(run / "residuals.npz", **arrays)
    breaks(run)
    for command in ("report", "plot"):
        pytest.importorskip("matplotlib")
        assert main([command, str(run), "--out", str(tmp_path / "out")]) == 2
        assert "must hold whole residuals, but" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_not_known_is_no_damage(run):
    changed(Ab={"error": None, "interval": [None, None]}, correlation=[[None, None], [None, 1.0]], p_value=0.3)(run)
    assert Run(run).result["parameters"]["Ab"]["error"] is None
    (run / "result.json").unlink()
    assert Run(run).result == {}


def test_no_run(tmp_path):
    with pytest.raises(ArgumentError, match=r"must be the folder of a run, but .* has no history\.h5"):
        Run(tmp_path)
