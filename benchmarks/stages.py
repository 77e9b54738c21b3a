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
from larndsim.backend import DTYPES, installed
from larndsim.backend.operations import batched_matmul, matmul
from larndsim.response import SPAN

STAGES = ("plan", "lines", "clouds", "shares", "density", "products", "window", "all", "hits")
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
    """ms of each stage, summed over batches and size classes. `all` is the whole pass, compiled as one."""
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
        classes += len(batch.classes)
        clock("all", lambda batch=batch: simulator.charge(batch).charge)
        clock("hits", lambda batch=batch: simulator.hits(batch).charge)
        one_by_one(simulator, batch, functions, clock)
    row = {"length": length, **setup._asdict(), "unit": scale, "classes": classes}
    return row | {name: Timing(total, 0.0, 1) for name, total in spent.items()}


def one_by_one(simulator: larndsim.Simulator, batch: Any, functions: dict[str, Any], clock: Any) -> None:
    """Run the stages of a batch, each on the results of those before it."""
    parameters = larndsim.Parameters(*map(simulator.backend.asarray, simulator.detector.parameters))
    rows = clock("lines", functions["lines"], batch.deposits, batch.frame, parameters)
    for size, response in zip(batch.classes, batch.responses, strict=True):
        cloud = clock("clouds", functions["clouds"], size, response, rows, batch.frame, parameters)
        share = clock("shares", functions["shares"], cloud, response)
        start, end, density = clock("density", functions["density"], cloud, size, response)
        charge = clock("products", functions["products"], share, density, response, size)
        clock("window", functions["window"], stage4.Signal(start, end, charge), size)


def compiled_stages(simulator: larndsim.Simulator) -> dict[str, Any]:
    """The stages of `larndsim.charge` as functions of native arrays."""
    model, linked = simulator.recombination, simulator.link_vdrift_eField
    stages = {
        "lines": stage4.lines_in_boxes,
        "clouds": partial(stage4.arriving_clouds, model=model, linked=linked),
        "shares": stage4.channel_shares,
        "density": stage4.arrival_density,
        "products": products,
        "window": stage4.on_window,
    }
    return {name: simulator.backend.compile(stage) for name, stage in stages.items()}


def products(share: Any, density: Any, response: Any, size: Any) -> Any:
    """The matrix products of `larndsim.charge.pixel_signals`."""
    pixels, channels, blocks, bins = share.shape[0], share.shape[2], size.blocks.shape[0], response.bins.shape[0]
    share = share / density.sum(axis=-1, keepdims=True)
    seen = batched_matmul(share.transpose((0, 2, 1)), density)
    seen = seen.reshape((pixels, channels, blocks, bins)).transpose((0, 2, 1, 3))
    shown = matmul(seen.reshape((pixels * blocks, channels * bins)), response.kernel)
    return stage4.overlapped(shown.reshape((pixels, blocks, SPAN)), size.blocks)


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
        axis.hlines(row["all"][0] / row["unit"][0], position - 0.45, position + 0.45, color="black", lw=1)
    axis.set(xticks=range(len(rows)), xticklabels=[row["backend"] for row in rows], ylabel="units")
    axis.set_title("line: the whole pass, compiled as one", fontsize=9)
    axis.legend(fontsize=8)
    return figure
