"""Noisy fits of truths in corners of the ranges, each from the nominal start and from the opposite corner.

Both starts have the same data, so both must come to the same minimum. The corners are those of a two-level design of
eight runs: each parameter is low in four of them and high in the others, whatever another one is. They are 2 % of the
range within it; ranges are those that the fit sees, in the logarithm where they are wide.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

import numpy as np

import larndsim
from benchmarks import toys
from benchmarks.pull_statistics import toys_of
from benchmarks.pulls import described, header, line
from benchmarks.report import Columns, new_figure, number, save, table, text
from benchmarks.workers import made
from larndsim.errors import ArgumentError
from optimize.fitting import stopped_by_sigterm
from optimize.records import finite
from optimize.scaling import make_scaling

OWN = ("seed", "set_target", "set_init", "vary_init", "seed_init")  # choices that each fit has for itself
CORNERS = 8
WITHIN = 0.02  # of the range: how far the corners are inside
TARGET = 0.05  # of an error: how far apart both minima may be
STARTS = ("nominal", "opposite")


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Which corners, and how they are fitted."""
    p.add_argument(
        "--seed", type=int, metavar="N", help="of the design (default: 0); the noise of a corner is its number"
    )
    toys.add_arguments(p, "benchmarks/results/corners")


def run(arguments: argparse.Namespace) -> None:
    """Fit, print, write."""
    if arguments.report_only:
        toys.check_report_only(arguments, {"seed": None, **toys.DEFAULTS})
    else:
        plan = toys.plan_of(arguments, OWN)
        jobs = jobs_of(plan, arguments.seed or 0)
        toys.open_folder(arguments.out, toys.settings_of(plan, "corners") | {"design": arguments.seed or 0})
        print(header(names := tuple(plan.choices["params"])), flush=True)
        with stopped_by_sigterm(), closing(made(plan, jobs, arguments.out, arguments.processes)) as records:
            for record in records:
                print(line(record, names), flush=True)
    report(arguments)


def design(parameters: int, seed: int) -> np.ndarray:
    """-1 and +1. Axes: (corner, parameter). Up to seven columns are orthogonal; more come from another shuffle."""
    if seed < 0:
        raise ArgumentError("seed", "be 0 or more", f"it is {seed}")
    rng, bits = np.random.default_rng(seed), np.arange(CORNERS)
    both = np.array([[bin(a & b).count("1") for b in bits[1:]] for a in bits])
    levels = 1 - 2 * (both % 2)
    sets = [levels[:, rng.permutation(levels.shape[1])] for _ in range(-(-parameters // levels.shape[1]))]
    return np.concatenate(sets, axis=1)[:, :parameters] * rng.choice([-1, 1], parameters)


def jobs_of(plan: toys.Plan, seed: int) -> list[toys.Job]:
    """Two fits for each corner."""
    detector = larndsim.load_detector(plan.choices["detector"], layout=plan.choices.get("layout"))
    scaling = make_scaling(plan.choices["params"], detector)
    jobs = []
    for corner, signs in enumerate(design(len(scaling.names), seed), start=1):
        truth, opposite = (scaling.values(sign * (1 - 2 * WITHIN) * signs) for sign in (1, -1))
        for start, init in zip(STARTS, ({}, {"set_init": opposite}), strict=True):
            jobs.append(toys.Job(f"corner_{corner}_{start}", {"seed": corner, "set_target": truth, **init}))
    return jobs


def report(arguments: argparse.Namespace) -> None:
    """The table and the picture of all corners in the folder."""
    settings, fits = toys.read_settings(arguments.out), toys.read(arguments.out, "corner_*")
    rows = [compared(corner, fits, tuple(settings["params"])) for corner in range(1, CORNERS + 1)]
    markdown = f"Corners: {described(settings)}\n\n{table(rows, COLUMNS)}\n\n{verdict(rows)}"
    print(f"\n{markdown}\n")
    save(arguments.out, "corners", finite(rows), markdown, drawn(rows), settings=settings, fits=fits)


def compared(corner: int, fits: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Both fits of a corner. Distances are in units of the smaller of both errors; NaN where one is unknown."""
    by_name = {fit["name"]: fit for fit in fits}
    both = [by_name.get(f"corner_{corner}_{start}", {"status": "missing"}) for start in STARTS]
    found = toys_of(both, names)
    apart = np.abs(found.off[0] - found.off[1]) / found.errors.min(axis=0)
    losses = np.array([fit.get("loss") for fit in both], dtype=float)
    worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    row: dict[str, Any] = {"corner": corner, "converged": bool(found.converged.all()), "apart": float(apart[worst])}
    row |= {"parameter": names[worst], "off": float(np.abs(found.pulls).max()), "higher": float(losses[1] - losses[0])}
    row |= {"status": [fit["status"] for fit in both], "message": [fit.get("message", "") for fit in both]}
    return row | {"steps": found.steps.tolist(), "seconds": found.seconds.tolist()}


def both(name: str, style: str) -> Any:
    """A column for a number of each start."""
    return lambda row: " / ".join(format(value, style) for value in row[name])


COLUMNS: Columns = {
    "corner": number("corner", "d"),
    "status": both("status", ""),
    "apart, errors": number("apart", ".3g"),
    "of": text("parameter"),
    "loss higher by": number("higher", ".3g"),
    "largest pull": number("off", ".2f"),
    "steps": both("steps", ".0f"),
    "seconds": both("seconds", ".1f"),
}


def verdict(rows: list[dict[str, Any]]) -> str:
    """How many corners have one minimum, whatever the start."""
    good = sum(row["converged"] and row["apart"] <= TARGET for row in rows)
    done = sum(row["converged"] for row in rows)
    return f"both starts converged: {done} of {len(rows)}; and within {TARGET:g} of an error: {good} of {len(rows)}"


def drawn(rows: list[dict[str, Any]]) -> Any:
    """How far both minima are apart, corner by corner."""
    figure, (axis,) = new_figure(1)
    for row in rows:
        if np.isfinite(row["apart"]):
            axis.plot(row["corner"], max(row["apart"], 1e-6), "o", color="#1b6ca8" if row["converged"] else "#d95f02")
        else:
            axis.text(row["corner"], TARGET, "?", ha="center", va="bottom")
    axis.axhline(TARGET, color="black", lw=1, ls="--")
    axis.set(yscale="log", xlabel="corner", ylabel="distance of both minima, errors", xticks=range(1, CORNERS + 1))
    axis.set_xlim(0.5, CORNERS + 0.5)
    axis.set_title("orange: not both converged; ?: no error", fontsize=9)
    return figure
