"""The statistics of pulls, on made-up toys; folders of toys, and processes that make them."""

from __future__ import annotations

import argparse
import json
import os
import signal

import numpy as np
import pytest

from benchmarks import toys
from benchmarks.__main__ import main
from benchmarks.closure import sample
from benchmarks.corners import CORNERS, TARGET, compared, design, jobs_of, verdict
from benchmarks.pull_plots import drawn
from benchmarks.pull_statistics import by_parameter, most_errors, objections, of_all, toys_of
from benchmarks.workers import ONE_THREAD, ROOT, cores, environment, made

NAMES = ("Ab", "kb", "lifetime")
TRUE = np.array([0.8, 0.05, 2000.0])
ERRORS = np.array([0.002, 0.0005, 100.0])
CORRELATION = np.array([[1.0, 0.7, -0.5], [0.7, 1.0, -0.2], [-0.5, -0.2, 1.0]])
FEW_STEPS = {"loss": "hits", "method": "gauss-newton", "iterations": 3}
TINY = ["--muons", "4", "--protons", "2", "--params", "Ab", "eField", "--choices", json.dumps(FEW_STEPS)]


def records(count=200, shift=0.0, wide=1.0, names=NAMES):
    """Toys whose pulls are normal, with the correlation of their covariance."""
    rng, covariance = np.random.default_rng(1), CORRELATION * np.outer(ERRORS, ERRORS)
    found = []
    for number in range(1, count + 1):
        values = rng.multivariate_normal(TRUE + shift * ERRORS, wide**2 * covariance)
        rows = {"values": values, "errors": ERRORS, "target": TRUE}
        one = {key: dict(zip(names, value.tolist(), strict=True)) for key, value in rows.items()}
        one |= {"status": "converged", "message": "", "loss": 1.0, "steps": 7, "seconds": float(number)}
        one |= {"covariance": covariance.tolist(), "p_value": rng.uniform(), "at_bound": []}
        found.append({"name": f"toy_{number:06d}", "choices": {"seed": number}, **one})
    return found


def test_normal_pulls_are_sound():
    found = toys_of(records(), NAMES)
    assert objections(found, []) == []
    for row, error, true in zip(by_parameter(found), ERRORS, TRUE, strict=True):
        assert row["error"] == pytest.approx(100 * error / true)
        for name, at in (("width", 1.0), ("ratio", 1.0), ("mean", 0.0), ("bias", 0.0)):
            value, spread = row[name]
            assert value == pytest.approx(at, abs=3.5 * spread)
        assert row["mean"][1] == pytest.approx(200**-0.5, rel=0.2)
    whole = of_all(found)
    assert whole["seconds"] == pytest.approx((100.5, 180.1))
    assert whole["steps"] == (7, 7)
    assert whole["distances"][1] < whole["distances"][0] < whole["distances"][2]
    for p_value in (whole["distances_uniform"], whole["p_values_uniform"], whole["means"][1]):
        assert 0.001 < p_value <= 1


def test_the_distance_knows_the_correlation():
    found = toys_of(records(3), NAMES)
    inverse = np.linalg.inv(found.covariance[0])
    assert found.distances == pytest.approx([off @ inverse @ off for off in found.off])


def test_means_of_uncorrelated_pulls():
    """Hotelling's statistic of pulls whose sample covariance is diagonal is the plain sum."""
    pulls = np.array([[1.5, 1.25], [1.5, -0.75], [-0.5, 1.25], [-0.5, -0.75]])
    unit = {"errors": np.ones((4, 2)), "covariance": np.tile(np.eye(2), (4, 1, 1))}
    whole = of_all(toys_of(records(4), NAMES)._replace(names=NAMES[:2], off=pulls, **unit))
    assert whole["means"][0] == pytest.approx(4 * (0.5**2 + 0.25**2) * 3 / 4)
    assert whole["means_uncorrelated"][0] == pytest.approx(whole["means"][0])
    assert whole["squared_pulls"][0] == whole["distances"][0] == pytest.approx((pulls**2).sum())


def test_shifted_pulls_are_not_sound():
    against = objections(toys_of(records(shift=0.4), NAMES), [])
    assert [f"the mean pull of {name}" in line for name, line in zip(NAMES, against, strict=False)] == [True] * 3


def test_few_toys_say_little_of_their_own_spread():
    """As improbable as three errors of a normal distribution: more of them."""
    assert most_errors(10**6) == pytest.approx(3.0, rel=1e-4)
    assert most_errors(10) == pytest.approx(4.09, abs=0.01)


@pytest.mark.parametrize("wide", [0.8, 1.3])
def test_errors_of_a_wrong_size_are_not_sound(wide):
    assert any("the sum of all squared pulls" in line for line in objections(toys_of(records(wide=wide), NAMES), []))


def test_a_toy_without_errors_is_not_sound():
    rows = records()
    rows[3]["errors"]["kb"] = None
    found = toys_of(rows, NAMES)
    assert objections(found, []) == ["1 of 200 toys lack a pull"]
    assert [row["toys"] for row in by_parameter(found)] == [200, 199, 200]


def test_toys_that_fail_or_are_missing_are_not_sound():
    rows = records()
    rows[5] = {key: rows[5][key] for key in ("name", "choices")} | {"status": "error", "message": "no"}
    rows[6]["status"] = "failed"
    against = objections(toys_of(rows, NAMES), [17])
    assert against == ["toys are missing: 17", "1 of 200 toys lack a pull", "2 of 200 fits did not converge"]


@pytest.mark.parametrize("count", [1, 2])
def test_few_toys_have_no_errors_that_are_made_up(count):
    found = toys_of(records(count), NAMES)
    whole = of_all(found)
    assert np.isnan(whole["means"]).all()
    assert np.isfinite(by_parameter(found)[0]["width"]).all() == (count == 2)
    assert drawn(found).axes


def test_percents_of_offsets_are_of_half_the_range():
    names = ("shift_x", "kb", "lifetime")
    assert toys_of(records(2, names=names), names).scale[:, 0] == pytest.approx(0.22)


def folder_of(path, rows):
    flags = argparse.Namespace(**{**toys.DEFAULTS, "params": list(NAMES)})
    toys.open_folder(path, toys.settings_of(toys.plan_of(flags, ()), "pulls"))
    for row in rows:
        toys.write(path / f"{row['name']}.json", row)
    return path


def test_report_of_a_folder(tmp_path, capsys):
    rows = records()
    folder = folder_of(tmp_path / "pulls", rows)
    assert main(["pulls", "--report-only", "--out", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "sound pulls: yes\n" in text and "p-values of 200 toys" in text
    assert text.split("Toys 1-200")[1].split("see ")[0].strip() in (folder / "pulls.md").read_text()
    assert json.loads((folder / "pulls.json").read_text())["objections"] == []
    assert (folder / "pulls.png").stat().st_size > 1000
    rows[9]["errors"]["Ab"] = float("nan")
    rows[9]["message"] = "Ab came to a limit."
    toys.write(folder / "toy_000010.json", rows[9])
    (folder / "toy_000020.json").unlink()
    assert main(["pulls", "--report-only", "--out", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "sound pulls: no (toys are missing: 20; 1 of 199 toys lack a pull)" in text
    assert "- toy 10: no pull of Ab; converged: Ab came to a limit." in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--toys", "5-1"], "Argument `toys` must be two whole numbers"),
        (["--toys", "a"], "Argument `toys` must be two whole numbers"),
        (["--processes", "0"], "Argument `processes` must be a whole number greater than 0"),
        (["--params", "Abb"], "Argument `params` must be one of"),
        (["--input", "nowhere.h5"], "Argument `input` must be a file of segments, but nowhere.h5 is none."),
        (["--input", __file__, "--muons", "3"], "Argument `muons` must be left out with `input`"),
        (["--choices", "{"], "Argument `choices` must be JSON"),
        (["--choices", "[]"], "Argument `choices` must be names and values"),
        (["--choices", '{"seed": 3}'], "Argument `choices` must leave out what each fit sets for itself"),
        (["--choices", '{"backend": "jax"}'], "Argument `choices` must leave out what is a flag"),
        (["--choices", '{"methodd": "x"}'], "Argument `choices` must be choices of a fit, but methodd is none."),
        (["--choices", '{"method": "x"}'], "Argument `method` must be one of"),
        (["--device", "cuda:99"], "Argument `device` must be there"),
        (["--report-only"], "Argument `out` must be a folder of fits"),
        (["--report-only", "--toys", "1-3"], "Argument `toys` must be left out with `report-only`"),
        (["--report-only", "--dtype", "float64"], "Argument `dtype` must be left out with `report-only`"),
    ],
)
def test_refused(words, sentence, tmp_path, capsys):
    assert main(["pulls", "--out", str(tmp_path / "pulls"), *words]) == 2
    assert capsys.readouterr().err.startswith(sentence)
    assert not list(tmp_path.rglob("toy_*"))


def test_a_folder_of_other_settings_is_refused(tmp_path, capsys):
    folder = folder_of(tmp_path / "pulls", records(2))
    words = ["pulls", "--out", str(folder), "--params", *NAMES]
    assert main([*words, "--toys", "1-2"]) == 0
    capsys.readouterr()
    for more in (["--dtype", "float64"], ["--muons", "100"], ["--choices", '{"accuracy": 0.01}'], ["--params", "Ab"]):
        assert main([*words, *more]) == 2
        assert "Argument `out` must be a folder of fits with the same settings" in capsys.readouterr().err
    assert main(["corners", "--out", str(folder)]) == 2
    assert "with benchmark pulls, not corners" in capsys.readouterr().err
    (folder / "settings.json").unlink()
    assert main(words) == 2
    assert "has other files and no settings.json" in capsys.readouterr().err


def test_another_content_of_a_file_is_another_setting(tmp_path):
    file = tmp_path / "segments.h5"
    found = []
    for content in ("one", "two"):
        file.write_text(content)
        found.append(toys.settings_of(toys.Plan({"params": ["Ab"], "input": str(file)}, None), "pulls"))
    assert found[0]["input"] == found[1]["input"] == ["segments.h5"]
    assert found[0]["sha256"]["input"] != found[1]["sha256"]["input"]


def test_processes_have_one_thread(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    found = environment()
    assert found["XLA_FLAGS"].startswith("--xla_dump_to=x --xla_cpu_multi_thread_eigen=false")
    assert {found[name] for name in ONE_THREAD} == {"1"}
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.slow
def test_toys_are_made_once(tmp_path, capsys, differentiable_backend):
    words = ["pulls", "--out", str(tmp_path), "--processes", "1", "--backend", differentiable_backend, *TINY]
    assert main([*words, "--toys", "1-2"]) == 0
    text = capsys.readouterr().out
    assert "Toys 1-2: 4 cm of muons and 2 cm of protons, module0; loss " in text
    assert "sound pulls: " in text
    files = [tmp_path / f"toy_{number:06d}.json" for number in (1, 2, 3)]
    records = [json.loads(file.read_text()) for file in files[:2]]
    assert records[0]["target"] != records[1]["target"]
    assert all(
        {"status", "loss", "steps", "seconds", "values", "errors", "covariance"} <= row.keys() for row in records
    )
    times = [file.stat().st_mtime_ns for file in files[:2]]
    assert main([*words, "--toys", "1-3"]) == 0
    assert [file.stat().st_mtime_ns for file in files[:2]] == times
    assert files[2].exists()
    assert "converged: " in (tmp_path / "pulls.md").read_text()


@pytest.mark.slow
def test_data_of_another_detector(tmp_path):
    """Fits of data with more noise than their model has know the truth all the same."""
    choices = {"params": ["Ab"], "backend": "torch", "device": "cpu", "cuts": "none", "noise": True}
    choices |= {"seed": 1, "toys": 3}
    segments = sample(20.0, 5.0)
    noisier = str(ROOT / "benchmarks" / "detectors" / "more_noise.yaml")
    record, known = (toys.fitted(segments, choices, data) for data in ({"detector": noisier}, {}))
    assert record["target"] == known["target"]
    assert record["values"] != known["values"]
    assert record["p_value"] < known["p_value"]


@pytest.mark.slow
def test_a_toy_that_raises_and_a_process_that_dies(tmp_path):
    choices = {"params": ["Ab"], "backend": "torch", "device": "cpu", "cuts": "none", "noise": True, **FEW_STEPS}
    plan = toys.Plan(choices, (4.0, 2.0))
    jobs = [toys.Job("toy_1", {"seed": -1}), toys.Job("toy_2", {"seed": 2}), toys.Job("toy_3", {"seed": 3})]
    fits = made(plan, jobs, tmp_path, 1)
    assert next(fits)["message"] == "Argument `seed` must be 0 or more, but it is -1."
    (worker,) = fits.gi_frame.f_locals["workers"]
    os.kill(worker.process.pid, signal.SIGKILL)
    killed, last = fits
    assert killed["name"] == "toy_2" and killed["message"] == "its process ended with code -9"
    assert last["name"] == "toy_3" and last["status"] in ("max_iterations", "converged", "failed")
    assert "Traceback" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("parameters", [1, 3, 6, 7, 9])
def test_corners_are_balanced(parameters):
    levels = design(parameters, seed=3)
    assert levels.shape == (CORNERS, parameters)
    assert set(np.abs(levels).ravel()) == {1}
    assert not levels.sum(axis=0).any()
    independent = levels[:, : min(parameters, 7)]
    assert np.array_equal(independent.T @ independent, CORNERS * np.eye(independent.shape[1]))
    assert np.array_equal(levels, design(parameters, seed=3))


def test_corners_are_inside_the_ranges():
    jobs = jobs_of(toys.Plan({"params": ["Ab", "lifetime"], "detector": "module0"}, None), seed=0)
    assert len(jobs) == 2 * CORNERS
    for nominal, opposite in zip(jobs[::2], jobs[1::2], strict=True):
        truth, init = nominal.choices["set_target"], opposite.choices["set_init"]
        assert truth == opposite.choices["set_target"] and nominal.choices["seed"] == opposite.choices["seed"]
        assert "set_init" not in nominal.choices
        assert sorted([truth["Ab"], init["Ab"]]) == pytest.approx([0.782, 0.878])
        assert truth["lifetime"] * init["lifetime"] == pytest.approx(500.0 * 5000.0)


def test_corners_with_two_minima():
    nominal, opposite = records(2)
    nominal["name"], opposite["name"] = "corner_1_nominal", "corner_1_opposite"
    opposite["values"] = dict(nominal["values"])
    row = compared(1, [nominal, opposite], NAMES)
    assert row["apart"] == 0.0 and verdict([row]).endswith(f"within {TARGET:g} of an error: 1 of 1")
    opposite["values"]["lifetime"] += 50.0
    row = compared(1, [nominal, opposite], NAMES)
    assert row["parameter"] == "lifetime" and row["apart"] == pytest.approx(0.5)
    assert verdict([row]) == "both starts converged: 1 of 1; and within 0.05 of an error: 0 of 1"
    opposite["errors"]["kb"] = None
    row = compared(1, [nominal, opposite], NAMES)
    assert row["parameter"] == "kb" and np.isnan(row["apart"])
    assert verdict([compared(2, [nominal], NAMES)]).startswith("both starts converged: 0 of 1")


@pytest.mark.slow
def test_corners(tmp_path, capsys):
    assert main(["corners", "--out", str(tmp_path), *TINY]) == 0
    assert "both starts converged: " in capsys.readouterr().out
    result = json.loads((tmp_path / "corners.json").read_text())
    assert len(result["rows"]) == CORNERS and len(result["fits"]) == 2 * CORNERS
    assert main(["corners", "--report-only", "--out", str(tmp_path)]) == 0
