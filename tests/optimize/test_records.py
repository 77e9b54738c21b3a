"""A run is a folder; an interrupted one goes on to the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import larndsim
import optimize
from larndsim import ArgumentError
from larndsim.detector.checks import read_yaml
from optimize.methods import METHODS
from optimize.records import Folder, Run

ROOT = Path(__file__).resolve().parents[2]
TWO = ["Ab", "lifetime"]
CHOICES = {"cuts": "none", "loss": "waveform", "seed": 1, "save_freq": 2}
OPTIONS = {
    "fisher": {"loss": "likelihood", "noise": True, "toys": 3, "tolerance": 1e-5},
    "gauss-newton": {},
    "gradient": {"iterations": 12, "batch_tracks": 1, "batches_per_step": 1, "schedule": "cosine"},
    "lbfgs": {"iterations": 12},
    "minuit": {"iterations": 12},
}


def outcome(folder):
    """What has to agree to the bit: everything but the time."""
    result = json.loads((folder / "result.json").read_text())
    del result["wall_s"]
    history = Run(folder).history
    del history["wall_s"]
    return result, {name: column.tobytes() for name, column in history.items()}


class Stop(BaseException):
    """An interruption that nobody can catch by accident."""


@pytest.mark.parametrize("name", METHODS)
def test_resume_gives_the_same_bits(name, segments_file, tmp_path, monkeypatch):
    choices = {**CHOICES, "method": name, **OPTIONS[name]}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    optimize.fit(segments_file, TWO, out=whole, **choices)
    cls = METHODS[name]
    honest = cls.step
    for stop in (1, 4):  # steps of this process until it dies

        def step(self, objective, state, stop=stop, done=[]):  # noqa: B006
            done.append(1)
            if len(done) > stop:
                raise Stop
            return honest(self, objective, state)

        monkeypatch.setattr(cls, "step", step)
        resumed = {"resume": True} if stop > 1 else {"input": segments_file, "params": TWO, **choices}
        with pytest.raises(Stop):
            optimize.fit(out=parts, **resumed)
        step.__defaults__[-1].clear()
    monkeypatch.setattr(cls, "step", honest)
    optimize.fit(out=parts, resume=True)
    assert outcome(parts) == outcome(whole)


def test_an_ended_run_can_be_resumed(segments_file, tmp_path):
    optimize.fit(segments_file, TWO, out=tmp_path / "run", **{**CHOICES, "iterations": 2})
    assert outcome(tmp_path / "run")[0]["status"] == "max_iterations"
    result = optimize.fit(out=tmp_path / "run", resume=True, iterations=50)
    assert result.converged
    before = outcome(tmp_path / "run")
    optimize.fit(out=tmp_path / "run", resume=True, iterations=50)
    assert outcome(tmp_path / "run") == before


def test_the_folder(segments_file, tmp_path):
    result = optimize.fit(segments_file, TWO, out=tmp_path / "run", **CHOICES)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "history.h5", "checkpoint.npz", "result.json"}
    config = read_yaml(tmp_path / "run" / "config.yaml", "config")
    assert config["params"] == TWO
    assert config["input"] == str(segments_file)
    run = Run(tmp_path / "run")
    assert run.names == tuple(TWO)
    np.testing.assert_array_equal(run.history["parameters"], result.history["parameters"])
    assert run.target("Ab") == result.target["Ab"]


def test_segments_from_memory_become_a_file(segments, tmp_path):
    optimize.fit(segments, TWO, out=tmp_path / "run", **{**CHOICES, "iterations": 2})
    read = larndsim.read_segments(tmp_path / "run" / "segments.h5")
    np.testing.assert_array_equal(read.dE, segments.dE)
    np.testing.assert_array_equal(read.z_end, segments.z_end)
    assert optimize.fit(out=tmp_path / "run", resume=True, iterations=50).converged


def test_refusals(segments_file, segments, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ArgumentError, match="holds none"):
        optimize.fit(out=run, resume=True)
    with pytest.raises(ArgumentError, match="`resume` must come with `out`"):
        optimize.fit(segments_file, TWO, resume=True)
    with pytest.raises(ArgumentError):
        optimize.fit(segments_file, TWO, out=run, **{**CHOICES, "cuts": {"z_inner": 27.0}})
    assert not run.exists()
    optimize.fit(segments_file, TWO, out=run, **{**CHOICES, "iterations": 1})
    with pytest.raises(ArgumentError, match="be a folder without a run"):
        optimize.fit(segments_file, TWO, out=run, **CHOICES)
    with pytest.raises(ArgumentError, match="`seed` must stay what it was"):
        optimize.fit(out=run, resume=True, seed=2)
    with pytest.raises(ArgumentError, match="`data` must be a file where `out` is given"):
        optimize.fit(segments_file, TWO, out=tmp_path / "b", data=np.zeros(1), cuts="none")
    (run / "checkpoint.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ArgumentError, match="cannot be read"):
        optimize.fit(out=run, resume=True)


@pytest.fixture(scope="module")
def begun(segments_file, tmp_path_factory):
    """A run of one step, with an input of its own."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copy(segments_file, folder / "own.h5")
    optimize.fit(folder / "own.h5", TWO, out=folder / "run", **{**CHOICES, "iterations": 1})
    return folder


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"params": ["kb", "lifetime"]}, '`params` was ["Ab", "lifetime"] and is ["kb", "lifetime"]'),
        ({"seed": 2, "loss": "hits"}, '`seed` was 1 and is 2, `loss` was "waveform" and is "hits"'),
        ({"set_init": {"Ab": 0.85}}, '`set_init` was {} and is {"Ab": 0.85}'),
        ({"detector": "own.yaml"}, '`detector` was "module0" and is a file'),
        ({"input": "other.h5"}, "the content of `input` was another"),
        ({"input": "none.h5"}, '`input` was a file and is "none.h5"'),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(change, sentence, begun, tmp_path, monkeypatch):
    run = shutil.copytree(begun / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("lifetime: 2200\n")
    larndsim.write_segments(tmp_path / "other.h5", larndsim.generate("muons", seed=9, length=6.0))
    settings = read_yaml(run / "config.yaml", "config")
    (run / "config.yaml").write_text(yaml.safe_dump(settings | change))
    before = (run / "checkpoint.npz").read_bytes()
    with pytest.raises(ArgumentError) as error:
        optimize.fit(out=run, resume=True, iterations=20)
    assert str(error.value).startswith(f"Argument `resume` must go on as {run}/checkpoint.npz was made, but ")
    assert sentence in str(error.value)
    assert (run / "checkpoint.npz").read_bytes() == before


def test_a_checkpoint_of_another_version_is_refused(begun, monkeypatch):
    monkeypatch.setattr(larndsim, "__version__", "9.9")
    with pytest.raises(ArgumentError, match=r'but `version` was ".*" and is "9\.9"'):
        optimize.fit(out=begun / "run", resume=True)


def test_what_does_not_decide_the_steps_may_change(begun, tmp_path):
    """The files may have moved, too."""
    run = shutil.copytree(begun / "run", tmp_path / "run")
    moved = shutil.copy(begun / "own.h5", tmp_path / "moved.h5")
    change = {"input": str(moved), "iterations": 20, "save_freq": 3, "errors": False, "toys": 5}
    (run / "config.yaml").write_text(yaml.safe_dump(read_yaml(run / "config.yaml", "config") | change))
    result = optimize.fit(out=run, resume=True)
    assert result.converged
    assert np.isnan(result.covariance).all()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken", "foreign", "array", "half"])
def test_a_broken_checkpoint_is_one_sentence(content, begun, tmp_path):
    run = shutil.copytree(begun / "run", tmp_path / "run")
    path = run / "checkpoint.npz"
    if content == "foreign":
        np.savez_compressed(path, u=np.zeros(2))
    elif content == "array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    with pytest.raises(ArgumentError, match=r"must find a whole checkpoint, but .*checkpoint\.npz cannot be read"):
        optimize.fit(out=run, resume=True)


def test_half_written_files_of_a_killed_process_are_swept(segments_file, tmp_path):
    run = tmp_path / "run"
    optimize.fit(segments_file, TWO, out=run, **{**CHOICES, "iterations": 1})
    half, mine = run / ".checkpoint.0123abcd.npz", run / ".notes.txt"
    for path in (half, mine):
        path.write_bytes(b"x")
    optimize.fit(out=run, resume=True, iterations=2)
    assert not half.exists()
    assert mine.exists()


def test_an_interruption_while_the_errors_are_computed_loses_no_step(segments_file, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("optimize.fitting.covariance", stop)
    with pytest.raises(KeyboardInterrupt):
        optimize.fit(segments_file, TWO, out=tmp_path / "run", **{**CHOICES, "iterations": 3, "save_freq": 100})
    state, _ = Folder(tmp_path / "run").load()
    assert state.iteration == 3


def test_no_pickle_in_a_checkpoint(segments_file, tmp_path):
    optimize.fit(segments_file, TWO, out=tmp_path / "run", **{**CHOICES, "iterations": 1})
    with np.load(tmp_path / "run" / "checkpoint.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiuU" for name in file.files)


def command(out, *arguments):
    flags = ["--cuts", "none", "--loss", "waveform", "--seed", "1", "--save-freq", "1", "--tolerance", "1e-6"]
    call = [sys.executable, "-m", "optimize", "fit", "--out", str(out), *arguments]
    with open(out.with_suffix(".log"), "w") as log:
        call = call if "--resume" in arguments else call + flags
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background would ignore it
        try:
            return subprocess.Popen(call, cwd=ROOT, stderr=log, stdout=log)
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint(number, segments_file, tmp_path):
    """It arrives in the middle of a fit that would take long."""
    run = tmp_path / "run"
    slow = ["--method", "gradient", "--iterations", "100000", "--lr", "1e-3", "--params", *TWO]
    process = command(run, "--input", str(segments_file), *slow)
    wait_for(run / "checkpoint.npz", process)
    time.sleep(1.0)
    process.send_signal(number)
    assert process.wait(timeout=300) == 130
    assert run.with_suffix(".log").read_text().endswith("larndsim-optimize: interrupted\n")
    state, history = Folder(run).load()
    assert len(history.rows) == state.iteration + 1 > 1
    assert not (run / "result.json").exists()


@pytest.mark.slow
def test_killed_again_and_again(segments_file, tmp_path):
    arguments = ["--input", str(segments_file), "--params", "Ab", "kb", "lifetime", "tran_diff"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert command(whole, *arguments).wait() == 0
    process = command(parts, *arguments)
    wait_for(parts / "config.yaml", process)
    rng = np.random.default_rng(4)
    for _ in range(3):
        time.sleep(rng.uniform(0.0, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process = command(parts, "--resume")
        wait_for(parts / "checkpoint.npz", process)
    assert process.wait() == 0
    assert outcome(parts) == outcome(whole)


def wait_for(path, process, most=60.0):
    start = time.monotonic()
    while not path.exists() and process.poll() is None and time.monotonic() < start + most:
        time.sleep(0.05)
    assert path.exists()
