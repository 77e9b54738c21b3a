"""Pulls of noisy fits: many toys with random targets and all noise, each fitted from the nominal start.

Toy k is a fit with `seed=k`: its target is random within the full ranges, its noise that of the clocked electronics.
Toys that are in the folder already are not made again; remove the file of a toy to make it again. The tables are of all
toys in the folder.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

import numpy as np

from benchmarks import toys
from benchmarks.closure import seeds_of
from benchmarks.pull_plots import drawn
from benchmarks.pull_statistics import Toys, by_parameter, objections, of_all, toys_of
from benchmarks.report import Columns, number, save, table, text
from benchmarks.workers import made
from larndsim.errors import ArgumentError
from optimize.fitting import stopped_by_sigterm
from optimize.records import finite

OWN = ("seed",)  # choices that each toy has for itself
FIRST = "toy_"
TOYS = "1-100"


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Which toys, and how they are fitted."""
    p.add_argument("--toys", metavar="A-B", help=f"their seeds (default: {TOYS})")
    toys.add_arguments(p, "benchmarks/results/pulls")


def run(arguments: argparse.Namespace) -> None:
    """Fit, print, write."""
    if arguments.report_only:
        toys.check_report_only(arguments, {"toys": None, **toys.DEFAULTS})
    else:
        seeds, plan = numbers_of(arguments.toys or TOYS), toys.plan_of(arguments, OWN)
        toys.open_folder(arguments.out, toys.settings_of(plan, "pulls"))
        jobs = [toys.Job(f"{FIRST}{seed:06d}", {"seed": seed}) for seed in seeds]
        print(header(names := tuple(plan.choices["params"])), flush=True)
        with stopped_by_sigterm(), closing(made(plan, jobs, arguments.out, arguments.processes)) as records:
            for record in records:
                print(line(record, names), flush=True)
    report(arguments)


def numbers_of(words: str) -> range:
    """1-100 -> 1, 2, ... 100"""
    try:
        numbers = seeds_of(words)
    except ValueError:
        numbers = range(0)
    if not numbers or numbers[0] < 0:
        raise ArgumentError("toys", "be two whole numbers such as 1-100, the smaller first", f"it is {words!r}")
    return numbers


def header(names: tuple[str, ...]) -> str:
    """The first line above the toys."""
    columns = "".join(f"{name:>11}" for name in names)
    return f"{'toy':>16}{columns}{'steps':>7}{'seconds':>9}{'loss':>12}{'p':>8}  status      (pulls)"


def line(record: dict[str, Any], names: tuple[str, ...]) -> str:
    """One fit."""
    toy = toys_of([record], names)
    columns = "".join(f"{pull:>11.3f}" for pull in toy.pulls[0])
    loss, p_value = (float("nan") if record.get(key) is None else record[key] for key in ("loss", "p_value"))
    status = f"error: {record['message']}" if record["status"] == "error" else record["status"]
    name = record["name"].removeprefix(FIRST).lstrip("0") or "0"
    return f"{name:>16}{columns}{toy.steps[0]:>7.0f}{toy.seconds[0]:>9.1f}{loss:>12.6g}{p_value:>8.3f}  {status}"


def report(arguments: argparse.Namespace) -> None:
    """Tables and pictures of all toys in the folder."""
    folder = arguments.out
    settings, rows = toys.read_settings(folder), toys.read(folder, f"{FIRST}*")
    if not rows:
        raise ArgumentError("out", "be a folder with toys", f"{folder} has none", "Run it without `report-only`.")
    found, seeds = toys_of(rows, tuple(settings["params"])), [row["choices"]["seed"] for row in rows]
    missing = sorted(set(range(seeds[0], seeds[-1] + 1)) - set(seeds))
    against = objections(found, missing)
    markdown = "\n\n".join([
        f"Toys {seeds[0]}-{seeds[-1]}: {described(settings)}",
        table(by_parameter(found), COLUMNS), lines_of_all(found), *listed(rows, found), verdict(against),
    ])  # fmt: skip
    print(f"\n{markdown}\n")
    more = {"settings": settings, "parameters": by_parameter(found), "all": of_all(found), "objections": against}
    save(folder, "pulls", finite(rows), markdown, drawn(found), **finite(more))


def described(settings: dict[str, Any]) -> str:
    """What was fitted, and how."""
    sample = settings["sample"]
    what = settings["input"][0] if sample is None else f"{sample[0]:g} cm of muons and {sample[1]:g} cm of protons"
    where = f"{settings['backend']}, {settings['device']}, {settings['dtype']}"
    if settings.get("other_data"):
        where += f"; the data simulated with {settings['other_data']}"
    return f"{what}, {settings['detector'][0]}; loss {settings['loss']}, method {settings['method']}; {where}."


def pair(name: str, style: str = ".2f") -> Any:
    """A column for a number with its error."""
    return lambda row: f"{row[name][0]:{style}} ± {row[name][1]:{style}}"


COLUMNS: Columns = {
    "parameter": text("parameter"),
    "bias, %": pair("bias", ".2g"),
    "spread, %": pair("spread", ".2g"),
    "mean error, %": number("error", ".2g"),
    "spread / bound": pair("ratio"),
    "mean pull": pair("mean"),
    "width of pulls": pair("width"),
    "toys": number("toys", "d"),
}


def lines_of_all(found: Toys) -> str:
    """What is said of all parameters together, as a list."""
    whole, parameters = of_all(found), len(found.names)
    lines = [f"converged: {whole['converged']} of {whole['toys']}"]
    (means, p), (plain, q) = whole["means"], whole["means_uncorrelated"]
    lines.append(f"chi2 of the mean pulls, with their correlation: {means:.1f} for {parameters} (p = {p:.2g})")
    lines.append(f"chi2 of the mean pulls, as if uncorrelated: {plain:.1f} for {parameters} (p = {q:.2g})")
    for name, title in (("squared_pulls", "squared pulls"), ("distances", "distances from the truth")):
        total, low, high = whole[name]
        lines.append(f"sum of all {title}: {total:.1f} (0.1 and 99.9 % points: {low:.1f}, {high:.1f})")
    many, p = whole["toys_with_distance"], whole["distances_uniform"]
    lines[-1] += f", of {many} toys; against chi2 with {parameters}, Kolmogorov-Smirnov: p = {p:.2g}"
    if whole["p_values"]:
        many, p = whole["p_values"], whole["p_values_uniform"]
        lines.append(f"p-values of {many} toys against uniform, Kolmogorov-Smirnov: p = {p:.2g}")
    (median, most), (steps, _) = whole["seconds"], whole["steps"]
    lines.append(f"seconds: median {median:.1f}, 90 % {most:.1f}; steps: median {steps:g}")
    return "\n".join(f"- {one}" for one in lines)


def listed(rows: list[dict[str, Any]], found: Toys) -> list[str]:
    """The toys that lack a pull or did not converge, if there are any."""
    lines = []
    for row, pulls in zip(rows, found.pulls, strict=True):
        lacking = [name for name, pull in zip(found.names, pulls, strict=True) if not np.isfinite(pull)]
        if lacking or row["status"] != "converged":
            without = f"no pull of {', '.join(lacking)}; " if lacking else ""
            lines.append(f"- toy {row['choices']['seed']}: {without}{row['status']}: {row['message']}")
    return ["\n".join(lines)] if lines else []


def verdict(against: list[str]) -> str:
    """Sound or not, and why not."""
    return f"sound pulls: {'no' if against else 'yes'}" + (f" ({'; '.join(against)})" if against else "")
