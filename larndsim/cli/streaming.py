"""A file of segments in, a file of hits out, of any size: some events at once, within a given memory.

The noise of an event is its own, and its charge does not know of other events: so its hits depend neither on the memory
nor on which other events are simulated, but for the last bits of the charge. While a batch is simulated, a thread looks
up what is behind the hits of the one before, and writes them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from .. import __version__
from ..data.batch import Batch
from ..data.segments import Segments, lengths
from ..detector import Parameters
from ..errors import ArgumentError, check_choice
from ..io import HitsWriter, PacketsWriter, event_counts, stream_segments
from ..io.hits import TRUTH_FIELDS
from ..simulation import Simulator
from ..truth import truth_fractions

FORMATS = ("hits", "packets")
BASE = 0.6e9  # bytes: Python and a framework
LEAST = 1e8  # bytes, beside that: for what is simulated at once
PER_SEGMENT = 3e5  # bytes: the plan and the waveforms, for long segments
AT_ONCE = 1000  # segments: enough for calls to cost little, few enough to be written while the next ones are simulated


class Run(NamedTuple):
    """What to simulate of a file, and how. Without a `seed` there is no noise; `memory` in bytes."""

    parameters: Parameters | None = None
    seed: int | None = None
    events: tuple[int, int] | None = None  # first event, and the one after the last
    format: str = "hits"
    truth: bool = True
    memory: float = 2e9


class Summary(NamedTuple):
    """What was simulated. `left_out`: hits that the format cannot hold, since no channel reads their pixel."""

    events: int
    segments: int
    length: float  # cm
    pixels: int
    hits: int
    left_out: int
    seconds: float


def simulate_file(
    simulator: Simulator, source: Any, target: Any, run: Run | None = None, notes: Mapping[str, Any] | None = None
) -> Summary:
    """Simulate the segments of the file `source` into the file `target`, which appears when all is done.

    `notes` are added to the attributes of the file. There is a progress bar on a terminal.
    """
    run = run or Run()
    check_choice("format", run.format, FORMATS)
    _check_format(simulator, run.format)
    _check_paths(source, target)
    chosen, counts = _chosen_events(source, run.events)
    largest = _segments_within(run.memory)
    _check_memory(chosen, counts, run.memory)
    attributes = {**describe_run(simulator, source, run), **(notes or {})}
    writer = _writer(simulator, target, run.format, attributes)
    started = time.perf_counter()
    total = Summary(0, 0, 0.0, 0, 0, 0, 0.0)
    with writer, ThreadPoolExecutor(1) as thread, tqdm(total=len(chosen), unit="event", disable=None) as bar:

        def add(written: Future[Summary]) -> None:
            nonlocal total
            batch = written.result()
            total = Summary._make(a + b for a, b in zip(total, batch, strict=True))
            bar.update(batch.events)

        before = None
        for segments in stream_segments(source, min(largest, AT_ONCE), events=chosen):
            batch = simulator.prepare(segments, run.parameters, vary=())
            hits = simulator.hits(batch, run.parameters, seed=run.seed).numpy()
            if before:
                add(before)
            before = thread.submit(_write, simulator, segments, batch, hits, run, writer)
        if before:
            add(before)
    return total._replace(left_out=writer.left_out, seconds=time.perf_counter() - started)


def _writer(simulator: Simulator, target: Any, format: str, attributes: dict[str, Any]) -> HitsWriter | PacketsWriter:
    """What writes hits in one of `FORMATS`."""
    if format == "packets":
        return PacketsWriter(target, simulator.detector, attributes)
    return HitsWriter(target, attributes, predicted=simulator.model.predicts)


def _write(
    simulator: Simulator,
    segments: Segments,
    batch: Batch,
    hits: np.ndarray,
    run: Run,
    writer: HitsWriter | PacketsWriter,
) -> Summary:
    """Write the hits of a batch, event by event, in the order in which the segments name them first."""
    truth = _truth(simulator, segments, batch, hits, run) if run.truth else None
    events, first = np.unique(segments.event, return_index=True)
    start = np.full(len(events), np.inf)
    np.minimum.at(start, np.searchsorted(events, segments.event), segments.t)
    for number in np.argsort(first):
        own = _rows(hits["event"], events[number])
        behind = None
        if truth is not None:
            behind = truth[slice(*np.searchsorted(truth["hit"], (own.start, own.stop)))].copy()
            behind["hit"] -= own.start
        writer.append(hits[own], behind, start=float(start[number]))
    pixels = len(batch.all_pixels().event)
    return Summary(len(events), len(segments.dE), float(lengths(segments).sum()), pixels, len(hits), 0, 0.0)


def _rows(event: np.ndarray, number: int) -> slice:
    """Where an event is among hits, which are sorted."""
    return slice(*np.searchsorted(event, (number, number + 1)).tolist())


def _truth(simulator: Simulator, segments: Segments, batch: Batch, hits: np.ndarray, run: Run) -> np.ndarray:
    """The segments behind each hit, by hit: TRUTH_FIELDS."""
    pairs = truth_fractions(simulator, batch, run.parameters, hits)
    truth = np.zeros(len(pairs.hit), dtype=TRUTH_FIELDS)
    truth["hit"], truth["fraction"] = pairs.hit, pairs.fraction
    truth["event"], truth["segment_id"] = (column[pairs.segment] for column in (segments.event, segments.segment))
    return truth


def describe_run(simulator: Simulator, source: Any, run: Run) -> dict[str, Any]:
    """All that is needed to repeat a run, as plain values."""
    description = simulator.detector.describe()
    chosen = simulator.detector.parameters if run.parameters is None else run.parameters
    parameters = chosen.completed(simulator.detector.electronics)
    return {
        "version": __version__,
        "input": str(Path(source).resolve()),
        "detector": description,
        "parameters": {name: np.asarray(value, dtype=float).tolist() for name, value in parameters._asdict().items()},
        "seed": run.seed,
        "events": None if run.events is None else list(run.events),
        "backend": simulator.backend.name,
        "device": simulator.backend.device,
        "dtype": simulator.backend.dtype,
        "electronics": simulator.electronics,
        "recombination": simulator.recombination,
        "link_vdrift_eField": simulator.link_vdrift_eField,
        "accuracy": simulator.accuracy,
        "truth": run.truth,
    }


def _chosen_events(source: Any, limits: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """The events of a file within the limits, and how many segments each has."""
    events, counts = event_counts(source)
    if limits is None:
        return events, counts
    inside = (events >= limits[0]) & (events < limits[1])
    if not inside.any():
        held = f"{len(events)} events from {events.min()} to {events.max()}" if len(events) else "no events"
        but = f"{limits[0]}:{limits[1]} names none"
        raise ArgumentError("events", "name events of the file", but, f"It holds {held}.")
    return events[inside], counts[inside]


def _segments_within(memory: float) -> int:
    """How many segments a given memory (bytes) suffices for."""
    if memory < BASE + PER_SEGMENT:
        but = f"it is {memory / 1e9:g} GB"
        raise ArgumentError("memory", f"be more than {BASE / 1e9:g} GB, which the program itself takes", but)
    return int((memory - BASE) / PER_SEGMENT)


def _check_memory(events: np.ndarray, counts: np.ndarray, memory: float) -> None:
    """Refuse a memory that does not hold the largest event, before anything is done."""
    if len(counts) and counts.max() > _segments_within(memory):
        need = (BASE + PER_SEGMENT * counts.max()) / 1e9
        but = f"event {events[counts.argmax()]} has {counts.max()} segments and needs {need:.1f} GB"
        raise ArgumentError("memory", "hold the largest event", but, f"Give --memory {np.ceil(need):g}GB.")


def _check_format(simulator: Simulator, format: str) -> None:
    """Refuse packets of hits that are only more or less likely."""
    if format == "packets" and simulator.model.predicts:
        but = f"it is {format}, which tell of hits that there are"
        must = f"be hits with electronics {simulator.electronics}"
        raise ArgumentError("format", must, but, "Use electronics clocked for packets.")


def _check_paths(source: Any, target: Any) -> None:
    """Refuse to write over the input."""
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise ArgumentError("target", "be another file than the input", f"both are {target}", "Choose another name.")
