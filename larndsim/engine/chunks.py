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
from .tiles import Level, Shape, levels_of

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
            while len(np.unique(_segments(taken))) > factor * sizes.scale * LINES:
                fullest = int(np.argmax([len(each) for each in taken]))
                taken[fullest] = taken[fullest][: len(taken[fullest]) // 2]
            for number, each in enumerate(taken):
                del layers.get(number, [])[: len(each)]
            yield [Pile(number, each, shape) for number, (each, shape) in enumerate(zip(taken, own, strict=True))]


def _segments(piles: list[list[Layer]]) -> np.ndarray:
    """The segments that some layers see, again and again."""
    return np.concatenate([level.segments(pixels) for layers in piles for level, pixels in layers])


def _planned(piles: list[Pile], pitch: float, limits: np.ndarray, frame: Frame) -> Planned:
    """Some stacks as a chunk."""
    filled = [[level.layer(pixels) for level, pixels in pile.layers] for pile in piles]
    example = next(layer for layers in filled for layer in layers)
    whole, stacks, slots = Whole(), [], []
    for index, (pile, layers) in enumerate(zip(piles, filled, strict=True)):
        wanted = np.ones(len(layers), dtype=bool)
        room = [len(layer["ticks"]) for layer in layers]
        if pile.shape:
            wanted, room = np.arange(pile.shape.layers) < len(layers), [pile.shape.pixels] * len(layers)
        first = whole.pixels + np.cumsum([0, *room])
        slots += [start + np.arange(len(layer["ticks"])) for start, layer in zip(first, layers, strict=False)]
        if pile.shape:
            empty = [_empty(example, pile.shape)] * (pile.shape.layers - len(layers))
            layers = [_padded(layer, pile.shape) for layer in layers] + empty
        columns = {name: np.stack([layer[name] for layer in layers]) for name in Stack._fields[1:]}
        stacks.append(Stack(wanted, **columns))
        for layer in layers:
            whole.add(layer, index)
    members = np.concatenate([level.own[pixels] for pile in piles for level, pixels in pile.layers])
    shape = piles[0].shape
    lines = LINES * (shape.tiles // COMPILED[0].tiles) if shape else 0
    chunk = whole.chunk(frame, limits, tuple(stacks), lines)
    return Planned(pitch, [pile.number for pile in piles], chunk, members, np.concatenate(slots))


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
