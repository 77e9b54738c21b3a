"""`scores`: whether the likelihood is that of the data. At the truth its slope is zero on average, whatever the sample.

Toy k has the truth and the data of toy k of `pulls`. Instead of a fit it takes one step from the truth, which is as
long as a fit would go, but for what is not linear: a hundred toys in the time of ten fits.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import larndsim
from benchmarks.closure import PARAMETERS, sample
from benchmarks.pull_statistics import of_means
from benchmarks.pulls import numbers_of
from benchmarks.report import Columns, new_figure, save, table, text
from benchmarks.toys import MUONS, PROTONS
from larndsim.errors import ArgumentError
from optimize.problem import Problem, make_problem
from optimize.settings import make_settings

COLUMNS: Columns = {
    "parameter": text("parameter"),
    "mean pull": lambda row: f"{row['mean']:.2f} ± {row['error']:.2f}",
    "width of pulls": lambda row: f"{row['width']:.2f}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--toys", default="1-200", metavar="A-B", help="their seeds (default: %(default)s)")
    parser.add_argument("--input", metavar="H5", help="file of segments, instead of a generated sample")
    parser.add_argument("--muons", type=float, default=MUONS, metavar="CM", help="default: %(default)s")
    parser.add_argument("--protons", type=float, default=PROTONS, metavar="CM", help="default: %(default)s")
    parser.add_argument("--detector", default="module0", help="name or YAML file (default: %(default)s)")
    parser.add_argument("--backend", choices=("torch", "jax"), default="torch", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Simulate, print, write."""
    seeds = numbers_of(options.toys)
    if len(seeds) <= len(PARAMETERS):
        raise ArgumentError("toys", f"be more than {len(PARAMETERS)}", f"they are {len(seeds)}")
    choices: dict[str, Any] = {"params": PARAMETERS, "cuts": "none", "link_vdrift_eField": True, "noise": True}
    choices |= {"backend": options.backend, "detector": options.detector}
    detector = larndsim.load_detector(options.detector)
    choices["input"] = options.input or sample(options.muons, options.protons, detector=detector)
    pulls = np.array([step(make_problem(make_settings({**choices, "seed": seed}))) for seed in seeds])
    mean, width, count = pulls.mean(axis=0), pulls.std(axis=0, ddof=1), len(pulls)
    rows = [
        {"parameter": name, "mean": one, "error": other / count**0.5, "width": other}
        for name, one, other in zip(PARAMETERS, mean, width, strict=True)
    ]
    whole, p_value = of_means(pulls)
    by_chance = f"{whole:.1f} for {len(PARAMETERS)} (p = {p_value:.2g})"
    found = f"{count} toys; chi2 of the means, with their correlation: {by_chance}"
    markdown = f"{table(rows, COLUMNS)}\n\n{found}"
    print(markdown)
    save(options.out, "scores", rows, markdown, drawn(pulls), chi2=whole, p_value=p_value)


def step(problem: Problem) -> np.ndarray:
    """How far, in errors, one step of scoring goes from the truth; the information is that of the pixels' scores."""
    objective, truth = problem.objective, problem.target
    assert truth is not None
    simulator, names, scores = objective.simulator, tuple(truth), []
    parameters = simulator.detector.nominal._replace(**truth)
    for batch, target in zip(objective.batches, objective.targets, strict=True):
        _, slopes = larndsim.jacobian(
            lambda p, batch=batch, target=target: simulator.log_likelihood(batch, target, p),
            parameters, names, simulator.backend,
        )  # fmt: skip
        columns = [truth[name] * simulator.backend.numpy(slopes[name]).astype(np.float64) for name in names]
        scores.append(np.stack(columns, axis=1))
    score = np.concatenate(scores)
    covariance = np.linalg.inv(score.T @ score)
    return covariance @ score.sum(axis=0) / np.sqrt(np.diag(covariance))


def drawn(pulls: np.ndarray) -> Any:
    """The pulls of each parameter, and their means."""
    figure, (axes,) = new_figure(1, width=6.5)
    for row, column in enumerate(pulls.T):
        axes.plot(column, np.full(len(column), row), "|", color="#8c8c8c")
        axes.errorbar(column.mean(), row, xerr=column.std(ddof=1) / len(column) ** 0.5, fmt="o", color="#1b6ca8")
    axes.axvline(0.0, color="black", lw=1)
    axes.set(xlabel="pull of one step from the truth", yticks=range(len(PARAMETERS)), yticklabels=PARAMETERS)
    return figure
