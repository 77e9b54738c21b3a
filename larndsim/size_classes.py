"""The plan's pixels, padded into a few size classes of fixed shape.

Shapes come from a coarse ladder, so that batches share them (and what is compiled for them). Neighbouring classes are
merged while the work that the padding adds costs less than one more class.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from .data.batch import SizeClass
from .memory import Numbers, numbers
from .pixelization import Plan, Ranges
from .response import BEFORE, BLOCK, SPAN, TICK, Resolution, resolutions

LADDER = np.unique([int(step * 2**power) for power in range(24) for step in (1, 1.25, 1.5, 1.75)])
FINE_LADDER = np.unique([*range(1, 8), *(step * 2**power for power in range(22) for step in range(8, 16))])
OVERHEAD = 2e6  # ns that one more class is worth: its calls and, above all, its compilation
SHARE = 0.02  # of all the work: what more padding is worth one class less
LARGEST = 2e6  # numbers in the largest array of one class: larger ones are cut, to stay in the processor's caches
MODES = 100  # of a kernel


class Shape(NamedTuple):
    """What pixels of one class share."""

    resolution: Resolution
    pitch: float
    nodes: int
    blocks: int

    def work(self, nodes: Any, blocks: Any) -> Any:
        """Time per pixel with so many nodes and blocks, ns, roughly: exponentials, passes over arrays, products."""
        r, channels = self.resolution, 24
        face = 3.0 * r.points + r.basis**2 * (0.35 + 0.015 * channels)
        block = r.bins * channels * MODES * 0.02 + SPAN * (MODES * 0.02 + 1.0)
        return nodes * (face + blocks * r.bins * (0.9 + 0.03 * channels)) + blocks * block

    def largest(self) -> float:
        """Numbers per pixel in the largest array."""
        return self.nodes * max(self.resolution.basis**2, self.blocks * self.resolution.bins)

    def numbers(self, rows: int, channels: int) -> Numbers:
        """Numbers in the arrays of so many pixels."""
        bins, ticks = self.blocks * self.resolution.bins, (self.blocks - 1) * BLOCK + SPAN
        return numbers(rows, self.nodes, bins, ticks, self.resolution.basis, channels)


def on_ladder(values: np.ndarray, ladder: np.ndarray = LADDER) -> np.ndarray:
    """The smallest step of the ladder that is no less than each value."""
    return ladder[np.searchsorted(ladder, values)]


def resolution_of(nearest: np.ndarray, ranges: Ranges) -> np.ndarray:
    """Index of the coarsest of the `resolutions` that resolves the narrowest cloud at this distance."""
    v = ranges.velocity[1]
    sigma_T = np.sqrt(2 * ranges.tran_diff[0] * nearest / v)
    sigma_t = np.sqrt(2 * ranges.long_diff[0] * nearest / v**3)
    known = resolutions(ranges.accuracy)
    level = np.full(len(nearest), len(known) - 1)
    for index, r in reversed(list(enumerate(known[:-1]))):
        level[(sigma_T >= r.sigma_T) & (sigma_t >= r.sigma_t)] = index
    return level


def sort_into_classes(plan: Plan, pitch: np.ndarray, ranges: Ranges) -> list[tuple[Shape, np.ndarray]]:
    """Shapes, and the indices of the pixels that take each; `pitch` (pixel,) in cm."""
    nodes = on_ladder(np.maximum(np.diff(plan.first), 4))
    blocks = on_ladder(np.maximum(np.ceil((plan.span / TICK + 2) / BLOCK), 1))
    level = resolution_of(plan.nearest, ranges)
    cells = defaultdict(list)
    rows = np.stack([level, nodes, blocks, np.unique(pitch, return_inverse=True)[1]], axis=1)
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    for number, (lev, n, b, _) in enumerate(kinds):
        members = np.flatnonzero(kind.ravel() == number)
        shape = Shape(resolutions(ranges.accuracy)[lev], float(pitch[members[0]]), int(n), int(b))
        cells[shape[:2]].append((shape, members))
    work = sum(shape.work(*shape[2:]) * len(members) for group in cells.values() for shape, members in group)
    merged = [entry for group in cells.values() for entry in _merge(group, max(OVERHEAD, SHARE * work))]
    return [piece for shape, members in merged for piece in _cut(shape, members)]


def _merge(group: list[tuple[Shape, np.ndarray]], overhead: float) -> list[tuple[Shape, np.ndarray]]:
    """Merge the cheapest pair of classes again and again, while that pads with less work than `overhead`."""
    kind = group[0][0]
    nodes, blocks = np.array([shape[2:] for shape, _ in group], dtype=float).T
    count = np.array([len(members) for _, members in group])
    parts = [[members] for _, members in group]
    while len(parts) > 1:
        own = kind.work(nodes, blocks) * count
        joint = kind.work(np.maximum.outer(nodes, nodes), np.maximum.outer(blocks, blocks))
        cost = joint * np.add.outer(count, count) - np.add.outer(own, own)
        np.fill_diagonal(cost, np.inf)
        i, j = sorted(np.unravel_index(np.argmin(cost), cost.shape))
        if cost[i, j] > overhead:
            break
        nodes[i], blocks[i], count[i] = max(nodes[i], nodes[j]), max(blocks[i], blocks[j]), count[i] + count[j]
        nodes, blocks, count = (np.delete(column, j) for column in (nodes, blocks, count))
        parts[i] += parts.pop(j)
    shapes = [kind._replace(nodes=int(n), blocks=int(b)) for n, b in zip(nodes, blocks, strict=True)]
    return [(shape, np.sort(np.concatenate(part))) for shape, part in zip(shapes, parts, strict=True)]


def _cut(shape: Shape, members: np.ndarray) -> list[tuple[Shape, np.ndarray]]:
    """Pieces of a class whose arrays stay small enough."""
    pieces = math.ceil(len(members) * shape.largest() / LARGEST)
    return [(shape, piece) for piece in np.array_split(members, min(max(pieces, 1), len(members)))]


def window_length(plan: Plan) -> int:
    """Ticks of the windows that hold every signal for all parameters within bounds."""
    longest = (plan.window[1] - plan.window[0]).max(initial=0.0) / TICK + 2
    return BLOCK * int(on_ladder(np.array([np.ceil(longest / BLOCK)]))[0]) + SPAN


def fill(plan: Plan, shape: Shape, members: np.ndarray, length: int) -> tuple[SizeClass, np.ndarray, np.ndarray]:
    """The arrays of one class, padded; the node of each of its places (pixel, node), the plan's pixel of each row.

    Rows beyond `members` repeat the first pixel without charge.
    """
    count = int(on_ladder(np.array([len(members)]), FINE_LADDER)[0])
    rows = np.concatenate([members, np.full(count - len(members), members[0])])
    offset = np.arange(shape.nodes)[None, :]
    size = np.diff(plan.first)[rows][:, None]
    node = plan.node[plan.first[rows][:, None] + np.minimum(offset, size - 1)]
    real = (offset < size) & (np.arange(count) < len(members))[:, None]
    bins = shape.resolution.bins
    filled = SizeClass(
        first_slot=np.int32(0),
        weight=np.where(real, plan.nodes.weight[node], 0.0),
        first_tick=np.floor(plan.window[0, rows] / TICK).astype(np.int32) - BEFORE,
        ticks=np.arange(length, dtype=np.int32),
        times=BLOCK * TICK / bins * np.arange(shape.blocks * bins),
    )
    return filled, node, rows
