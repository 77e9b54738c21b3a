"""Calibrate a detector from noisy data: simulate them with hidden parameters, fit all six, and compare.

Leaves demo/hits.h5, the data, demo/event.png, one event of them, and demo/run/report.html, the fit.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import larndsim
import optimize
from larndsim.cli import main as larndsim_command
from larndsim.data.segments import concatenate
from optimize.cli import main as optimize_command
from optimize.cli.log import log_to_stderr

FOLDER = Path("demo")
PARAMETERS = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
HIDDEN_SEED = 1


def main() -> None:
    shutil.rmtree(FOLDER / "run", ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    muons = larndsim.generate("muons", length=200.0, seed=1)
    protons = larndsim.generate("protons", length=50.0, seed=1)
    sample, hits = str(FOLDER / "sample.h5"), str(FOLDER / "hits.h5")
    larndsim.write_segments(sample, concatenate(muons, protons._replace(event=protons.event + 1000)))
    hidden = hidden_values()
    print("Two metres of muons and some stopping protons, seen by a detector that is not as it should be", flush=True)
    values = [f"{name}={value}" for name, value in hidden.items()]
    larndsim_command([
        "simulate", sample, hits, "--electronics", "clocked", "--seed", "1", "--link-vdrift-eField", "--set", *values,
    ])  # fmt: skip
    larndsim_command(["display", hits, "--event", "0", "--out", str(FOLDER / "event.png")])
    print("\nWhat is it like? Six parameters at once, from these noisy data", flush=True)
    with log_to_stderr():
        result = optimize.fit(sample, PARAMETERS, data=hits, link_vdrift_eField=True, out=FOLDER / "run", save_freq=1)
    print(f"{result.status} after {result.iterations} steps and {result.wall_s:.0f} s: {result.message}\n")
    print(compared(result, hidden), "\n")
    optimize_command(["report", str(FOLDER / "run")])


def hidden_values() -> dict[str, float]:
    """Random values over the full ranges."""
    random, bounds = np.random.default_rng(HIDDEN_SEED), larndsim.load_detector("module0").bounds
    return {name: float(random.uniform(bounds[name].down, bounds[name].up)) for name in PARAMETERS}


def compared(result: optimize.FitResult, hidden: dict[str, float]) -> str:
    """What was found, and what was hidden."""
    lines = [f"{'parameter':<12}{'start':>12}{'found':>13}{'error':>11}{'hidden':>13}{'pull':>8}"]
    for name, value in result.values.items():
        error = result.errors[name]
        pull = (value - hidden[name]) / error
        lines.append(
            f"{name:<12}{result.init[name]:>12.5g}{value:>13.5g}{error:>11.2g}{hidden[name]:>13.5g}{pull:>8.2f}"
        )
    lines.append(f"\nThe model makes data as unlikely as these with a probability of {result.p_value:.2f}.")
    return "\n".join([*lines, *result.remarks])


if __name__ == "__main__":
    main()
