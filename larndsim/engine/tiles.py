"""The plan's pixels as chunks of tiles: what is computed by one call.

The nodes of a pixel are sorted by arrival and cut into groups. A tile is a group and a window of arrival-time bins; a
group that is spread over more than a window, for any value of the parameters that the plan holds for, has several.
Pixels of one resolution make chunks. Where shapes are compiled, all chunks of a resolution are padded to one shape. A
pixel's tiles do not depend on what else is simulated, nor on the backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import Sizes
from ..charge import NARROW
from ..data.batch import Chunk, Frame
from ..drifting import TAILS, arrival_variance, drift_time, transverse_variance
from ..pixelization import Plan, Ranges
from .folding import Resolution, resolutions

NODES = 8  # of a tile
SLACK = 0.02  # ticks that rounding may move the begin of a window by
LARGER = 4  # times larger is the next shape, for a pixel that fills more than a chunk


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
    tiles: np.ndarray


class Planned(NamedTuple):
    """A chunk, and the pixels of the plan that are in it."""

    level: int
    pitch: float
    chunk: Chunk
    members: np.ndarray


def chunks_of(
    plan: Plan, t: np.ndarray, pitch: np.ndarray, frame: Frame, ranges: Ranges, sizes: Sizes
) -> list[Planned]:
    """All pixels in chunks; `t` (segment,) in us, `pitch` (pixel,) in cm."""
    known = resolutions(ranges.accuracy)
    level = resolution_of(plan.nearest, ranges)
    order = _by_arrival(plan, t, ranges)
    groups, rows = _groups(plan, t, order, level, ranges)
    tiles = np.bincount(groups.pixel, groups.windows, minlength=len(level)).astype(np.int64)
    asked = Asked(level, rows, tiles)
    found = []
    for width in np.unique(pitch):
        for number in np.unique(level[pitch == width]):
            own = np.flatnonzero((level == number) & (pitch == width))
            laid = _Level(plan, frame, order, groups, asked, own, known[number], float(width), ranges)
            found += [Planned(int(number), float(width), *laid.chunk(*cut)) for cut in laid.cuts(sizes)]
    return found


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
    rows = np.maximum(np.ceil((of_pixel / sampling.tick + 2) / sampling.block), 1).astype(np.int64)
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


class _Level:
    """The pixels `own` of one pitch and resolution, their tiles and rows one after the other."""

    def __init__(
        self, plan: Plan, frame: Frame, order: np.ndarray, groups: Groups, asked: Asked, own: np.ndarray,
        resolution: Resolution, pitch: float, ranges: Ranges,
    ) -> None:  # fmt: skip
        self.plan, self.own, self.pitch, self.resolution, self.sampling = plan, own, pitch, resolution, ranges.sampling
        self.rows, self.frame = asked.rows[own], frame
        self.blocks = self.rows + (self.sampling.span // self.sampling.block - 1)
        self.tiles = asked.tiles[own]
        self.ends = np.cumsum(self.tiles)
        self.bins = resolution.bins_of(self.sampling)
        slot = np.full(len(asked.level), -1)
        slot[own] = np.arange(len(own))
        mine = np.flatnonzero(slot[groups.pixel] >= 0)
        group = np.repeat(mine, groups.windows[mine])
        self.pixel = slot[groups.pixel[group]]
        self.window = np.arange(len(group)) - np.repeat(
            np.cumsum(groups.windows[mine]) - groups.windows[mine], groups.windows[mine]
        )
        self.latest = self.rows[self.pixel] * self.bins - groups.windows[group] * resolution.window
        offset, size = np.arange(NODES)[None, :], groups.size[group][:, None]
        self.node = plan.node[order[groups.first[group][:, None] + np.minimum(offset, size - 1)]]
        self.real = offset < size

    def cuts(self, sizes: Sizes) -> Iterator[tuple[slice, Sizes | None]]:
        """Which pixels go to each chunk, and the shape that it is padded to."""
        sums = [self.ends, np.cumsum(self.rows), np.cumsum(self.blocks), np.arange(1, len(self.own) + 1)]
        first = 0
        while first < len(self.own):
            room, end = sizes, first
            while end == first:
                most = (room.tiles, room.rows, room.blocks, room.pixels)
                before = [each[first - 1] if first else 0 for each in sums]
                ends = [
                    int(np.searchsorted(each, b + m, "right")) for each, b, m in zip(sums, before, most, strict=True)
                ]
                end = max(min(ends), first)
                while end > first and len(self._segments(slice(first, end))) > room.lines:
                    end = (first + end) // 2
                room = room if end > first else room.larger(LARGER)
            yield slice(first, end), room if sizes.padded else None
            first = end

    def _tiles(self, pixels: slice) -> slice:
        """The tiles of some pixels."""
        return slice(self.ends[pixels.start] - self.tiles[pixels.start], self.ends[pixels.stop - 1])

    def _segments(self, pixels: slice) -> np.ndarray:
        """The segments that some pixels see."""
        return np.unique(self.plan.nodes.segment[self.node[self._tiles(pixels)]])

    def chunk(self, pixels: slice, shape: Sizes | None) -> tuple[Chunk, np.ndarray]:
        """Some pixels, padded to a shape; and who they are."""
        tiles, line = self._tiles(pixels), self._segments(pixels)
        rows, blocks = self.rows[pixels], self.blocks[pixels]
        row, block = np.cumsum(rows) - rows, np.cumsum(blocks) - blocks  # the first of each pixel
        pixel, node = self.pixel[tiles] - pixels.start, self.node[tiles]
        segment, who = self.plan.nodes.segment[node], self.own[pixels][pixel][:, None]
        chunk = Chunk(
            line=line,
            module=self.frame.module[line],
            segment=np.searchsorted(line, segment),
            position=self.plan.nodes.position[node],
            x=self.pitch * (self.plan.ix[who] - self.frame.ix[segment]),
            y=self.pitch * (self.plan.iy[who] - self.frame.iy[segment]),
            weight=np.where(self.real[tiles], self.plan.nodes.weight[node], 0.0),
            pixel=pixel,
            window=self.window[tiles],
            latest=self.latest[tiles],
            first_bin=row[pixel] * self.bins,
            **_rows_and_blocks(rows, blocks, row, block, self.sampling.block),
        )
        chunk = chunk if shape is None else _padded(chunk, shape)
        flat = {name: getattr(chunk, name).ravel() for name in ("segment", "position", "x", "y")}
        return chunk._replace(**flat), self.own[pixels]


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


NEVER = 2**30  # ticks: a block of padding lies after the end of every pixel


def _padded(chunk: Chunk, shape: Sizes) -> Chunk:
    """The same with tiles, rows, blocks and pixels that count for nothing. They repeat the last ones where they can."""
    lengths = {
        "line": shape.lines,
        "module": shape.lines,
        "row_pixel": shape.rows,
        "row_block": shape.rows,
        "first_block": shape.pixels,
        "ticks": shape.pixels,
    }
    lengths |= dict.fromkeys(("row_ended", "ended", "block_pixel", "block_tick"), shape.blocks)
    fill = {"weight": 0.0, "window": 0, "latest": 0, "first_bin": 0, "row_pixel": -1, "row_block": 0, "row_ended": 0}
    fill |= {"ended": 0.0, "block_tick": NEVER, "first_block": 0, "ticks": 1}

    def pad(name: str, values: Any) -> Any:
        length = lengths.get(name, shape.tiles) - len(values)
        last = np.broadcast_to(fill.get(name, values[-1]), (length, *values.shape[1:])).astype(values.dtype)
        return np.concatenate([values, last])

    return Chunk(**{name: pad(name, values) for name, values in chunk._asdict().items()})
