"""`larndsim-optimize`: exit codes, sentences, files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from optimize.cli import COMMANDS, main
from optimize.cli.scan import USELESS
from optimize.methods import State
from optimize.objective import Normal, Objective
from optimize.scans import scan
from tests.optimize.conftest import DETECTOR

FIT = ["fit", "--params", "Ab", "lifetime", "--cuts", "none", "--seed", "1"]
FAST = ["--loss", "waveform"]


@pytest.fixture(scope="module")
def run(segments_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main([*FIT, *FAST, "--input", str(segments_file), "--out", str(folder), "--save-freq", "1"]) == 0
    return folder


def test_fit_prints_a_table(segments_file, tmp_path, capsys):
    assert main([*FIT, *FAST, "--input", str(segments_file), "--out", str(tmp_path / "run"), "--save-freq", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["parameter", "unit", "initial", "fitted", "truth", "off", "by"]
    assert "converged after" in out
    assert re.search(r"step 2 of at most 100: loss=\S+ Ab=\S+ lifetime=\S+", err)
    assert "read 2 tracks" in err


def test_a_fit_by_likelihood_prints_what_it_is_worth(segments_file, tmp_path, capsys):
    words = ["--noise", "--set-init", "lifetime=5000", "--set-target", "lifetime=4900", "--toys", "3"]
    main([*FIT, *words, "--input", str(segments_file), "--out", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    head = out.splitlines()[0]
    assert head.split()[:4] == ["parameter", "unit", "initial", "fitted"]
    assert head.endswith("truth   pull")
    assert re.search(r"^p-value of the data among simulated ones: p [=<>] ", out, re.MULTILINE)
    assert re.search(r"^lifetime .* ± ", out, re.MULTILINE)
    for stage in ("coarse stage 1", "likelihood"):
        assert re.search(rf"step \d+ of at most 100: {stage}, loss=", err), stage


def test_result_file(run):
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "converged"
    assert set(result["parameters"]) == {"Ab", "lifetime"}
    assert np.shape(result["correlation"]) == (2, 2)


def test_not_converged_is_3_and_resume_goes_on(segments_file, tmp_path, capsys):
    folder = ["--out", str(tmp_path / "run")]
    assert main([*FIT, *FAST, *folder, "--input", str(segments_file), "--iterations", "2"]) == 3
    assert "max_iterations after 2 steps" in capsys.readouterr().out
    assert main(["fit", "--resume", *folder, "--iterations", "50"]) == 0
    assert main(["fit", "--resume", *folder, "--seed", "9"]) == 2
    assert "`seed` must stay what it was" in capsys.readouterr().err


def test_one_file_holds_everything(segments_file, tmp_path):
    config = tmp_path / "fit.yaml"
    config.write_text(f"input: {segments_file}\nparams: [Ab, lifetime]\ncuts: none\nloss: waveform\nseed: 1\n")
    assert main(["fit", "--config", str(config), "--out", str(tmp_path / "run")]) == 0
    config.write_text("inputs: a.h5\n")
    assert main(["fit", "--config", str(config), "--out", str(tmp_path / "b")]) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--input", "no.h5"], "no.h5 does not exist"),
        (["--set-target", "Ab"], "`--set-target` must be given as NAME=VALUE, but it is 'Ab'"),
        (["--set-target", "Ab=much"], "give numbers"),
        (["--set-target", "Ab=0.8", "Ab=0.81"], "give each value once"),
        (["--config", "no.yaml"], "`config` must be a file that can be read, but no.yaml: No such file"),
        (["--method", "gradient", "--lr", "0"], "greater than 0"),
    ],
)
def test_bad_input_is_one_sentence_and_no_folder(words, sentence, segments_file, tmp_path, capsys):
    start = FIT if "--input" in words else [*FIT, "--input", str(segments_file)]
    assert main([*start, *words, "--out", str(tmp_path / "run")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("params: 3", "`params` must be names of parameters, but it is 3"),
        ("cuts: [1]", "`cuts` must be numbers by name"),
        ("seed: many", "`seed` must be a whole number"),
        ("- 1", "`config` must be a YAML file of keys and values"),
        ("seed: " + "[" * 10000 + "]" * 10000, "lists and mappings are nested more than 20 deep"),
        ("out: 3", "`--out` must be given, but it is 3"),
        ("colour: red", "`colour` must be a choice of a fit"),
        ("lr: .inf\nmethod: gradient", "`lr` must be a number"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "scan"])
def test_wrong_lines_of_a_file_are_one_sentence(command, content, sentence, segments_file, tmp_path, capsys):
    config = tmp_path / "fit.yaml"
    config.write_text(content + "\n")
    start = [command, "--config", str(config), "--input", str(segments_file)]
    start += [] if "params" in content else ["--params", "Ab"]
    start += [] if "out" in content else ["--out", str(tmp_path / "run")]
    if command == "scan" and "lr" in content:
        sentence = "`method` must be left out of a scan"
    assert main(start) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [config]


def test_the_file_may_hold_the_folder_and_a_run_repeats_another(segments_file, tmp_path, run, capsys):
    config = tmp_path / "fit.yaml"
    config.write_text(f"input: {segments_file}\nparams: [Ab]\ncuts: none\nloss: waveform\nout: {tmp_path / 'a'}\n")
    assert main(["fit", "--config", str(config)]) == 0
    assert (tmp_path / "a" / "result.json").exists()
    assert main(["fit", "--config", str(run / "config.yaml"), "--out", str(tmp_path / "b")]) == 0
    first, again = (json.loads((folder / "result.json").read_text()) for folder in (run, tmp_path / "b"))
    assert first["parameters"] == again["parameters"]
    assert main(["fit", "--config", str(run / "config.yaml")]) == 2
    assert "`--out` must be given" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "scan", "plot"])
def test_a_file_is_no_folder(command, segments_file, tmp_path, run, capsys):
    (tmp_path / "file").write_text("x")
    words = [str(run)] if command == "plot" else [*FIT[1:3], *FAST, "--input", str(segments_file)]
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert main([command, *words, "--out", str(out)]) == 2
        assert re.search(r"Argument `(--)?out` must be a folder, but \S+ is none", capsys.readouterr().err)
    assert (tmp_path / "file").read_text() == "x"


def test_a_run_that_failed_at_once_can_be_drawn(segments_file, tmp_path, monkeypatch, capsys):
    """It has no iteration at all."""
    monkeypatch.setattr(Objective, "normal", lambda self, u: Normal(float("nan"), np.eye(2), np.zeros(2), 1))
    folder = tmp_path / "run"
    assert main([*FIT, *FAST, "--input", str(segments_file), "--out", str(folder)]) == 3
    assert "not finite at the initial values" in capsys.readouterr().out
    assert main(["plot", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    assert main(["fit", "--resume", "--out", str(folder)]) == 3


def test_unknown_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        main([*FIT, "--out", "x", "--colour", "red"])
    assert stop.value.code == 2
    assert "--colour" in capsys.readouterr().err


def test_help_names_everything(capsys):
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert command.EXAMPLE in capsys.readouterr().out


def test_plots(run, tmp_path, capsys):
    assert main(["plot", str(run)]) == 0
    drawn = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert drawn == {"parameters.png", "loss.png", "convergence.png", "correlations.png"}
    assert all((run / name).read_bytes().startswith(b"\x89PNG") for name in drawn)
    assert main(["plot", str(run), str(run)]) == 2
    assert main(["plot", str(run), str(run), "--out", str(tmp_path / "both")]) == 0
    assert (tmp_path / "both" / "convergence.png").exists()
    assert main(["plot", str(tmp_path)]) == 2
    assert "has no history.h5" in capsys.readouterr().err


def test_report_is_self_contained(run, tmp_path):
    page = tmp_path / "page.html"
    assert main(["report", str(run), "--out", str(page)]) == 0
    text = page.read_text()
    assert "converged" in text
    assert text.count("data:image/png;base64,") == 4
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").exists()


def test_a_run_that_goes_on_can_be_drawn(run, tmp_path):
    for name in ("history.h5", "config.yaml"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert main(["report", str(tmp_path)]) == 0
    assert "has not ended" in (tmp_path / "report.html").read_text()


def test_scan_of_one(segments_file, tmp_path, capsys):
    words = ["--input", str(segments_file), "--cuts", "none", *FAST, "--set-target", "Ab=0.82", "--points", "9"]
    assert main(["scan", "--params", "Ab", *words, "--range", "Ab=0.8:0.84", "--out", str(tmp_path / "scan")]) == 0
    assert "Ab=0.82" in capsys.readouterr().out
    with h5py.File(tmp_path / "scan" / "scan.h5") as file:
        axis, loss, gradient = file["axes/Ab"][:], file["loss"][:], file["gradient"][:, 0]
        assert file["axes/Ab"].attrs["target"] == 0.82
    assert axis[np.argmin(loss)] == pytest.approx(0.82)
    np.testing.assert_allclose(np.gradient(loss, axis)[1:-1], gradient[1:-1], rtol=1e-2, atol=1e-3 * gradient.max())
    assert (tmp_path / "scan" / "scan.png").read_bytes().startswith(b"\x89PNG")


def test_scan_of_two(segments_file, tmp_path):
    words = ["--input", str(segments_file), "--cuts", "none", *FAST, "--points", "3"]
    assert main(["scan", "--params", "Ab", "lifetime", *words, "--out", str(tmp_path / "scan")]) == 0
    with h5py.File(tmp_path / "scan" / "scan.h5") as file:
        assert file["loss"].shape == (3, 3)
        assert file["gradient"].shape == (3, 3, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--params", "Ab", "kb", "eField"], "be one or two parameters"),
        (["--params", "Ab", "--points", "1"], "`points` must be a whole number of 2 or more"),
        (["--params", "Ab", "--range", "kb=0.04:0.05"], "it is of kb"),
        (["--params", "Ab", "--range", "Ab=0.9"], "NAME=LOW:HIGH"),
        (["--params", "Ab", "--range", "Ab=0.1:0.9"], "keep Ab within"),
        (["--params", "Ab", "--range", "Ab=0.9:0.8"], "have its lower end first"),
        (["--params", "Ab", "--range", "Ab=nan:0.8"], "have its lower end first"),
    ],
)
def test_scan_refusals(words, sentence, segments_file, tmp_path, capsys):
    common = ["scan", "--input", str(segments_file), "--cuts", "none", *FAST, "--out", str(tmp_path / "scan")]
    assert main([*common, *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "scan").exists()


@pytest.mark.parametrize("name", USELESS)
def test_a_scan_refuses_what_it_would_ignore(name, segments_file, tmp_path, capsys):
    words = ["scan", "--input", str(segments_file), "--params", "Ab", "--out", str(tmp_path / "scan")]
    with pytest.raises(SystemExit) as stop:
        main([*words, f"--{name.replace('_', '-')}", "1"])
    assert stop.value.code == 2
    assert f"unrecognized arguments: --{name.replace('_', '-')}" in capsys.readouterr().err
    config = tmp_path / "scan.yaml"
    config.write_text(f"{name}: 1\n")
    assert main([*words, "--config", str(config)]) == 2
    assert f"`{name}` must be left out of a scan" in capsys.readouterr().err


def test_scan_in_the_library(segments):
    result = scan(segments, ["tran_diff"], points=3, cuts="none", loss="waveform", seed=2)
    assert result.loss.shape == (3,)
    low, high = DETECTOR.bounds["tran_diff"][:2]
    np.testing.assert_allclose(result.axes["tran_diff"], np.linspace(low, high, 3))


def test_a_state_holds_plain_values():
    assert set(State._field_defaults) == {"iteration", "rejected", "in_a_row", "status", "message"}
