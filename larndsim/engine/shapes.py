"""The plan's pixels, padded into a few size classes of fixed shape.

Shapes come from a ladder, so that batches share them (and what is compiled for them): of a large batch from a coarser
one, and on a processor its classes are cut into pieces of two sizes, so that no later batch brings many new shapes. A
GPU has fewer and larger pieces. Classes are merged while the work that the padding adds costs less than one more class;
a pixel may always be resolved more finely than it asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..backend import CACHES, Room
from ..data.batch import Bunch, Frame, Place, SizeClass
from ..pixelization import Plan, Ranges
from ..response import BLOCK, SPAN, TICK, Resolution, resolutions
from .footprint import Numbers, numbers

POWERS = 2 ** np.arange(24)
COARSE_LADDER = np.unique([int(step * 2**power) for power in range(24) for step in (1, 1.5)])
LADDER = np.unique([int(step * 2**power) for power in range(24) for step in (1, 1.25, 1.5, 1.75)])
FINE_LADDER = np.unique([*range(1, 8), *(step * 2**power for power in range(22) for step in range(8, 16))])
SHARE = 0.005  # of all the work: what more padding is worth one class less
LARGE = 1e8  # ns of work that make a batch a large one
SMALLER = 4  # times smaller are the pieces of the second size, to which the rest of a class goes
MODES = 60  # of a kernel


class Shape(NamedTuple):
    """What pixels of one class share."""

    resolution: Resolution
    pitch: float
    nodes: int
    blocks: int

    def largest(self) -> float:
        """Numbers per pixel in the largest array."""
        return self.nodes * max(self.resolution.basis**2, self.blocks * self.resolution.bins)

    def numbers(self, rows: int, channels: int) -> Numbers:
        """Numbers in the arrays of so many pixels."""
        return numbers(rows, self.nodes, self.blocks * self.resolution.bins, self.resolution.basis, channels)


class Piece(NamedTuple):
    """What is simulated at once: a size class, or a part of it."""

    shape: Shape
    rows: int  # pixels, with padding
    members: np.ndarray  # indices of its pixels


def on_ladder(values: Any, ladder: np.ndarray = LADDER) -> Any:
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


def sort_into_classes(plan: Plan, pitch: np.ndarray, ranges: Ranges, room: Room) -> list[Piece]:
    """All pixels in pieces of like shape, for which there is `room`; `pitch` (pixel,) in cm."""
    known = resolutions(ranges.accuracy)
    level, nodes, blocks = asked = _asked(plan, ranges)
    total = float(work(known, *asked).sum())
    ladder, cut = _ladder_and_cut(total > LARGE, room)
    rows = np.stack([level, on_ladder(np.maximum(nodes, 4), ladder), on_ladder(blocks, ladder)], axis=1)
    found = []
    for width in np.unique(pitch):
        own = np.flatnonzero(pitch == width)
        kinds, kind, count = np.unique(rows[own], axis=0, return_inverse=True, return_counts=True)
        merged, into = _merge(known, kinds, count, max(room.overhead, SHARE * total))
        for number, (level, n, b) in enumerate(merged):
            shape = Shape(known[level], float(width), int(n), int(b))
            found += cut(shape, own[into[kind.ravel()] == number])
    return found


def padding(plan: Plan, pieces: list[Piece], ranges: Ranges) -> float:
    """Share of the work on some pieces that is done on padding, and on pixels resolved more finely than they ask."""
    if not pieces:
        return 0.0
    known = resolutions(ranges.accuracy)
    shapes = np.array([(known.index(shape.resolution), shape.nodes, shape.blocks) for shape, _, _ in pieces])
    done = (np.array([piece.rows for piece in pieces]) * work(known, *shapes.T)).sum()
    return 1.0 - float(work(known, *_asked(plan, ranges)).sum() / done)


def _asked(plan: Plan, ranges: Ranges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resolution, nodes and blocks of arrival time that each pixel asks for."""
    blocks = np.maximum(np.ceil((plan.span / TICK + 2) / BLOCK), 1)
    return resolution_of(plan.nearest, ranges), np.diff(plan.first), blocks


def work(known: tuple[Resolution, ...], level: np.ndarray, nodes: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Time for a pixel of some shape, ns, roughly: exponentials, passes over arrays, products."""
    points, basis, bins = np.array([(r.points, r.basis, r.bins) for r in known]).T[:, level]
    channels = 24
    face = 3.0 * points + basis**2 * (0.35 + 0.015 * channels)
    block = bins * channels * MODES * 0.02 + SPAN * (MODES * 0.02 + 1.0)
    return nodes * (face + blocks * bins * (0.9 + 0.03 * channels)) + blocks * block


def _merge(
    known: tuple[Resolution, ...], kinds: np.ndarray, count: np.ndarray, overhead: float
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the cheapest pair of kinds again and again, while that pads with less work than `overhead`.

    `kinds` are level, nodes and blocks (kind, 3), with `count` pixels each. The merged ones, and which each went into.
    """
    merged, into = kinds.copy(), np.arange(len(kinds))
    while len(merged) > 1:
        own = work(known, *merged.T) * count
        joint = work(known, *(np.maximum.outer(column, column) for column in merged.T))
        cost = joint * np.add.outer(count, count) - np.add.outer(own, own)
        np.fill_diagonal(cost, np.inf)
        i, j = sorted(np.unravel_index(np.argmin(cost), cost.shape))
        if cost[i, j] > overhead:
            break
        merged[i], count[i] = np.maximum(merged[i], merged[j]), count[i] + count[j]
        merged, count = np.delete(merged, j, axis=0), np.delete(count, j)
        into[into == j] = i
        into[into > j] -= 1
    return merged, into


def _ladder_and_cut(large: bool, room: Room) -> tuple[np.ndarray, Callable[[Shape, np.ndarray], list[Piece]]]:
    """Steps of nodes and blocks of a batch, and how its classes are cut."""
    if not large:
        return LADDER, partial(_cut, room=room, ladder=FINE_LADDER)
    return COARSE_LADDER, partial(_cut_alike, room=room) if room.alike else partial(_cut, room=room, ladder=LADDER)


def _most(shape: Shape, room: Room, ladder: np.ndarray) -> int:
    """Rows of a piece whose arrays stay small enough, and whose nodes fit into a bunch."""
    most = max(min(room.numbers / shape.largest(), room.nodes / shape.nodes, room.rows), 1)
    return int(ladder[np.searchsorted(ladder, most, side="right") - 1])


def _cut(shape: Shape, members: np.ndarray, room: Room, ladder: np.ndarray) -> list[Piece]:
    """A class in as few pieces as can be, about alike."""
    pieces = np.array_split(members, math.ceil(len(members) / _most(shape, room, ladder)))
    return [Piece(shape, int(on_ladder(len(piece), ladder)), piece) for piece in pieces]


def _cut_alike(shape: Shape, members: np.ndarray, room: Room) -> list[Piece]:
    """A class in pieces of two sizes, whatever its own is: the largest there may be, and smaller ones for the rest."""
    most = _most(shape, room, COARSE_LADDER)
    small = math.ceil(most / SMALLER)
    rest = len(members) % most
    whole = len(members) - rest + (rest if rest > most - small else 0)
    sizes = [most] * math.ceil(whole / most) + [small] * math.ceil((len(members) - whole) / small)
    pieces = np.split(members, np.cumsum(sizes)[:-1])
    return [Piece(shape, rows, piece) for rows, piece in zip(sizes, pieces, strict=True)]


def window_length(plan: Plan) -> int:
    """Ticks of the windows that hold every signal for all parameters within bounds."""
    longest = (plan.window[1] - plan.window[0]).max(initial=0.0) / TICK + 2
    return BLOCK * int(on_ladder(np.ceil(longest / BLOCK))) + SPAN


def fill(plan: Plan, frame: Frame, piece: Piece) -> tuple[Bunch, SizeClass]:
    """The nodes and the arrays of a piece, padded. Rows beyond its members repeat the first pixel without charge."""
    shape, count, members = piece
    rows = np.concatenate([members, np.full(count - len(members), members[0])])
    offset = np.arange(shape.nodes)[None, :]
    size = np.diff(plan.first)[rows][:, None]
    node = plan.node[plan.first[rows][:, None] + np.minimum(offset, size - 1)]
    real = (offset < size) & (np.arange(count) < len(members))[:, None]
    segment, bins = plan.nodes.segment[node], shape.resolution.bins
    nodes = Bunch(
        segment=segment.astype(np.int32).ravel(),
        position=plan.nodes.position[node].ravel(),
        x=(shape.pitch * (plan.ix[rows][:, None] - frame.ix[segment])).ravel(),
        y=(shape.pitch * (plan.iy[rows][:, None] - frame.iy[segment])).ravel(),
    )
    size_class = SizeClass(
        weight=np.where(real, plan.nodes.weight[node], 0.0),
        times=BLOCK * TICK / bins * np.arange(shape.blocks * bins),
    )
    return nodes, size_class


def bunched(nodes: list[Bunch], most: int) -> tuple[tuple[Bunch, ...], tuple[Place, ...]]:
    """The nodes of some classes in bunches of so many at most; a class that is larger is one by itself."""
    bunches: list[list[Bunch]] = []
    places, free = [], 0
    for own in nodes:
        count = len(own.segment)
        if count > free or count > most:
            bunches.append([])
            free = most
        places.append(Place(len(bunches) - 1, most - free))
        bunches[-1].append(own)
        free -= count
    return tuple(_joined(own, most) for own in bunches), tuple(places)


def _joined(nodes: list[Bunch], most: int) -> Bunch:
    """One after the other, the last one again and again up to a length that bunches share: there are but two."""
    count = sum(len(own.segment) for own in nodes)
    length = next((length for length in (CACHES.nodes, most) if length >= count), count)
    row = np.minimum(np.arange(length), count - 1)
    return Bunch(*(np.concatenate(columns)[row] for columns in zip(*nodes, strict=True)))
