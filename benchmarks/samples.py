"""What is simulated: generated muons, in batches of whole events, and the functions that are timed on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import larndsim
from larndsim.backend import leaves
from larndsim.data.segments import Segments
from larndsim.errors import ArgumentError
from optimize.losses import Repeated, get_loss

SIX = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")  # the drift velocity is linked to the field
PLANS = {"six": SIX, "all": None}  # what the plan lets vary; None: every parameter but the shifts
SEGMENTS = 4000  # per batch, some 8,000 cm
ACCURATE = 500.0  # electrons: pixels above it count for the accuracy


class Setup(NamedTuple):
    """Where and how to simulate."""

    backend: str
    device: str = "cpu"
    dtype: str = "float32"
    plan: str = "six"

    def simulator(self) -> larndsim.Simulator:
        return larndsim.Simulator("module0", self.backend, self.device, self.dtype, link_vdrift_eField=True)

    def prepare(self, simulator: larndsim.Simulator, segments: Segments) -> Any:
        return simulator.prepare(segments, vary=PLANS[self.plan])


class Work(NamedTuple):
    """Functions of nothing, to be timed, over all batches."""

    forward: Callable[[], Any]
    hits: Callable[[], Any]
    gradient: Callable[[], Any] | None
    jacobian: Callable[[], Any] | None
    targets: Callable[[], Any]  # of the gradient: to be called before the clock starts


def muons(length: float) -> Segments:
    """So many cm of muons."""
    return larndsim.generate("muons", length=length, seed=1)


def muons_of(count: int) -> Segments:
    """So many segments of muons."""
    length = 3.0 * count
    while True:
        segments = muons(length)
        if len(segments.dE) >= count:
            return segments.select(slice(count))
        length *= 1.2 * count / len(segments.dE)


def parts(segments: Segments, most: int = SEGMENTS) -> Iterator[Segments]:
    """Whole events, up to `most` segments at once (or one larger event)."""
    if most < 1:
        raise ArgumentError("batch", "be a whole number greater than 0", f"it is {most}")
    edges = np.append(np.flatnonzero(np.diff(segments.event, prepend=segments.event[:1] - 1)), len(segments.event))
    start = 0
    for edge, after in zip(edges[1:], [*edges[2:], None], strict=False):
        if after is None or after - start > most:
            yield segments.select(slice(start, edge))
            start = edge


def work_on(simulator: larndsim.Simulator, batches: list[Any]) -> Work:
    """What the benchmarks time. The loss is on hits; its target are the hits at other values of the parameters."""
    parameters, backend = simulator.detector.parameters, simulator.backend
    names = SIX

    def each(function: Callable[[Any], Any]) -> Callable[[], list[Any]]:
        return lambda: [function(batch) for batch in batches]

    forward = each(lambda batch: simulator.charge(batch, parameters).charge)
    hits = each(lambda batch: _native(simulator.hits(batch, parameters)))
    if backend.name not in larndsim.backend.DIFFERENTIABLE:
        return Work(forward, hits, None, None, list)
    other = parameters._replace(Ab=0.81, lifetime=1900.0)
    loss = get_loss("hits", threshold=7000.0)

    @cache
    def targets() -> list[Repeated]:
        return [Repeated(simulator.hits(batch, other).numpy()) for batch in batches]

    def gradient() -> list[Any]:
        return [
            larndsim.value_and_grad(
                lambda p, b=b, t=t: loss.value(simulator.hits(b, p), t, backend), parameters, names, backend
            )
            for b, t in zip(batches, targets(), strict=True)
        ]

    jacobian = each(
        lambda batch: larndsim.jacobian(lambda p: _native(simulator.hits(batch, p))[:2], parameters, names, backend)
    )
    return Work(forward, hits, gradient, jacobian, targets)


def _native(hits: Any) -> tuple[Any, ...]:
    """What of the hits is on the device."""
    return hits.charge, hits.tick, hits.z, hits.mask


def waiter(simulator: larndsim.Simulator) -> Callable[[Any], None]:
    """A function that returns when a result (nested lists, tuples and dicts of arrays) is there."""

    def wait(result: Any) -> None:
        for leaf in leaves(_as_tuples(result)):
            block = getattr(leaf, "block_until_ready", None)
            if block is not None:
                block()
        simulator.backend.synchronize()

    return wait


def _as_tuples(tree: Any) -> Any:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    return tuple(map(_as_tuples, tree)) if isinstance(tree, list | tuple) else tree


def error_against_float64(setup: Setup, simulator: larndsim.Simulator, segments: Segments) -> float:
    """Largest difference at any tick from NumPy in double precision, over the pixel's charge; the worst pixel."""
    exact = setup._replace(backend="numpy", device="cpu", dtype="float64")
    reference = exact.simulator()
    known = _by_pixel(reference, exact.prepare(reference, segments))
    found = _by_pixel(simulator, setup.prepare(simulator, segments))
    bright = known[:, -1] > ACCURATE
    return float((np.abs(found - known)[bright].max(axis=1) / known[bright, -1]).max(initial=0.0))


def _by_pixel(simulator: larndsim.Simulator, batch: larndsim.Batch) -> np.ndarray:
    """Charge (pixel, tick), sorted by pixel and window: a GPU has other size classes, and so another order."""
    found = simulator.charge(batch)
    order = np.lexsort([found.start, found.iy, found.ix, found.plane, found.event])
    return np.asarray(simulator.backend.numpy(found.charge))[order]
