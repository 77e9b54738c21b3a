"""The plan's pixels as chunks of tiles: what is computed by one call.

The nodes of a pixel are sorted by arrival and cut into groups. A tile is a group and a window of arrival-time bins; a
group has as many as hold what arrives of it, for all values of the parameters that the plan holds for. Pixels of one
resolution make layers, which the caches of a processor hold; layers make stacks, and stacks of all resolutions a chunk.
Where shapes are compiled, all chunks have one shape, whatever is in them. A pixel's tiles do not depend on what else is
simulated, nor on the backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import Sizes
from ..charge import NARROW
from ..data.batch import Chunk, Frame, Stack
from ..drifting import TAILS, arrival_variance, drift_time, transverse_variance
from ..pixelization import Plan, Ranges
from .folding import Resolution, resolutions

NODES = 8  # of a group
SLACK = 0.02  # ticks that rounding may move the begin of a window by
LARGER = 4  # times larger is the next shape, for a pixel that fills more than a layer
NEVER = 2**30  # ticks: a block of padding lies after the end of every pixel


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
        return Shape(*(factor * each for each in self[:-1]), max(self.layers // factor, 1))


# Where shapes are compiled: as they are asked for by muons, so that all stacks of a chunk are full at about the same
# time, and 80 cm of a track make one.
COMPILED = (
    Shape(tiles=128, groups=112, rows=112, blocks=384, pixels=32, layers=8),
    Shape(tiles=128, groups=112, rows=80, blocks=288, pixels=24, layers=8),
    Shape(tiles=64, groups=64, rows=32, blocks=160, pixels=16, layers=4),
    Shape(tiles=32, groups=32, rows=8, blocks=48, pixels=4, layers=4),
    Shape(tiles=32, groups=32, rows=8, blocks=48, pixels=4, layers=4),
)
LINES = 2048  # segments of such a chunk


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


class Planned(NamedTuple):
    """A chunk, the pixels of the plan that are in it, and where each of them is."""

    pitch: float
    levels: list[int]  # of its stacks
    chunk: Chunk
    members: np.ndarray
    slots: np.ndarray


class Layer(NamedTuple):
    """Some pixels of one resolution, for layers that are this many times larger than usual."""

    level: int
    pixels: slice
    factor: int


def chunks_of(
    plan: Plan, t: np.ndarray, pitch: np.ndarray, frame: Frame, ranges: Ranges, sizes: Sizes
) -> list[Planned]:
    """All pixels in chunks; `t` (segment,) in us, `pitch` (pixel,) in cm."""
    known = resolutions(ranges.accuracy)
    level = resolution_of(plan.nearest, ranges)
    order = _by_arrival(plan, t, ranges)
    groups, rows = _groups(plan, t, order, level, ranges)
    tiles = np.bincount(groups.pixel, groups.windows, minlength=len(level)).astype(np.int64)
    asked = Asked(level, rows, np.bincount(groups.pixel, minlength=len(level)), tiles)
    found = []
    for width in np.unique(pitch):
        levels = {}
        for number in np.unique(level[pitch == width]):
            own = np.flatnonzero((level == number) & (pitch == width))
            levels[int(number)] = _Level(plan, frame, order, groups, asked, own, known[number], float(width), ranges)
        stacks = _compiled_stacks(levels, sizes) if sizes.padded else _exact_stacks(levels, sizes)
        found += [_planned(levels, each, float(width), ranges) for each in stacks]
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
        self.groups, self.tiles = asked.groups[own], asked.tiles[own]
        self.bins = resolution.bins_of(self.sampling)
        slot = np.full(len(asked.level), -1)
        slot[own] = np.arange(len(own))
        mine = np.flatnonzero(slot[groups.pixel] >= 0)
        windows = groups.windows[mine]
        self.pixel = slot[groups.pixel[mine]]
        self.latest = self.rows[self.pixel] * self.bins - windows * resolution.window
        self.group = np.repeat(np.arange(len(mine)), windows)
        self.window = np.arange(len(self.group)) - np.repeat(np.cumsum(windows) - windows, windows)
        offset, size = np.arange(NODES)[None, :], groups.size[mine][:, None]
        self.node = plan.node[order[groups.first[mine][:, None] + np.minimum(offset, size - 1)]]
        self.real = offset < size

    def cuts(self, shape: Shape) -> Iterator[tuple[slice, int]]:
        """Which pixels go to each layer, and how many times larger than the shape that is."""
        asked = self.tiles, self.groups, self.rows, self.blocks, np.ones_like(self.own)
        sums = [np.concatenate([[0], np.cumsum(each)]) for each in asked]
        first = 0
        while first < len(self.own):
            factor, end = 1, first
            while end == first:
                # one group is left for padding: the tiles of padding are its
                most = (shape.tiles, shape.groups - 1 / factor, shape.rows, shape.blocks, shape.pixels)
                ends = [np.searchsorted(s, s[first] + factor * m, "right") - 1 for s, m in zip(sums, most, strict=True)]
                end = int(min(ends))
                factor = factor if end > first else factor * LARGER
            yield slice(first, end), factor
            first = end

    def segments(self, pixels: slice) -> np.ndarray:
        """The segments of the nodes that some pixels see."""
        return self.plan.nodes.segment[self.node[_of(self.groups, pixels)]].ravel()

    def layer(self, pixels: slice) -> dict[str, np.ndarray]:
        """What belongs to some pixels, and numbers within them, by name."""
        groups, tiles = _of(self.groups, pixels), _of(self.tiles, pixels)
        rows, blocks = self.rows[pixels], self.blocks[pixels]
        row, block = np.cumsum(rows) - rows, np.cumsum(blocks) - blocks  # the first of each pixel
        pixel, node = self.pixel[groups] - pixels.start, self.node[groups]
        segment, who = self.plan.nodes.segment[node], self.own[pixels][pixel][:, None]
        return {
            "segment": segment,
            "position": self.plan.nodes.position[node],
            "x": self.pitch * (self.plan.ix[who] - self.frame.ix[segment]),
            "y": self.pitch * (self.plan.iy[who] - self.frame.iy[segment]),
            "weight": np.where(self.real[groups], self.plan.nodes.weight[node], 0.0),
            "pixel": pixel,
            "latest": self.latest[groups],
            "first_bin": row[pixel] * self.bins,
            "group": self.group[tiles] - groups.start,
            "window": self.window[tiles],
            **_rows_and_blocks(rows, blocks, row, block, self.sampling.block),
        }


def _of(counts: np.ndarray, pixels: slice) -> slice:
    """Where what so many of belong to each pixel is, of some pixels."""
    ends = np.cumsum(counts)
    return slice(ends[pixels.start] - counts[pixels.start], ends[pixels.stop - 1])


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


def _exact_stacks(levels: dict[int, _Level], sizes: Sizes) -> Iterator[list[tuple[Shape | None, list[Layer]]]]:
    """The layers of each stack of each chunk: a stack for each layer, as large as it is."""
    most = Shape(sizes.tiles, *(sizes.chunk,) * 4, 1)
    chunk: list[tuple[Shape | None, list[Layer]]] = []
    tiles = 0
    for number, level in levels.items():
        for pixels, factor in level.cuts(most):
            chunk.append((None, [Layer(number, pixels, factor)]))
            tiles += level.tiles[pixels].sum()
            if tiles >= sizes.chunk:
                yield chunk
                chunk, tiles = [], 0
    if chunk:
        yield chunk


def _compiled_stacks(levels: dict[int, _Level], sizes: Sizes) -> Iterator[list[tuple[Shape | None, list[Layer]]]]:
    """The same with one shape for all chunks: a stack for each resolution, with room for as many layers."""
    shapes = [shape.times(sizes.scale) for shape in COMPILED]
    waiting: dict[int, dict[int, list[Layer]]] = {}
    for number, level in levels.items():
        for pixels, factor in level.cuts(shapes[number]):
            waiting.setdefault(factor, {}).setdefault(number, []).append(Layer(number, pixels, factor))
    for factor, layers in sorted(waiting.items()):
        own = [shape.times(factor) for shape in shapes]
        while any(layers.values()):
            most = {number: shape.layers for number, shape in enumerate(own)}
            taken = {number: layers.get(number, [])[:count] for number, count in most.items()}
            while _lines(levels, taken) > factor * sizes.scale * LINES:
                fullest = max(taken, key=lambda number: len(taken[number]))
                taken[fullest] = taken[fullest][: len(taken[fullest]) // 2]
            for number, each in taken.items():
                del layers.get(number, [])[: len(each)]
            yield [(shape, taken[number]) for number, shape in enumerate(own)]


def _lines(levels: dict[int, _Level], layers: dict[int, list[Layer]]) -> int:
    """How many segments some layers see."""
    seen = [levels[number].segments(each.pixels) for number, own in layers.items() for each in own]
    return len(np.unique(np.concatenate(seen)))


# Of what belongs to a layer: which axis it has; what padding is, if not the last entry again.
AXES = {
    "groups": ("segment", "position", "x", "y", "weight", "pixel", "latest", "first_bin"),
    "tiles": ("group", "window"),
    "rows": ("row_pixel", "row_block"),
    "blocks": ("row_ended", "ended", "block_pixel", "block_tick"),
    "pixels": ("first_block", "ticks"),
}
PADDING = {"weight": 0, "latest": 0, "first_bin": 0, "window": 0, "row_pixel": -1, "row_block": 0, "row_ended": 0}
PADDING |= {"ended": 0, "block_tick": NEVER, "first_block": 0, "ticks": 1}


def _planned(
    levels: dict[int, _Level], stacks: list[tuple[Shape | None, list[Layer]]], pitch: float, ranges: Ranges
) -> Planned:
    """Some stacks as a chunk."""
    filled = [[levels[each.level].layer(each.pixels) for each in layers] for _, layers in stacks]
    example = next(layer for stack in filled for layer in stack)
    whole, found, slots = Whole(), [], []
    for index, ((shape, _), layers) in enumerate(zip(stacks, filled, strict=True)):
        slots += [whole.pixels + (shape.pixels * row if shape else 0) + np.arange(len(layer["ticks"])) for row, layer in enumerate(layers)]
        if shape:
            layers = [_padded(layer, shape) for layer in layers] + [_empty(example, shape)] * (shape.layers - len(layers))
        wanted = np.arange(len(layers)) < len(filled[index])
        found.append(Stack(wanted, **{name: np.stack([layer[name] for layer in layers]) for name in Stack._fields[1:]}))
        for layer in layers:
            whole.add(layer, index)
    members = [levels[each.level].own[each.pixels] for _, layers in stacks for each in layers]
    numbers = [*range(len(stacks))] if stacks[0][0] else [layers[0].level for _, layers in stacks]
    limits = [resolutions(ranges.accuracy)[number].limits(ranges.sampling) for number in numbers]
    room = LINES * stacks[0][0].tiles // COMPILED[0].tiles if stacks[0][0] else 0
    chunk = whole.chunk(next(iter(levels.values())).frame, np.array(limits), tuple(found), room)
    return Planned(pitch, numbers, chunk, np.concatenate(members), np.concatenate(slots))


class Whole:
    """The columns of a chunk, layer by layer."""

    def __init__(self) -> None:
        self.columns: dict[str, list[np.ndarray]] = {}
        self.blocks = self.pixels = 0

    def add(self, layer: dict[str, np.ndarray], stack: int) -> None:
        """What counts within a layer counts within the chunk from now on."""
        shift = {"pixel": self.pixels, "block_pixel": self.pixels, "first_block": self.blocks}
        own = {name: values + shift.get(name, 0) for name, values in layer.items() if name not in Stack._fields}
        own["stack"] = np.full(len(layer["pixel"]), stack)
        for name, values in own.items():
            self.columns.setdefault(name, []).append(values)
        self.blocks, self.pixels = self.blocks + len(layer["ended"]), self.pixels + len(layer["ticks"])

    def chunk(self, frame: Frame, limits: np.ndarray, stacks: tuple[Stack, ...], lines: int) -> Chunk:
        """All of it, with room for so many segments."""
        joined = {name: np.concatenate(values) for name, values in self.columns.items()}
        line, segment = np.unique(joined.pop("segment"), return_inverse=True)
        line = np.concatenate([line, np.full(max(lines - len(line), 0), line[-1])])
        flat = {name: joined.pop(name).ravel() for name in ("position", "x", "y")}
        return Chunk(line, frame.module[line], segment.ravel(), **flat, **joined, resolution=limits, stacks=stacks)


def _padded(layer: dict[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """The same with groups, tiles, rows, blocks and pixels that count for nothing."""
    padding = PADDING | {"group": shape.groups - 1}

    def pad(name: str, values: np.ndarray, length: int) -> np.ndarray:
        more = (length - len(values), *values.shape[1:])
        last = values[-1:] if name not in padding else np.full((1, *values.shape[1:]), padding[name])
        return np.concatenate([values, np.broadcast_to(last, more).astype(values.dtype)])

    return {name: pad(name, layer[name], getattr(shape, axis)) for axis, names in AXES.items() for name in names}


def _empty(example: dict[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """A layer with nothing in it but the first node of an example, which counts for nothing."""
    nothing = {"weight": 0, "window": 0, "latest": 0, "ended": 0, "block_tick": NEVER, "ticks": 1}
    first = {name: values[:1] for name, values in example.items()}
    return _padded(first | {name: np.full_like(first[name], value) for name, value in nothing.items()}, shape)
