"""Calibrate a detector: generate muons and protons, simulate data with hidden parameters, fit all six of them.

Leaves demo/event.png, one event of the sample, and demo/run/report.html, the fit.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import larndsim
import optimize
from larndsim.cli import main as larndsim_command
from larndsim.data.segments import concatenate
from optimize.cli import main as optimize_command

FOLDER = Path("demo")
PARAMETERS = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
HIDDEN_SEED = 4


def main() -> None:
    shutil.rmtree(FOLDER / "run", ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    muons = larndsim.generate("muons", length=100.0, seed=1)
    protons = larndsim.generate("protons", length=25.0, seed=1)
    segments = concatenate(muons, protons._replace(event=protons.event + 1000))
    sample, hits = str(FOLDER / "sample.h5"), str(FOLDER / "hits.h5")
    larndsim.write_segments(sample, segments)
    print("One metre of muons and some stopping protons: what the pixels record of them")
    larndsim_command(["simulate", sample, hits, "--seed", "1"])
    larndsim_command(["display", hits, "--event", "0", "--out", str(FOLDER / "event.png")])
    print("\nSix parameters at once, hidden in a simulated target; the drift velocity follows the field")
    result = optimize.fit(
        sample,
        PARAMETERS,
        out=FOLDER / "run",
        loss="waveform",
        method="gauss-newton",
        cuts="none",
        link_vdrift_eField=True,
        seed=HIDDEN_SEED,
    )
    print(f"{result.status} after {result.iterations} steps and {result.wall_s:.0f} s: {result.message}\n")
    print(result.table(), "\n")
    optimize_command(["report", str(FOLDER / "run")])


if __name__ == "__main__":
    main()
