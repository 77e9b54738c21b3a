"""`unlike`: generated events that have little in common, one after the other: what they take, and what JAX compiles."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np

import larndsim
from benchmarks.measure import Timing, in_fresh_process, once, unit
from benchmarks.report import COLOURS, Columns, ms, new_figure, number, one_line, save, table, text
from benchmarks.samples import PLANS, Setup, muons, waiter, work_on
from larndsim.backend import DTYPES, installed
from larndsim.data.segments import lengths

STEPS = ("plan", "charge", "hits", "gradient")
BEFORE = 80.0  # cm of muons that are simulated first
COLUMNS: Columns = {
    "backend": text("backend"),
    "events": number("events", "d"),
    "cm": number("length", ".0f"),
    **{step: ms(step) for step in STEPS},
    "all": ms("all"),
    "compiled": number("compiled", "d"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=200, help="cosmic ones of a track or so each (default: 200)")
    parser.add_argument("--backends", nargs="+", choices=installed(), default=["torch", "jax"])
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--plan", choices=sorted(PLANS), default="six")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    rows = []
    for name in options.backends:
        rows.append(in_fresh_process(measured, Setup(name, "cpu", options.dtype, options.plan), options.events))
        print(one_line(rows[-1], COLUMNS), flush=True)
    lines = [
        f"{other['backend']} beside {one['backend']}: {other['all'].median / one['all'].median:.2f}"
        for one, other in itertools.pairwise(rows)
    ]
    text_table = "\n".join([table(rows, COLUMNS), "", *lines])
    print(text_table)
    save(options.out, "unlike", rows, text_table, drawn(rows))


def measured(setup: Setup, count: int) -> dict[str, Any]:
    """ms of each step, of all events together, each of which is met for the first time."""
    scale, simulator = unit(), setup.simulator()
    wait = waiter(simulator)
    spent(setup, simulator, muons(BEFORE), wait)
    compiled = simulator.backend.compilations()
    events = larndsim.generate("cosmics", n=count, seed=2, tracks_per_event=1.0)
    found = [spent(setup, simulator, events.select(events.event == each), wait) for each in np.unique(events.event)]
    row = {"events": len(found), "length": float(lengths(events).sum()), **setup._asdict(), "unit": scale}
    row["compiled"] = simulator.backend.compilations() - compiled
    totals = {step: Timing(sum(each[step] for each in found), 0.0, 1) for step in STEPS if step in found[0]}
    whole = [sum(each.values()) for each in found]
    return row | totals | {"all": Timing(sum(whole), 0.0, 1), "each": whole}


def spent(setup: Setup, simulator: larndsim.Simulator, segments: Any, wait: Any) -> dict[str, float]:
    """ms of each step of an event."""
    batch, plan = once(lambda: setup.prepare(simulator, segments), lambda _: None)
    work = work_on(simulator, [batch])
    found = {"plan": plan, "charge": once(work.forward, wait)[1], "hits": once(work.hits, wait)[1]}
    if work.gradient is None:
        return found
    work.targets()
    return found | {"gradient": once(work.gradient, wait)[1]}


def drawn(rows: list[dict[str, Any]]) -> Any:
    """How long each event took."""
    figure, (axes,) = new_figure(1)
    for row in rows:
        axes.semilogy(row["each"], ".", color=COLOURS[row["backend"]], label=row["backend"])
    axes.set(xlabel="event", ylabel="ms")
    axes.legend(fontsize=8)
    return figure
