"""`likelihood`: what the likelihood of noisy hits costs, beside the `hits` loss on the same ones.

With derivatives: `gradient` and `jacobian` of the whole chain by six parameters, and `alone`, the gradient by waveforms
that are known already. Ratios are medians of those of single runs, one after the other in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import larndsim
from benchmarks.closure import sample
from benchmarks.measure import Budget, in_fresh_process, once, summary, unit
from benchmarks.report import Columns, ms, new_figure, number, one_line, save, table
from benchmarks.samples import SIX, Setup, waiter
from larndsim import Simulator
from larndsim.backend import DIFFERENTIABLE, DTYPES, installed
from larndsim.charge import segment_lines
from larndsim.engine.recorded import chips_of, recorded_of
from optimize.losses import Repeated, get_loss

SEED = 1  # of the noise
BACKENDS = [name for name in installed() if name in DIFFERENTIABLE]
KINDS = ("gradient", "jacobian", "alone")
COLUMNS: Columns = {
    "backend": lambda row: f"{row['backend']} {row['dtype']}",
    "pixels": number("pixels", "d"),
    "recorded": number("recorded", "d"),
}
for _kind in KINDS:
    COLUMNS |= {
        f"{_kind}: hits": ms(f"{_kind}_hits"),
        f"{_kind}: likelihood": ms(f"{_kind}_likelihood"),
        f"{_kind}: ratio": number(f"{_kind}_ratio", ".2f"),
    }

Function = Callable[[], Any]  # of nothing, to be timed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--muons", type=float, default=200.0, metavar="CM")
    parser.add_argument("--protons", type=float, default=50.0, metavar="CM")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each pair is measured for, after 5 runs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    rows = []
    for name in options.backends:
        setup = Setup(name, options.device, options.dtype)
        rows.append(in_fresh_process(measured, setup, options.muons, options.protons, Budget(seconds=options.seconds)))
        print(one_line(rows[-1], COLUMNS), flush=True)
    print(f"\n{table(rows, COLUMNS)}")
    save(options.out, "likelihood", rows, table(rows, COLUMNS), drawn(rows))


def measured(setup: Setup, muons: float, protons: float, budget: Budget) -> dict[str, Any]:
    """ms of each of the pairs, and how many times as long the likelihood takes."""
    simulator = setup.simulator()
    segments = sample(muons, protons, detector=simulator.detector)
    batch = setup.prepare(simulator, segments)
    noisy = Simulator("module0", *setup[:3], electronics="clocked", link_vdrift_eField=True)
    recorded = noisy.hits(setup.prepare(noisy, segments), seed=SEED).numpy()
    row = {"muons": muons, "protons": protons, **setup._asdict(), "unit": unit()}
    row |= {"pixels": len(batch.all_pixels().ix), "recorded": len(recorded)}
    pairs = {**of_the_chain(simulator, batch, recorded), "alone": alone(simulator, batch, recorded)}
    for kind, pair in pairs.items():
        hits, likelihood = in_turns(pair, waiter(simulator), budget)
        row |= {f"{kind}_hits": summary(hits), f"{kind}_likelihood": summary(likelihood)}
        row[f"{kind}_ratio"] = float(np.median(np.divide(likelihood, hits)))
    return row


def in_turns(pair: tuple[Function, Function], wait: Callable[[Any], None], budget: Budget) -> tuple[list[float], ...]:
    """ms of each run of two functions that take turns, after two runs of each."""
    spent: tuple[list[float], list[float]] = ([], [])
    while len(spent[0]) < budget.runs + 2 or (sum(map(sum, spent)) < 1e3 * budget.seconds and len(spent[0]) < 100):
        for own, function in zip(spent, pair, strict=True):
            own.append(once(function, wait)[1])
    return spent[0][2:], spent[1][2:]


def of_the_chain(simulator: Simulator, batch: Any, recorded: np.ndarray) -> dict[str, tuple[Function, Function]]:
    """Gradients of the `hits` loss and of the likelihood, and Jacobians of the hits and of each pixel's likelihood."""
    loss, target, backend = get_loss("hits", threshold=7000.0), Repeated(recorded), simulator.backend
    derive = (larndsim.value_and_grad, larndsim.jacobian)

    def compared(p: Any) -> Any:
        return loss.value(simulator.hits(batch, p), target, backend)

    def predicted(p: Any) -> Any:
        return simulator.hits(batch, p)[8:11]

    def probable(p: Any) -> Any:
        return simulator.log_likelihood(batch, recorded, p)

    functions = ((compared, lambda p: probable(p).sum()), (predicted, probable))
    return {
        kind: tuple(partial(one, each, simulator.detector.parameters, SIX, backend) for each in pair)
        for kind, one, pair in zip(KINDS, derive, functions, strict=False)
    }


def alone(simulator: Simulator, batch: Any, recorded: np.ndarray) -> tuple[Function, Function]:
    """The electronics and the likelihood of known waveforms, with their gradients by these."""
    backend, electronics, runner = simulator.backend, simulator.detector.electronics, simulator.runner
    parameters = backend.put(simulator.checked(None, batch.fixed.limits))
    behind = chips_of(batch.all_pixels(), simulator.channels, simulator.detector, electronics)
    seen = [recorded_of(recorded, batch.all_pixels(), *behind, electronics)]
    shifts = parameters.shift_x, parameters.shift_y, parameters.shift_z
    lines = backend.lines(segment_lines, batch.deposits, batch.frame, shifts)
    parts = [
        (members, part, runner.signals(part, lines, parameters))
        for members, part in zip(batch.fixed.members, batch.parts, strict=True)
    ]
    charges = [signal.charge for *_, signals in parts for signal in signals]

    def total(function: Callable[..., Any], values: dict[str, Any]) -> Any:
        charge, found = iter(values.values()), 0.0
        for members, part, signals in parts:
            known = [signal._replace(charge=next(charge)) for signal in signals]
            found = found + function(members, part, known)
        return found

    def hits(members: Any, part: Any, signals: Any) -> Any:
        return runner.hits_of_signals(None, members, part, signals, parameters)[2].sum()

    def likelihood(members: Any, part: Any, signals: Any) -> Any:
        return runner.likelihood_of_signals(seen, members, part, signals, parameters)[0].sum()

    named = {str(number): charge for number, charge in enumerate(charges)}
    return tuple(partial(backend.value_and_grad, partial(total, each), named) for each in (hits, likelihood))


def drawn(rows: list[dict[str, Any]]) -> Any:
    """Times of each pair, and their ratios."""
    figure, axes = new_figure(len(KINDS), width=3.4)
    for axis, kind in zip(axes, KINDS, strict=True):
        for place, name in ((-0.2, "hits"), (0.2, "likelihood")):
            axis.bar([x + place for x in range(len(rows))], [row[f"{kind}_{name}"][0] for row in rows], 0.4, label=name)
        for x, row in enumerate(rows):
            axis.text(x, 0.0, f"{row[f'{kind}_ratio']:.2f}x", ha="center", va="bottom")
        axis.set(xticks=range(len(rows)), xticklabels=[row["backend"] for row in rows], ylabel="ms", title=kind)
    axes[0].legend(fontsize=8)
    return figure
