"""`scaling`: time and memory against the number of segments, and the exponent that they grow with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import PeakMemory, Timing, exponent, in_fresh_process, once, summary, unit
from benchmarks.report import COLOURS, Columns, ms, new_figure, number, one_line, save, table, text
from benchmarks.samples import PLANS, Setup, muons_of, parts, waiter, work_on
from larndsim.backend import DTYPES, installed
from larndsim.errors import ArgumentError

STEPS = ("plan_time", "forward", "gradient")  # the first is always measured
FROM = 1e3  # segments from which the exponent is fitted
BATCH = 1000  # segments: in larger batches the windows, which hold the longest signal, are longer for all pixels
RUNS = 3  # of samples of few batches, each in a process of its own: in one, the second pass would be quicker
FEW = 1e4  # segments of such a sample, at most
COLUMNS: Columns = {
    "segments": number("segments", ".0f"),
    "backend": text("backend"),
    "plan": ms("plan_time"),
    "forward": ms("forward"),
    "gradient": ms("gradient"),
    "peak MB": number("memory", ".0f"),
    "plan, ms per 1000": lambda row: f"{1e3 * row['plan_time'][0] / row['segments']:.3g}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--most", type=float, default=1e6, help="segments of the largest sample")
    parser.add_argument("--backends", nargs="+", choices=installed(), default=["torch", "jax"])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--plan", choices=sorted(PLANS), default="six")
    parser.add_argument("--steps", nargs="*", choices=STEPS[1:], default=STEPS[1:], help="beside the plan")
    parser.add_argument("--batch", type=int, default=BATCH, help="segments that are simulated at once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure from 100 segments by factors of ten, print, write."""
    counts = [10**power for power in range(2, 10) if 10**power <= options.most]
    if not counts:
        raise ArgumentError("most", "be 100 segments or more", f"it is {options.most:g}")
    rows = []
    for name in options.backends:
        setup = Setup(name, options.device, options.dtype, options.plan)
        for count in counts:
            runs = range(RUNS if count <= FEW else 1)
            several = [in_fresh_process(measured, setup, count, options.batch, tuple(options.steps)) for _ in runs]
            rows.append(averaged(several))
            print(one_line(rows[-1], COLUMNS), flush=True)
    exponents = {name: exponents_of([row for row in rows if row["backend"] == name]) for name in options.backends}
    lines = [
        f"{name}, exponent: " + ", ".join(f"{step} {value:.3f}" for step, value in found.items())
        for name, found in exponents.items()
        if found
    ]
    print("\n".join(["", table(rows, COLUMNS), *lines]))
    save(options.out, "scaling", rows, "\n".join([table(rows, COLUMNS), "", *lines]), drawn(rows), exponents=exponents)


def measured(setup: Setup, count: int, batch: int, steps: tuple[str, ...]) -> dict[str, Any]:
    """One pass over all batches, each prepared, simulated and forgotten; the first of them once before."""
    segments = muons_of(count)
    scale = unit()
    simulator = setup.simulator()
    pieces = list(parts(segments, batch))
    memory = PeakMemory()
    one_pass(setup, simulator, pieces[:1], steps)
    memory.start()
    spent = one_pass(setup, simulator, pieces, steps)
    timings = {name: Timing(total, 0.0, 1) for name, total in spent.items()}
    row = {"segments": len(segments.dE), **setup._asdict(), "unit": scale, "batches": len(pieces)}
    return row | timings | {"memory": memory.peak()}


def averaged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The first row with mean times: a median leaves slow moments out, and a large sample has all in its one pass."""
    spent = {name: [row[name].median for row in rows] for name in STEPS if name in rows[0]}
    return rows[0] | {name: summary(runs)._replace(median=sum(runs) / len(runs)) for name, runs in spent.items()}


def one_pass(setup: Setup, simulator: Any, pieces: list[Any], steps: tuple[str, ...]) -> dict[str, float]:
    """ms of each step over all pieces."""
    wait = waiter(simulator)
    spent: dict[str, float] = {}
    for piece in pieces:
        batch, plan_time = once(lambda piece=piece: setup.prepare(simulator, piece), wait)
        work = work_on(simulator, [batch])
        if "gradient" in steps:
            work.targets()
        for name in steps:
            function = getattr(work, name)
            if function is not None:
                spent[name] = spent.get(name, 0.0) + once_compiled(simulator, function, wait)
        spent["plan_time"] = spent.get("plan_time", 0.0) + plan_time
    return spent


def once_compiled(simulator: Any, function: Callable[[], Any], wait: Callable[[Any], Any]) -> float:
    """ms of the first run that compiles nothing, and loads nothing that was compiled."""
    while True:
        before = simulator.backend.compilations()
        _, spent = once(function, wait)
        if simulator.backend.compilations() == before:
            return spent


def exponents_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The exponent of each step over the larger samples (all of them where there are too few)."""
    large = [row for row in rows if row["segments"] >= FROM]
    rows = large if len(large) > 1 else rows
    found = {
        step: exponent([row["segments"] for row in rows], [row[step][0] for row in rows])
        for step in STEPS
        if all(step in row for row in rows)
    }
    return {step: value for step, value in found.items() if value is not None}


def drawn(rows: list[dict[str, Any]]) -> Any:
    """Time and memory against the number of segments."""
    figure, (left, right) = new_figure(2)
    for name in sorted({row["backend"] for row in rows}):
        own = [row for row in rows if row["backend"] == name]
        sizes = [row["segments"] for row in own]
        for step, style in zip(STEPS, (":", "-", "--"), strict=True):
            if all(step in row for row in own):
                times = [row[step][0] / 1e3 for row in own]
                left.loglog(sizes, times, style, color=COLOURS[name], marker="o", label=f"{name} {step}")
        right.semilogx(sizes, [row["memory"] for row in own], color=COLOURS[name], marker="o", label=name)
    left.set(xlabel="segments", ylabel="s")
    right.set(xlabel="segments", ylabel="peak MB above the libraries", ylim=(0, None))
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return figure
