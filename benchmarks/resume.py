"""Kill a fit again and again, resume it each time, and compare its end with that of an uninterrupted one, bit for bit.

Each process is killed with SIGKILL, which nothing can catch, at a random moment: some while it starts, most while it
steps, so early that the fit has not ended before the last kill.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import larndsim
from larndsim.errors import ArgumentError

from .closure import sample

PARAMETERS = ("Ab", "kb", "eField", "lifetime")
EARLY = 0.3  # the share of kills while a process starts
TIMES = "wall_s"  # the one thing that may differ


def run(arguments: argparse.Namespace) -> None:
    """Fit once whole and once in pieces, and say whether both ended alike."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        larndsim.write_segments(folder / "segments.h5", sample(arguments.muons, arguments.protons))
        start = time.perf_counter()
        process = _fit(folder / "whole", _first(folder, arguments))
        starting = _until(folder / "whole" / "checkpoint.npz", process) - start
        process.wait()
        stepping = time.perf_counter() - start - starting
        print(f"whole: {starting:.1f} s to start, {stepping:.1f} s to step, {_summary(folder / 'whole')}", flush=True)
        killed = _in_pieces(folder, arguments, starting)
        print(f"killed {killed} times: {_summary(folder / 'pieces')}")
        different = differences(folder / "whole", folder / "pieces")
    print(f"DIFFERENT in {', '.join(different)}" if different else "result and history agree bit for bit")
    if killed < arguments.kills:
        but = f"it ended after {killed} of {arguments.kills}"
        raise ArgumentError("iterations", "be so many that the fit outlives all kills", but, "Give more.")
    if different:
        raise SystemExit(1)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Which fit, and how often it is killed."""
    p.add_argument("--kills", type=int, default=10, metavar="N", help="default: %(default)s")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: %(default)s)")
    p.add_argument("--backend", default="torch", choices=("torch", "jax"))
    p.add_argument("--method", default="gradient", help="default: %(default)s")
    p.add_argument("--loss", default="space_match", help="default: %(default)s")
    p.add_argument("--iterations", type=int, default=80, metavar="N", help="default: %(default)s")
    p.add_argument("--save-freq", type=int, default=2, metavar="N", help="default: %(default)s")
    p.add_argument("--muons", type=float, default=6.0, metavar="CM")
    p.add_argument("--protons", type=float, default=3.0, metavar="CM")


def differences(one: Path, other: Path) -> list[str]:
    """Names of what differs between two runs, times aside."""
    import h5py

    results = [json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in (one, other)]
    different = [key for key in results[0].keys() | results[1].keys() if key != TIMES and _text(results, key)]
    with h5py.File(one / "history.h5") as a, h5py.File(other / "history.h5") as b:
        names = (a.keys() | b.keys()) - {TIMES}
        bits = {name: [file[name][:].tobytes() if name in file else b"" for file in (a, b)] for name in names}
    return sorted([*different, *(f"history.{name}" for name, (x, y) in bits.items() if x != y)])


def _text(results: list[dict], key: str) -> bool:
    """Whether an entry differs, as it is written: all its digits."""
    return len({json.dumps(result.get(key)) for result in results}) > 1


def _in_pieces(folder: Path, arguments: argparse.Namespace, starting: float) -> int:
    """Kill and resume until all kills are done, then let the fit end; the number of kills."""
    rng, killed, words, pieces = np.random.default_rng(arguments.seed), 0, _first(folder, arguments), folder / "pieces"
    while killed < arguments.kills and not (pieces / "result.json").exists():
        process = _fit(pieces, words)
        _wait(rng, pieces / "checkpoint.npz", process, starting)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
            process.wait()
            print(f"kill {killed}: {_progress(pieces)}", flush=True)
        words = ["--resume"] if (pieces / "config.yaml").exists() else words
    _fit(pieces, words).wait()
    return killed


def _wait(rng: np.random.Generator, path: Path, process: subprocess.Popen, starting: float) -> None:
    """Until a random moment: while the process starts, or between its checkpoints, however busy the machine is."""
    if rng.uniform() < EARLY:
        time.sleep(rng.uniform(0.0, 1.2 * starting))
        return
    written = [_until(path, process) for _ in range(rng.integers(2, 4))]
    time.sleep(rng.uniform(0.0, written[-1] - written[-2]))


def _until(path: Path, process: subprocess.Popen) -> float:
    """When the path is first written anew, or the process has ended."""
    before = path.stat().st_mtime_ns if path.exists() else None
    while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
        time.sleep(0.02)
    return time.perf_counter()


def _first(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The words of the command that starts the fit."""
    values = {
        "input": folder / "segments.h5", "cuts": "none", "seed": 1, "backend": arguments.backend,
        "method": arguments.method, "loss": arguments.loss, "iterations": arguments.iterations,
        "save-freq": arguments.save_freq,
    }  # fmt: skip
    # a fit by likelihood would have converged before it is killed often enough
    more = ["--noise", "--toys", "3", "--tolerance", "1e-9"] if arguments.loss == "likelihood" else []
    words = (word for name, value in values.items() for word in (f"--{name}", str(value)))
    return ["--params", *PARAMETERS, *words, *more]


def _fit(out: Path, words: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "optimize", "fit", "--out", str(out), *words]
    with open(out.with_suffix(".log"), "a") as log:  # the process keeps it open for itself
        return subprocess.Popen(command, stdout=log, stderr=log)


def _progress(run: Path) -> str:
    """How far the last checkpoint is."""
    from optimize.records import Folder

    held = Folder(run).load() if run.exists() else None
    return "no checkpoint yet" if held is None else f"the checkpoint is at step {held[0].iteration}"


def _summary(run: Path) -> str:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return f"{result['status']} after {result['iterations']} steps, loss {result['loss']:.6g}"
