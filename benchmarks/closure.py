"""Closure of the fits: six parameters at random targets, from the nominal start.

200 cm of generated muons and 50 cm of stopping protons; relative errors in percent, seconds with compilation included.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import larndsim
from larndsim import Segments
from larndsim.data.segments import concatenate
from larndsim.detector import Detector

PARAMETERS = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
LIMITS = {"Ab": 0.01, "kb": 0.01, "eField": 0.01, "lifetime": 0.05, "long_diff": 0.05, "tran_diff": 0.05}  # percent
PREDECESSOR = {"Ab": 0.02, "kb": 0.08, "eField": 0.001, "lifetime": 0.28, "long_diff": 0.2, "tran_diff": 0.17}
# What makes Adam get there in 500 steps. The rates are in half ranges: the field moves hits the most, by far. Without
# clipping, the memory of the first, long gradients would shorten all later steps.
RATES = {"Ab": 0.1, "kb": 0.1, "eField": 0.03, "lifetime": 0.1, "long_diff": 0.1, "tran_diff": 0.1}
CHOICES = {"gradient": {"lr": RATES, "schedule": "cosine", "clip": 0.1, "iterations": 500, "tolerance": 1e-3}}
FIRST_PROTON = 1_000_000  # events of protons are numbered from here


def run(arguments: argparse.Namespace) -> None:
    """Fit, and print the table."""
    options = CHOICES.get(arguments.method, {}) | json.loads(arguments.choices)
    limits = LIMITS if arguments.within is None else dict.fromkeys(PARAMETERS, arguments.within)
    rows: list[dict[str, Any]] = []
    print(header(), flush=True)
    for seed in seeds_of(arguments.seeds):
        result, seconds = closure(seed, arguments, options)
        pulls = {name: (result.values[name] - result.target[name]) / result.errors[name] for name in PARAMETERS}
        off = {name: 100 * (result.values[name] / result.target[name] - 1) for name in PARAMETERS}
        rows.append({"seed": seed, "method": arguments.method, "status": result.status, "off": off, "pulls": pulls})
        rows[-1] |= {"steps": result.iterations, "seconds": seconds}
        print(line(rows[-1], None if arguments.noise else limits), flush=True)
    print(noisy_summary(rows) if arguments.noise else summary(rows, limits))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Which fits."""
    p.add_argument("--backend", default="torch", choices=("torch", "jax"))
    p.add_argument("--device", default="cpu")
    p.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    p.add_argument("--seeds", default="1-10", metavar="A-B", help="of the targets (default: %(default)s)")
    p.add_argument("--loss", default="waveform", help="default: %(default)s")
    p.add_argument("--method", default="gauss-newton", help="default: %(default)s")
    p.add_argument(
        "--within", type=float, metavar="PERCENT", help="of the truth (default: what is asked of gauss-newton)"
    )
    p.add_argument("--noise", action="store_true", help="targets from clocked electronics with all noise; loss hits")
    p.add_argument("--muons", type=float, default=200.0, metavar="CM")
    p.add_argument("--protons", type=float, default=50.0, metavar="CM")
    p.add_argument(
        "--choices",
        default="{}",
        metavar="JSON",
        help="further choices of the fit; they override those made here for its method",
    )
    p.add_argument("--out", metavar="JSON", help="write the table to this file, too")


def sample(muons: float, protons: float, seed: int = 1, detector: Detector | None = None) -> Segments:
    """So many cm of through-going muons and of stopping protons, in module 0 or a given detector."""
    stopping = larndsim.generate("protons", seed=seed, detector=detector, length=protons)
    stopping = stopping._replace(event=stopping.event + FIRST_PROTON)
    return concatenate(larndsim.generate("muons", seed=seed, detector=detector, length=muons), stopping)


def closure(seed: int, arguments: argparse.Namespace, options: dict[str, Any]) -> tuple[Any, float]:
    """One fit, and the seconds that it took."""
    import optimize

    names = ("backend", "device", "dtype", "loss", "method")
    choices = {name: getattr(arguments, name) for name in names} | {"cuts": "none", "link_vdrift_eField": True}
    if arguments.noise:
        choices |= {"noise": True, "loss": "hits"}
    segments = sample(arguments.muons, arguments.protons)
    start = time.perf_counter()
    result = optimize.fit(segments, PARAMETERS, seed=seed, **{**choices, **options})
    return result, time.perf_counter() - start


def passed(row: dict[str, Any], limits: dict[str, float]) -> bool:
    """Whether a fit found the truth. One that follows the gradient may use all its steps: its last ones are short."""
    found = ("converged", "max_iterations") if row["method"] == "gradient" else ("converged",)
    return row["status"] in found and all(abs(row["off"][name]) <= limit for name, limit in limits.items())


def header() -> str:
    """The first line of the table."""
    columns = "".join(f"{name:>11}" for name in PARAMETERS)
    return f"{'seed':>6}{columns}{'steps':>7}{'seconds':>9}  status      (off by, in %)"


def line(row: dict[str, Any], limits: dict[str, float] | None) -> str:
    """One fit, and whether it missed the truth, where it can be asked to find it."""
    columns = "".join(f"{row['off'][name]:>11.5f}" for name in PARAMETERS)
    verdict = row["status"] if limits is None or passed(row, limits) else f"{row['status']}, MISSED"
    return f"{row['seed']:>6}{columns}{row['steps']:>7}{row['seconds']:>9.1f}  {verdict}"


def summary(rows: list[dict[str, Any]], limits: dict[str, float]) -> str:
    """The worst of all seeds, what is asked for, and the best that the predecessor reached."""
    worst = {name: max(abs(row["off"][name]) for row in rows) for name in PARAMETERS}
    lines = [("worst", worst), ("asked", limits), ("before", PREDECESSOR)]
    text = [f"{title:>6}{''.join(f'{values[name]:>11.5f}' for name in PARAMETERS)}" for title, values in lines]
    good, seconds = sum(passed(row, limits) for row in rows), np.array([row["seconds"] for row in rows])
    text.append(f"{good} of {len(rows)} good; seconds: median {np.median(seconds):.1f}, most {seconds.max():.1f}")
    return "\n".join(text)


def noisy_summary(rows: list[dict[str, Any]]) -> str:
    """Bias and spread over the seeds, and those of the distances in units of the errors that the fits give."""
    off, pulls = (np.array([[row[key][name] for name in PARAMETERS] for row in rows]) for key in ("off", "pulls"))
    lines = [("bias", off.mean(axis=0)), ("spread", off.std(axis=0))]
    lines += [("bias/e", np.nanmean(pulls, axis=0)), ("spr./e", np.nanstd(pulls, axis=0))]
    text = [f"{title:>6}{''.join(f'{value:>11.4f}' for value in values)}" for title, values in lines]
    return "\n".join([*text, f"{sum(row['status'] == 'converged' for row in rows)} of {len(rows)} converged"])


def seeds_of(text: str) -> range:
    """1-10 -> 1, 2, ... 10"""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
