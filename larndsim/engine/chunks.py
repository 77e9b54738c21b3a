"""Tiles in chunks: what is computed by one call.

Pixels of one resolution make layers, which the caches of a processor hold; layers make stacks, and stacks of all
resolutions a chunk. Where shapes are compiled, all chunks have one shape, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..backend import Sizes
from ..data.batch import Chunk, Frame, Stack
from ..pixelization import Plan, Ranges
from .folding import resolutions
from .tiles import AXES, Level, Shape, levels_of

NEVER = 2**30  # ticks: a block of padding lies after the end of every pixel
# Where shapes are compiled: as they are asked for by muons, so that all stacks of a chunk are full at about the same
# time, and 80 cm of a track make two.
COMPILED = (
    Shape(tiles=120, groups=112, rows=84, blocks=384, pixels=32, layers=4),
    Shape(tiles=112, groups=112, rows=56, blocks=320, pixels=32, layers=4),
    Shape(tiles=64, groups=64, rows=22, blocks=144, pixels=16, layers=2),
    Shape(tiles=32, groups=32, rows=6, blocks=48, pixels=5, layers=2),
    Shape(tiles=32, groups=32, rows=4, blocks=40, pixels=5, layers=2),
)
LINES = 1024  # segments of such a chunk
LONG = 16  # blocks of ticks per tile: of signals that last, but of which hardly anything arrives


class Planned(NamedTuple):
    """A chunk, the pixels of the plan that are in it, and where each of them is."""

    pitch: float
    levels: list[int]  # of its stacks
    chunk: Chunk
    members: np.ndarray
    slots: np.ndarray


class Layer(NamedTuple):
    """Some pixels of one resolution."""

    level: Level
    pixels: slice


class Pile(NamedTuple):
    """What is to become a stack."""

    number: int  # of its resolution
    layers: list[Layer]
    shape: Shape | None  # that its layers are padded to


def chunks_of(
    plan: Plan, t: np.ndarray, pitch: np.ndarray, frame: Frame, ranges: Ranges, sizes: Sizes
) -> list[Planned]:
    """All pixels in chunks; `t` (segment,) in us, `pitch` (pixel,) in cm."""
    found, shapes = [], [shape.times(sizes.scale) for shape in COMPILED] if sizes.padded else []
    for width, levels in levels_of(plan, t, pitch, frame, ranges, shapes):
        for piles in _compiled(levels, shapes, sizes) if sizes.padded else _exact(levels, sizes):
            limits = [resolutions(ranges.accuracy)[pile.number].limits(ranges.sampling) for pile in piles]
            found.append(_planned(piles, width, np.array(limits), frame))
    return found


def _exact(levels: dict[int, Level], sizes: Sizes) -> Iterator[list[Pile]]:
    """The stacks of each chunk: one for each layer, as large as it is."""
    most, piles, tiles = Shape(sizes.tiles, *(LONG * sizes.tiles,) * 4, 1), [], 0
    for number, level in levels.items():
        for pixels, _ in level.cuts(most):
            piles.append(Pile(number, [Layer(level, pixels)], None))
            tiles += level.tiles[pixels].sum()
            if tiles >= sizes.chunk:
                yield piles
                piles, tiles = [], 0
    if piles:
        yield piles


def _compiled(levels: dict[int, Level], shapes: list[Shape], sizes: Sizes) -> Iterator[list[Pile]]:
    """The same with one shape for all chunks: a stack for each resolution, with room for as many layers.

    Pixels that do not fit make chunks of larger and fewer layers.
    """
    waiting: dict[int, dict[int, list[Layer]]] = {}
    for number, level in levels.items():
        for pixels, factor in level.cuts(shapes[number]):
            waiting.setdefault(factor, {}).setdefault(number, []).append(Layer(level, pixels))
    for factor, layers in sorted(waiting.items()):
        own = [shape.times(factor) for shape in shapes]
        while any(layers.values()):
            there = [layers.get(number, []) for number in range(len(own))]
            # as many chunks as the stacks that are asked for most need, with about the same in each: they run at once
            chunks = max(-(-len(each) // shape.layers) for each, shape in zip(there, own, strict=True))
            taken = [each[: -(-len(each) // chunks)] for each in there]
            while _segments(taken) > factor * sizes.scale * LINES:
                fullest = int(np.argmax([len(each) for each in taken]))
                taken[fullest] = taken[fullest][: len(taken[fullest]) // 2]
            for number, each in enumerate(taken):
                del layers.get(number, [])[: len(each)]
            yield [Pile(number, each, shape) for number, (each, shape) in enumerate(zip(taken, own, strict=True))]


def _segments(piles: list[list[Layer]]) -> int:
    """How many segments some layers see."""
    return len(_different(np.concatenate([level.segments(pixels) for layers in piles for level, pixels in layers])))


def _different(numbers: np.ndarray) -> np.ndarray:
    """Those that are there, in order: small whole numbers, which need no sorting."""
    return np.flatnonzero(np.bincount(numbers))


def _planned(piles: list[Pile], pitch: float, limits: np.ndarray, frame: Frame) -> Planned:
    """Some stacks as a chunk."""
    filled = [[level.layer(pixels) for level, pixels in pile.layers] for pile in piles]
    example = next(layer for layers in filled for layer in layers)
    columns: dict[str, list[np.ndarray]] = {}
    stacks, slots, pixels, blocks = [], [], 0, 0
    for index, (pile, layers) in enumerate(zip(piles, filled, strict=True)):
        own = _stacked(layers, pile.shape, example)
        count, room = own["ticks"].shape
        first_pixel = pixels + room * np.arange(count)
        first_block = blocks + own["ended"].shape[1] * np.arange(count)
        slots += [first + np.arange(len(layer["ticks"])) for first, layer in zip(first_pixel, layers, strict=False)]
        pixels, blocks = pixels + count * room, blocks + own["ended"].size
        stacks.append(Stack(np.arange(count) < len(layers), **{name: own.pop(name) for name in Stack._fields[1:]}))
        # what counts within a layer counts within the chunk from now on
        shift = {"pixel": first_pixel, "block_pixel": first_pixel, "first_block": first_block}
        own |= {name: own[name] + first[:, None] for name, first in shift.items()}
        own["stack"] = np.full(own["pixel"].shape, index)
        for name, values in own.items():
            columns.setdefault(name, []).append(values.ravel())
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    shape = piles[0].shape
    lines = LINES * (shape.groups // COMPILED[0].groups) if shape else 0
    line, joined["segment"] = _lines(joined["segment"], len(frame.module), lines)
    chunk = Chunk(line, frame.module[line], **joined, resolution=limits, stacks=tuple(stacks))
    members = np.concatenate([level.own[pixels] for pile in piles for level, pixels in pile.layers])
    return Planned(pitch, [pile.number for pile in piles], chunk, members, np.concatenate(slots))


def _lines(segment: np.ndarray, count: int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """The segments of a chunk, with room for so many, and which of these each node lies on."""
    line = _different(segment)
    number = np.zeros(count, dtype=np.int64)
    number[line] = np.arange(len(line))
    return np.concatenate([line, np.full(max(room - len(line), 0), line[-1])]), number[segment]


# What padding is, if not the last entry again; groups of padding tiles are the last, in which there is nothing.
PADDING = {"weight": 0, "latest": 0, "first_bin": 0, "window": 0, "row_pixel": -1, "row_block": 0, "row_ended": 0}
PADDING |= {"ended": 0, "block_tick": NEVER, "first_block": 0, "ticks": 1}


def _stacked(
    layers: list[dict[str, np.ndarray]], shape: Shape | None, example: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The columns of a stack. Axes: (layer, ...).

    With a shape, there is room for as many layers, and in each for as much: it counts for nothing. A layer with nothing
    in it has the first node of an example.
    """
    if shape is None:
        return {name: values[None] for name, values in layers[0].items()}
    padding, found = PADDING | {"group": shape.groups - 1}, {}
    for axis, names in AXES.items():
        for name in names:
            like = example[name]
            column = np.empty((shape.layers, getattr(shape, axis), *like.shape[1:]), like.dtype)
            for row, layer in zip(column, layers, strict=False):
                values = layer[name]
                row[: len(values)], row[len(values) :] = values, padding.get(name, values[-1])
            column[len(layers) :] = padding.get(name, like[0])
            found[name] = column
    return found
