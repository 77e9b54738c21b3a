"""The plan's pixels in tiles: the nodes of a pixel, sorted by arrival, in groups; and windows of arrival-time bins.

A tile is a group and a window; a group has as many as hold what arrives of it, for all values of the parameters that
the plan holds for. A pixel's tiles do not depend on what else is simulated, nor on the backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..charge import NARROW
from ..data.batch import Frame
from ..drifting import TAILS, arrival_variance, drift_time, transverse_variance
from ..pixelization import Plan, Ranges
from ..response import Sampling
from .folding import Resolution, resolutions

NODES = 8  # of a group
SLACK = 0.02  # ticks that rounding may move the begin of a window by
LARGER = 4  # times larger is the next shape, for a pixel that fills more than a layer
NEXT = 32  # pixels of which those that fill a layer are chosen: neighbours, so that chunks have few segments


class Shape(NamedTuple):
    """How much a layer holds, and how many of them a stack has."""

    tiles: int
    groups: int
    rows: int
    blocks: int
    pixels: int
    layers: int

    def times(self, factor: int) -> Shape:
        """Fewer layers that are larger, and of fewer a larger stack."""
        tiles, groups, rows, blocks, pixels, _ = (factor * each for each in self)
        return Shape(tiles, groups, rows, blocks, pixels, max(self.layers // factor, 1))


class Groups(NamedTuple):
    """Nodes of a pixel that arrive one after the other. Axis: (group,)."""

    pixel: np.ndarray
    first: np.ndarray  # pair, in the order of arrival
    size: np.ndarray  # nodes
    windows: np.ndarray  # how many windows of bins hold all that arrives, for all parameters


class Asked(NamedTuple):
    """What each pixel asks for. Axis: (pixel,)."""

    level: np.ndarray  # index of its resolution
    rows: np.ndarray  # blocks of ticks in which charge arrives
    groups: np.ndarray
    tiles: np.ndarray


def levels_of(
    plan: Plan, t: np.ndarray, pitch: np.ndarray, frame: Frame, ranges: Ranges, shapes: Sequence[Shape]
) -> Iterator[tuple[float, dict[int, Level]]]:
    """The pixels of each pitch, in tiles, by the number of their resolution; `t` (segment,) in us, `pitch` (pixel,).

    `shapes` are those of the layers of each resolution, where layers have one.
    """
    known = resolutions(ranges.accuracy)
    level = resolution_of(plan.nearest, ranges)
    order = _by_arrival(plan, t, ranges)
    groups, rows = _groups(plan, t, order, level, ranges)
    tiles = np.bincount(groups.pixel, groups.windows, minlength=len(level)).astype(np.int64)
    asked = Asked(level, rows, np.bincount(groups.pixel, minlength=len(level)), tiles)
    for width in np.unique(pitch):
        found = {}
        for number in np.unique(level[pitch == width]):
            own = np.flatnonzero((level == number) & (pitch == width))
            if shapes:
                own = own[packed(_asked(asked, own, ranges.sampling), shapes[number])]
            found[int(number)] = Level(plan, frame, order, groups, asked, own, known[number], float(width), ranges)
        yield float(width), found


def _asked(asked: Asked, own: np.ndarray, sampling: Sampling) -> np.ndarray:
    """What some pixels take of a layer, in the order of `Shape`. Axes: (pixel, kind)."""
    rows = asked.rows[own]
    blocks = rows + (sampling.span // sampling.block - 1)
    return np.stack([asked.tiles[own], asked.groups[own], rows, blocks, np.ones_like(rows)], axis=1)


def _most(shape: Shape, factor: int = 1) -> np.ndarray:
    """What the pixels of a layer may take, so many times larger: one group is left, whose tiles are padding."""
    return factor * np.array(shape[:5]) - [0, 1, 0, 0, 0]


def packed(asked: np.ndarray, shape: Shape) -> np.ndarray:
    """An order of pixels so that layers cut from it are full: always the largest that fits, of the next few."""
    need = asked / _most(shape)
    size = need.max(axis=1)
    fits = size <= 1.0
    order, waiting = [*np.flatnonzero(~fits)], np.flatnonzero(fits)
    wanted, room = need.tolist(), [1.0 + 1e-9] * 5
    while len(waiting):
        near, taken, left = waiting[:NEXT], np.zeros(len(waiting), dtype=bool), room
        for number in np.argsort(-size[near], kind="stable"):
            after = [there - more for there, more in zip(left, wanted[near[number]], strict=True)]
            if min(after) >= 0.0:
                left, taken[number] = after, True
                order.append(near[number])
        waiting = waiting[~taken]
    return np.array(order, dtype=np.int64)


def resolution_of(nearest: np.ndarray, ranges: Ranges) -> np.ndarray:
    """Index of the coarsest of the `resolutions` that resolves the narrowest cloud at this distance."""
    v = ranges.velocity[1]
    sigma_T = np.sqrt(transverse_variance(nearest, ranges.tran_diff[0], v))
    sigma_t = np.sqrt(arrival_variance(nearest, ranges.long_diff[0], v))
    known = resolutions(ranges.accuracy)
    level = np.full(len(nearest), len(known) - 1)
    for index, r in reversed(list(enumerate(known[:-1]))):
        level[(sigma_T >= r.sigma_T) & (sigma_t >= r.sigma_t)] = index
    return level


def asked_work(level: int, ranges: Ranges) -> float:
    """Numbers that a node at some resolution takes: exponentials and products, those of its window among them."""
    r = resolutions(ranges.accuracy)[level]
    return 4.0 * r.points + r.basis**2 + 3.0 * r.window


def _by_arrival(plan: Plan, t: np.ndarray, ranges: Ranges) -> np.ndarray:
    """Pairs by pixel, and there by arrival at the mean velocity. Axis: (pair,)."""
    pixel = np.repeat(np.arange(len(plan.ix)), np.diff(plan.first))
    middle = plan.nodes.d.mean(axis=0)
    arrival = t[plan.nodes.segment] + drift_time(middle, np.mean(ranges.velocity), ranges.distance)
    return np.lexsort([arrival[plan.node], pixel])


def _groups(
    plan: Plan, t: np.ndarray, order: np.ndarray, level: np.ndarray, ranges: Ranges
) -> tuple[Groups, np.ndarray]:
    """The groups of all pixels, and how many rows of bins each pixel needs."""
    known, sampling = resolutions(ranges.accuracy), ranges.sampling
    size, first = np.diff(plan.first), plan.first[:-1]
    count = -(-size // NODES)
    pixel = np.repeat(np.arange(len(size)), count)
    number = np.arange(len(pixel)) - np.repeat(np.cumsum(count) - count, count)
    begin = first[pixel] + NODES * number
    of_group, of_pixel = _spread(plan, t, order, level, ranges, begin)
    width = np.array([sampling.block / r.bins_of(sampling) for r in known])[level]  # ticks of a bin
    window = np.array([r.window for r in known])[level] * width
    windows = np.ceil((of_group / sampling.tick + width[pixel] + SLACK) / window[pixel]).astype(np.int64)
    rows = np.maximum(np.ceil((of_pixel / sampling.tick + 1 + sampling.eighth) / sampling.block), 1).astype(np.int64)
    np.maximum.at(rows, pixel, np.ceil(windows * window[pixel] / sampling.block).astype(np.int64))
    return Groups(pixel, begin, np.minimum(size[pixel] - NODES * number, NODES), windows), rows


def _spread(
    plan: Plan, t: np.ndarray, order: np.ndarray, level: np.ndarray, ranges: Ranges, begin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How long charge arrives, at most, at the nodes of each group and of each pixel, us."""
    if not len(begin):
        return np.zeros(0), np.zeros(0)
    known, nodes, node = resolutions(ranges.accuracy), plan.nodes, plan.node[order]
    held = np.array([0.5 * r.sigma_t**2 for r in known])[np.repeat(level, np.diff(plan.first))]  # in the kernel
    of_group, of_pixel = np.zeros(len(begin)), np.zeros(len(plan.ix))
    middle, far = nodes.d.mean(axis=0)[node], nodes.d[1][node]
    for v in ranges.velocity:
        arrival = t[nodes.segment[node]] + drift_time(middle, v, ranges.distance)
        variance = arrival_variance(far, ranges.long_diff[1], v)
        resolved, whole = np.maximum(variance - held, held), np.maximum(variance, NARROW)
        for found, starts, width in ((of_group, begin, resolved), (of_pixel, plan.first[:-1], whole)):
            tail = TAILS * np.sqrt(width) + nodes.slide[node] / v
            latest, earliest = np.maximum.reduceat(arrival + tail, starts), np.minimum.reduceat(arrival - tail, starts)
            np.maximum(found, latest - earliest, out=found)
    return of_group, of_pixel


# The columns of a layer, by what there is one of for each entry; and which of them are numbers of something, counted
# within the layer.
AXES = {
    "groups": ("segment", "position", "x", "y", "weight", "pixel", "latest", "first_bin"),
    "tiles": ("group", "window"),
    "rows": ("row_pixel", "row_block"),
    "blocks": ("row_ended", "ended", "block_pixel", "block_tick"),
    "pixels": ("first_block", "ticks"),
}
NUMBERS = {"pixel": "pixels", "first_bin": "bins", "group": "groups", "row_pixel": "pixels", "row_block": "blocks"}
NUMBERS |= {"row_ended": "rows", "block_pixel": "pixels", "first_block": "blocks"}


class Level:
    """The pixels `own` of one pitch and resolution: their columns, one pixel after the other."""

    def __init__(
        self, plan: Plan, frame: Frame, order: np.ndarray, groups: Groups, asked: Asked, own: np.ndarray,
        resolution: Resolution, pitch: float, ranges: Ranges,
    ) -> None:  # fmt: skip
        sampling = ranges.sampling
        self.own, self.asked = own, _asked(asked, own, sampling)
        self.tiles = self.asked[:, 0]
        self.first = np.pad(np.cumsum(self.asked, axis=0), [(1, 0), (0, 0)])  # (pixel, kind), and where the last ends
        slot = np.full(len(asked.level), -1)
        slot[own] = np.arange(len(own))
        mine = np.flatnonzero(slot[groups.pixel] >= 0)
        mine = mine[np.argsort(slot[groups.pixel[mine]], kind="stable")]
        pixel, windows = slot[groups.pixel[mine]], groups.windows[mine]
        group = np.repeat(np.arange(len(mine)), windows)
        offset, size = np.arange(NODES)[None, :], groups.size[mine][:, None]
        node = plan.node[order[groups.first[mine][:, None] + np.minimum(offset, size - 1)]]
        segment, who = plan.nodes.segment[node], own[pixel][:, None]
        _, _, rows, blocks, _ = self.asked.T
        _, _, row, block, _ = self.first[:-1].T
        self.bins = resolution.bins_of(sampling)
        self.columns = {
            "segment": segment,
            "position": plan.nodes.position[node],
            "x": pitch * (plan.ix[who] - frame.ix[segment]),
            "y": pitch * (plan.iy[who] - frame.iy[segment]),
            "weight": np.where(offset < size, plan.nodes.weight[node], 0.0),
            "pixel": pixel,
            "latest": rows[pixel] * self.bins - windows * resolution.window,
            "first_bin": row[pixel] * self.bins,
            "group": group,
            "window": np.arange(len(group)) - np.repeat(np.cumsum(windows) - windows, windows),
            **_rows_and_blocks(rows, blocks, row, block, sampling.block),
        }

    def cuts(self, shape: Shape) -> Iterator[tuple[slice, int]]:
        """Which pixels go to each layer, and how many times larger than the shape that is."""
        first = 0
        while first < len(self.own):
            factor, end = 1, first
            while end == first:
                most = self.first[first] + _most(shape, factor)
                end = min(int(np.searchsorted(*each, "right")) - 1 for each in zip(self.first.T, most, strict=True))
                factor = factor if end > first else factor * LARGER
            yield slice(first, end), factor
            first = end

    def segments(self, pixels: slice) -> np.ndarray:
        """The segments of the nodes that some pixels see."""
        first = self._first(pixels.start)["groups"], self._first(pixels.stop)["groups"]
        return self.columns["segment"][slice(*first)].ravel()

    def layer(self, pixels: slice) -> dict[str, np.ndarray]:
        """What belongs to some pixels, and numbers within them, by name."""
        first, end = self._first(pixels.start), self._first(pixels.stop)
        found: dict[str, np.ndarray] = {}
        for axis, names in AXES.items():
            own = slice(first[axis], end[axis])
            found |= {name: self.columns[name][own] for name in names}
        return found | {name: found[name] - first[kind] for name, kind in NUMBERS.items()}

    def _first(self, pixel: int) -> dict[str, int]:
        """Where what belongs to a pixel begins."""
        first = dict(zip(Shape._fields, self.first[pixel].tolist(), strict=False))
        return first | {"bins": first["rows"] * self.bins}


def _rows_and_blocks(
    rows: np.ndarray, blocks: np.ndarray, row: np.ndarray, block: np.ndarray, ticks: int
) -> dict[str, np.ndarray]:
    """What lies where: the columns of `Chunk` from its rows on. `row` and `block` are the first of each pixel."""
    row_pixel, block_pixel = (np.repeat(np.arange(len(rows)), count) for count in (rows, blocks))
    row_number = np.arange(len(row_pixel)) - row[row_pixel]
    block_number = np.arange(len(block_pixel)) - block[block_pixel]
    after = block_number - (blocks - rows + 1)[block_pixel]  # the row of its pixel that has just ended
    return {
        "row_pixel": row_pixel,
        "row_block": block[row_pixel] + row_number,
        "row_ended": row[block_pixel] + np.maximum(after, 0),
        "ended": (after >= 0).astype(np.float64),
        "block_pixel": block_pixel,
        "block_tick": block_number * ticks,
        "first_block": block,
        "ticks": blocks * ticks,
    }
