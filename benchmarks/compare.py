"""`compare`: every installed backend, device and precision on the same samples; accuracy beside speed."""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import (
    Budget,
    PeakMemory,
    Timing,
    device_memory,
    in_fresh_process,
    once,
    repeated,
    summary,
    timed,
    unit,
)
from benchmarks.report import COLOURS, Columns, ms, new_figure, number, one_line, save, table, text
from benchmarks.samples import PLANS, SEGMENTS, Setup, error_against_float64, muons, parts, waiter, work_on
from larndsim.backend import DTYPES, get_backend, installed
from larndsim.errors import ArgumentError

TURNS = 5  # that the steps take, so that a slow minute of the machine does not meet one of them alone
STEPS = ("forward", "gradient", "jacobian", "hits")
COLUMNS: Columns = {
    "cm": number("length", ".0f"),
    "backend": lambda row: f"{row['backend']} {row['device']} {row['dtype']}",
    "plan for": text("plan"),
    "plan": ms("plan_time"),
    "first forward": ms("first_forward"),
    "first gradient": ms("first_gradient"),
    "cached": lambda row: ms("cached_forward")(row) + " + " + ms("cached_gradient")(row),
    **{name: ms(name) for name in STEPS},
    "padding": number("padding", ".0%"),
    "peak MB": number("memory", ".0f"),
    "cm/s": number("cm_per_s", ".0f"),
    "error": number("error", ".1e"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[80.0, 800.0, 8000.0], help="cm of track")
    parser.add_argument("--backends", nargs="+", choices=installed(), default=installed())
    parser.add_argument("--devices", nargs="+", default=["cpu"], help="cpu, cuda, cuda:N; left out where not there")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--plans", nargs="+", choices=sorted(PLANS), default=sorted(PLANS, reverse=True))
    parser.add_argument("--batch", type=int, default=SEGMENTS, help="segments that are simulated at once")
    parser.add_argument("--seconds", type=float, default=1.0, help="that each figure is measured for, at least")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure, print each row as it comes, and write the results."""
    rows = []
    for length, setup in itertools.product(options.lengths, setups(options)):
        rows.append(cold_and_warm(setup, length, options.batch, Budget(seconds=options.seconds)))
        print(one_line(rows[-1], COLUMNS), flush=True)
    if not rows:
        raise ArgumentError("devices", "name one that is there", f"none of {', '.join(options.devices)} is")
    print(f"\n{table(rows, COLUMNS)}")
    save(options.out, "compare", rows, table(rows, COLUMNS), drawn(rows))


def setups(options: argparse.Namespace) -> list[Setup]:
    """All combinations that this machine can run."""
    found = []
    for device, backend in itertools.product(options.devices, options.backends):
        if in_fresh_process(is_there, backend, device):
            found += [Setup(backend, device, *rest) for rest in itertools.product(options.dtypes, options.plans)]
        else:
            print(f"left out: {backend} finds no {device}")
    return found


def is_there(backend: str, device: str) -> bool:
    """Whether the backend finds the device."""
    try:
        get_backend(backend, device)
    except ArgumentError:
        return False
    return True


def cold_and_warm(setup: Setup, length: float, batch: int, budget: Budget) -> dict[str, Any]:
    """One row, and the first calls of a second process that finds what the first one compiled."""
    with empty_cache() as cache:
        row = in_fresh_process(measured, setup, length, batch, budget)
        again = in_fresh_process(first_calls, setup, length, batch) if any(cache.iterdir()) else {}
    return row | {f"cached_{name}": Timing(value, 0.0, 1) for name, value in again.items()}


@contextmanager
def empty_cache() -> Iterator[Path]:
    """A cache folder for the processes that are started within, so that a first call compiles everything."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def first_calls(setup: Setup, length: float, batch: int) -> dict[str, float]:
    """ms of the first forward and the first gradient of a process."""
    simulator = setup.simulator()
    wait = waiter(simulator)
    batches = [setup.prepare(simulator, part) for part in parts(muons(length), batch)]
    work = work_on(simulator, batches)
    spent = {"forward": once(work.forward, wait)[1]}
    work.targets()
    return spent if work.gradient is None else spent | {"gradient": once(work.gradient, wait)[1]}


def measured(setup: Setup, length: float, batch: int, budget: Budget) -> dict[str, Any]:
    """One row, in a process of its own. Memory is the peak over everything but the check of the accuracy."""
    segments = muons(length)
    batched = list(parts(segments, batch))
    simulator = setup.simulator()
    wait = waiter(simulator)
    memory = PeakMemory()
    memory.start()
    batches, _ = once(lambda: [setup.prepare(simulator, part) for part in batched], wait)
    few = Budget(3, budget.seconds)
    plan_time = timed(lambda: [setup.prepare(simulator, part) for part in batched], wait, few)
    work = work_on(simulator, batches)
    row: dict[str, Any] = {"length": length, "segments": len(segments.dE), **setup._asdict()}
    pixels = [len(batch.all_pixels().ix) for batch in batches]
    row |= {"plan_time": plan_time, "pixels": sum(pixels)}
    row["padding"] = float(np.average([batch.fixed.padding for batch in batches], weights=pixels))
    spent: dict[str, list[float]] = defaultdict(list)
    for _, name in itertools.product(range(TURNS), ("unit", "forward", "hits", "gradient", "jacobian")):
        function = getattr(work, name, None)
        if name == "unit":
            spent[name].append(unit(3).median)
        elif function is not None:
            if name == "gradient":
                work.targets()
            row.setdefault(f"first_{name}", Timing(once(function, wait)[1], 0.0, 1))
            spent[name] += repeated(function, wait, Budget(1, budget.seconds / TURNS))
    row |= {name: summary(runs) for name, runs in spent.items()}
    row |= {"memory": memory.peak(), "device_memory": device_memory()}
    row["cm_per_s"] = 1e3 * length / row["forward"].median
    row["error"] = error_against_float64(setup, simulator, batched[0])
    return row


def drawn(rows: list[dict[str, Any]]) -> Any:
    """Units per 80 cm of each step, one panel per precision and plan."""
    panels = sorted({(row["dtype"], row["plan"]) for row in rows})
    figure, axes = new_figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        chosen = [row for row in rows if (row["dtype"], row["plan"]) == panel]
        for row, step in itertools.product(chosen, STEPS):
            if row.get(step):
                x = STEPS.index(step) + 0.12 * ([*COLOURS].index(row["backend"]) - 1)
                y = row[step][0] / row["unit"][0] / row["length"] * 80
                size = 20 + 30 * sorted({r["length"] for r in rows}).index(row["length"])
                face = COLOURS[row["backend"]] if row["device"] == "cpu" else "none"
                axis.scatter(x, y, s=size, facecolor=face, edgecolor=COLOURS[row["backend"]])
        axis.set(yscale="log", title=f"{panel[0]}, plan for {panel[1]}", xticks=range(len(STEPS)), xticklabels=STEPS)
        axis.grid(axis="y", alpha=0.3)
    for name, colour in COLOURS.items():
        axes[0].scatter([], [], color=colour, label=name)
    axes[0].legend(title="larger: more cm; open: GPU", fontsize=8, title_fontsize=8)
    axes[0].set_ylabel("units per 80 cm")
    return figure
