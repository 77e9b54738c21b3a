"""`stages`: where the time of a forward pass goes, each stage compiled and timed by itself."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import larndsim
from benchmarks.measure import Budget, Timing, in_fresh_process, timed, unit
from benchmarks.report import Columns, ms, new_figure, number, save, table, text
from benchmarks.samples import PLANS, Setup, muons, parts, waiter
from larndsim import charge as stage4
from larndsim import induction
from larndsim.backend import DTYPES, installed
from larndsim.engine import recording

STAGES = ("plan", "lines", "points", "arrivals", "clouds", "seen", "shown", "merged", "recorded", "charge", "hits")
COLUMNS: Columns = {
    "backend": text("backend"),
    "classes": number("classes", "d"),
    **{name: ms(name) for name in STAGES},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--length", type=float, default=80.0, help="cm of track")
    parser.add_argument("--backends", nargs="+", choices=installed(), default=installed())
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--plan", choices=sorted(PLANS), default="six")
    parser.add_argument("--seconds", type=float, default=0.5, help="that each figure is measured for, after 5 runs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    setups = [Setup(name, options.device, options.dtype, options.plan) for name in options.backends]
    budget = Budget(seconds=options.seconds)
    rows = [in_fresh_process(measured, setup, options.length, budget) for setup in setups]
    text_table = table(rows, COLUMNS)
    print(text_table)
    save(options.out, "stages", rows, text_table, drawn(rows))


def measured(setup: Setup, length: float, budget: Budget) -> dict[str, Any]:
    """ms of each stage, summed over batches and size classes. `charge` and `hits` are whole passes."""
    scale = unit()
    simulator = setup.simulator()
    wait = waiter(simulator)
    spent = dict.fromkeys(STAGES, 0.0)
    classes = 0

    def clock(name: str, function: Any, *arguments: Any) -> Any:
        result = function(*arguments)
        wait(result)
        spent[name] += timed(lambda: function(*arguments), wait, budget).median
        return result

    functions = compiled_stages(simulator)
    for part in parts(muons(length)):
        batch = clock("plan", setup.prepare, simulator, part)
        classes += sum(len(part.classes) for part in batch.parts)
        clock("charge", lambda batch=batch: simulator.charge(batch).charge)
        clock("hits", lambda batch=batch: simulator.hits(batch).charge)
        one_by_one(simulator, batch, functions, clock)
    row = {"length": length, **setup._asdict(), "unit": scale, "classes": classes}
    return row | {name: Timing(total, 0.0, 1) for name, total in spent.items()}


def one_by_one(simulator: larndsim.Simulator, batch: Any, functions: dict[str, Any], clock: Any) -> None:
    """Run the stages of a batch, each on the results of those before it."""
    parameters = simulator.backend.put(simulator.checked(None, batch.fixed.limits))
    for members, part in zip(batch.fixed.members, batch.parts, strict=True):
        lines = clock("lines", functions["lines"], batch.deposits, batch.frame, stage4.shifts_of(parameters))
        bunches, signals = [], []
        for bunch in part.bunches:
            points = clock("points", functions["points"], bunch, lines, batch.frame.module)
            arrivals = clock("arrivals", functions["arrivals"], points, parameters)
            bunches.append(induction.Cloud(points.x, points.y, *arrivals))
        for size, response, place in zip(part.classes, part.responses, members.places, strict=True):
            cloud = clock("clouds", functions["clouds"], size, bunches[place.bunch], place.first)
            start, end = functions["ends"](cloud, size, response)
            tables = functions["tables"](start, size, response)
            seen = clock("seen", functions["seen"], cloud, tables)
            signals.append(stage4.Signal(start, end, clock("shown", functions["shown"], seen, tables)))
        for group, recorder in zip(members.groups, part.recorders, strict=True):
            own = tuple(signals[index] for index in group.classes)
            signal = clock("merged", functions["merged"], own, group.firsts, recorder.anode)
            clock("recorded", functions["recorded"], signal, recorder, None)


def compiled_stages(simulator: larndsim.Simulator) -> dict[str, Any]:
    """The stages of `larndsim.charge` and of the electronics as functions of native arrays."""
    model = simulator.recombination
    settings, electronics = simulator.detector.electronics, simulator.electronics
    stages = {
        "lines": stage4.lines_in_boxes,
        "points": stage4.points_of,
        "arrivals": partial(stage4.arrivals_of, model=model),
        "clouds": stage4.clouds_of,
        "ends": stage4.first_and_last,
        "tables": stage4.tables_of,
        "seen": lambda cloud, tables: induction.seen(cloud, tables)[0],
        "shown": induction.shown,
        "merged": recording.merged,
        "recorded": partial(recording.recorded, settings=settings, model=electronics),
    }
    return {name: simulator.backend.compile(stage) for name, stage in stages.items()}


def drawn(rows: list[dict[str, Any]]) -> Any:
    """Stacked times of the stages of each backend, in units."""
    figure, (axis,) = new_figure(1)
    names = STAGES[1:-2]
    for position, row in enumerate(rows):
        below = 0.0
        for number_, name in enumerate(names):
            height = row[name][0] / row["unit"][0]
            axis.bar(position, height, bottom=below, color=f"C{number_}", label=name if position == 0 else None)
            below += height
        axis.hlines(row["hits"][0] / row["unit"][0], position - 0.45, position + 0.45, color="black", lw=1)
    axis.set(xticks=range(len(rows)), xticklabels=[row["backend"] for row in rows], ylabel="units")
    axis.set_title("line: the whole pass to the hits", fontsize=9)
    axis.legend(fontsize=8)
    return figure
