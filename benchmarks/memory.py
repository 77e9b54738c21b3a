"""`memory`: the peak memory of a batch beside the estimate that is made beforehand, within what `memory=` asks for."""

from __future__ import annotations

import argparse
import gc
import itertools
from pathlib import Path
from typing import Any

import numpy as np

import larndsim
from benchmarks.measure import MB, PeakMemory, in_fresh_process
from benchmarks.report import Columns, new_figure, number, one_line, save, table, text
from benchmarks.samples import PLANS, muons, waiter, work_on
from larndsim.backend import DTYPES, installed
from larndsim.backend.base import give_back

COLUMNS: Columns = {
    "cm": number("length", ".0f"),
    "backend": lambda row: f"{row['backend']} {row['dtype']}",
    "memory": text("memory"),
    "parts": number("parts", "d"),
    "plan MB": number("planning", ".0f"),
    "hits MB": number("hits", ".0f"),
    "estimate": number("hits_estimate", ".0f"),
    "gradient MB": number("gradient", ".0f"),
    "estimate ": number("gradient_estimate", ".0f"),
    "sum of all hits": text("sum"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[8000.0], help="cm of track")
    parser.add_argument("--backends", nargs="+", choices=installed(), default=["torch", "jax"])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--memory", nargs="+", default=["2GB", "300MB"], help="default: %(default)s")
    parser.add_argument("--plan", choices=sorted(PLANS), default="six")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    rows = []
    for choice in itertools.product(options.lengths, options.backends, options.dtypes, options.memory):
        rows.append(in_fresh_process(measured, *choice, options.plan))
        print(one_line(rows[-1], COLUMNS), flush=True)
    print(f"\n{table(rows, COLUMNS)}")
    save(options.out, "memory", rows, table(rows, COLUMNS), drawn(rows))


def measured(length: float, backend: str, dtype: str, memory: str, plan: str) -> dict[str, Any]:
    """MB beside the libraries and what is compiled: everything is done once before."""
    simulator = larndsim.Simulator("module0", backend, dtype=dtype, link_vdrift_eField=True, memory=memory)
    segments, row = muons(length), {"length": length, "backend": backend, "dtype": dtype, "memory": memory}
    steps = ("hits", "gradient") if backend in larndsim.backend.DIFFERENTIABLE else ("hits",)
    one_pass(simulator, segments, plan, steps, None)
    trim()
    return row | one_pass(simulator, segments, plan, steps, PeakMemory())


def one_pass(
    simulator: larndsim.Simulator, segments: Any, plan: str, steps: tuple[str, ...], memory: PeakMemory | None
) -> dict[str, Any]:
    """Prepare a batch and do each of the steps, with the peak of each above `memory`."""
    wait = waiter(simulator)
    batch, row = clocked("planning", lambda: simulator.prepare(segments, vary=PLANS[plan]), wait, memory)
    work, estimate = work_on(simulator, [batch]), simulator.footprint(batch)
    row |= {"parts": len(batch.parts), "sum": ""}
    for step in steps:
        if step == "gradient":
            work.targets()
        result, peak = clocked(step, getattr(work, step), wait, memory)
        row |= peak | {f"{step}_estimate": getattr(estimate, step) / MB}
        if step == "hits":
            charge, mask = (simulator.backend.numpy(column) for column in (result[0][0], result[0][3]))
            row["sum"] = repr(float(np.sort(charge[mask].astype(float)).sum()))
        del result
    return row


def clocked(name: str, function: Any, wait: Any, memory: PeakMemory | None) -> tuple[Any, dict[str, float]]:
    """What a function gives, and the peak of the memory meanwhile, MB."""
    trim()
    if memory is not None:
        memory.start()
    result = function()
    wait(result)
    return result, {} if memory is None else {name: memory.peak()}


def trim() -> None:
    """Give what is free back to the system, so that it is not counted."""
    gc.collect()
    give_back()


def drawn(rows: list[dict[str, Any]]) -> Any:
    """Estimates against peaks."""
    figure, (axis,) = new_figure(1)
    for step, marker in (("hits", "o"), ("gradient", "s")):
        known = [row for row in rows if step in row]
        axis.loglog([r[step] for r in known], [r[f"{step}_estimate"] for r in known], marker, label=step)
    low, high = axis.get_xlim()
    axis.plot([low, high], [low, high], color="black", lw=1)
    axis.fill_between([low, high], [0.7 * low, 0.7 * high], [1.3 * low, 1.3 * high], alpha=0.2, label="within 30 %")
    axis.set(xlabel="peak, MB", ylabel="estimate, MB")
    axis.legend(fontsize=8)
    return figure
