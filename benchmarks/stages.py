"""`stages`: where the time of a forward pass goes, each stage compiled and timed by itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import larndsim
from benchmarks.measure import Budget, Timing, in_fresh_process, timed, unit
from benchmarks.report import Columns, ms, new_figure, number, save, table, text
from benchmarks.samples import PLANS, Setup, muons, parts, waiter
from larndsim.backend import DTYPES, installed
from larndsim.charge import segment_lines
from larndsim.engine.recording import blocks_of, recorded
from larndsim.engine.waveforms import signal

STAGES = ("plan", "lines", "clouds", "waveforms", "recorded", "charge", "hits")
COLUMNS: Columns = {
    "backend": text("backend"),
    "chunks": number("chunks", "d"),
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
    """ms of each stage, summed over batches and chunks. `charge` and `hits` are whole passes."""
    scale = unit()
    simulator = setup.simulator()
    wait = waiter(simulator)
    spent = dict.fromkeys(STAGES, 0.0)
    chunks = 0

    def clock(name: str, function: Any, *arguments: Any) -> Any:
        result = function(*arguments)
        wait(result)
        spent[name] += timed(lambda: function(*arguments), wait, budget).median
        return result

    functions = compiled_stages(simulator)
    for part in parts(muons(length)):
        batch = clock("plan", setup.prepare, simulator, part)
        chunks += sum(len(part.chunks) for part in batch.parts)
        clock("charge", lambda batch=batch: simulator.charge(batch).charge)
        clock("hits", lambda batch=batch: simulator.hits(batch).charge)
        one_by_one(simulator, batch, functions, clock)
    row = {"length": length, **setup._asdict(), "unit": scale, "chunks": chunks}
    return row | {name: Timing(total, 0.0, 1) for name, total in spent.items()}


def one_by_one(simulator: larndsim.Simulator, batch: Any, functions: dict[str, Any], clock: Any) -> None:
    """Run the stages of a batch, each on the results of those before it."""
    backend = simulator.backend
    p = backend.put(simulator.checked(None, batch.fixed.limits))
    for part in batch.parts:
        shifts = p.shift_x, p.shift_y, p.shift_z
        lines = clock("lines", lambda s=shifts: backend.lines(segment_lines, batch.deposits, batch.frame, s))
        for chunk, response, recorder in zip(part.chunks, part.responses, part.recorders, strict=True):
            clouds = clock("clouds", functions["clouds"], backend.gathered(lines, chunk.line), chunk, p)
            waveforms = clock("waveforms", functions["waveforms"], clouds, chunk, response)
            clock("recorded", functions["recorded"], waveforms, blocks_of(chunk), recorder, None, None)


def compiled_stages(simulator: larndsim.Simulator) -> dict[str, Any]:
    """The stages of a chunk as functions of native arrays."""
    physics, compiled = simulator.physics, simulator.backend.compile
    choices = {"settings": simulator.detector.electronics, "model": simulator.electronics, "columns": 0}
    return {
        "clouds": compiled(physics.clouds),
        "waveforms": compiled(signal, sampling=physics.sampling),
        "recorded": compiled(recorded, **choices),
    }


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
