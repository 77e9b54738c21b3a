"""A batch: segments, and the plan of which of their points reach which pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .hits import Slots


class Deposits(NamedTuple):
    """What the charge is differentiated with respect to, beside the parameters. Axis: (segment,).

    Native arrays. Lengths in cm, relative to the segment's `Frame` so that single precision suffices: x and y to the
    centre of a pixel nearby, z to the anode. `t` in us from the burst's reference time. `dE` in MeV, `dEdx` in MeV/cm.
    """

    x_start: Any
    y_start: Any
    z_start: Any
    x_end: Any
    y_end: Any
    z_end: Any
    dE: Any
    dEdx: Any
    t: Any


class Frame(NamedTuple):
    """Where each segment's coordinates are measured from, and the box that it is clipped to. Axis: (segment,)."""

    module: Any  # index of the module
    ix: Any  # pixel whose centre is x = y = 0
    iy: Any
    direction: Any  # +1 where electrons drift towards +z; 0 outside every TPC
    x_low: Any  # the box in the segment's coordinates, cm; the anode is at z = 0
    x_high: Any
    y_low: Any
    y_high: Any
    drift_length: Any  # distance from anode to cathode, cm


class Pixels(NamedTuple):
    """The pixels of a chunk. Axis: (pixel,). NumPy arrays, identifiers as in the segments."""

    event: Any
    plane: Any
    ix: Any
    iy: Any
    start: Any  # us, when the window that holds the signal for all parameters within bounds begins
    reference: Any  # the reference time of their burst of deposits, whole ticks
    burst: Any  # number of that burst within the event


class Stack(NamedTuple):
    """Pixels of one resolution, layer by layer: groups of nodes, tiles, rows of bins, blocks of ticks.

    A group has a few nodes of one pixel, in the order in which they arrive. A tile is a group times a window of bins;
    there are as many as the group is spread over. A row is a block of ticks in which charge arrives at a pixel. The
    waveform of a pixel takes more blocks than it has rows: it is seen before and after it arrives. A layer holds whole
    pixels, and knows nothing of the others: all numbers count within it.
    """

    wanted: Any  # (layer,) whether there is anything in it
    weight: Any  # (layer, group, node) share of the charge of its segment that a node stands for
    group: Any  # (layer, tile)
    window: Any  # (layer, tile) its number among those of its group
    row_pixel: Any  # (layer, row)
    row_block: Any  # (layer, row) block at which what is seen of it begins
    row_ended: Any  # (layer, block) the last row of its pixel that has ended before it
    ended: Any  # (layer, block) 1 where there is one, else 0


class Chunk(NamedTuple):
    """What one call computes: whole pixels, in stacks of one resolution each.

    Its groups, blocks and pixels are those of its stacks, one layer after the other. A node is a quadrature point of a
    segment. Padding repeats what is there, with a weight of zero.
    """

    line: Any  # (line,) index of each segment that has nodes here
    module: Any  # (line,) its module
    segment: Any  # (node,) which of these the node lies on; flat, as the next three
    position: Any  # 0..1 along the part of the segment within its TPC
    x: Any  # cm, the centre of the pixel in the frame of the node's segment
    y: Any
    pixel: Any  # (group,) which of the chunk
    latest: Any  # (group,) last bin of its pixel at which its first window may begin
    first_bin: Any  # (group,) where the bins of its pixel begin among those of all rows of its layer
    stack: Any  # (group,) which of the stacks
    resolution: Any  # (stack, column) the `charge.Limits` of each
    block_pixel: Any  # (block,) which pixel of the chunk
    block_tick: Any  # (block,) its first tick, from the first of its pixel
    first_block: Any  # (pixel,)
    ticks: Any  # (pixel,) how many ticks its blocks have
    stacks: tuple[Stack, ...]


class Part(NamedTuple):
    """Chunks whose gradient is taken at once, as many as the memory holds. One entry per chunk in each."""

    chunks: tuple[Chunk, ...]
    responses: tuple[tuple[Any, ...], ...]  # folded for the resolution and pitch of each stack
    recorders: tuple[Any, ...]  # what stands behind their pixels


class Member(NamedTuple):
    """Who the pixels of a chunk are: NumPy."""

    pixels: Pixels  # without padding
    slot: np.ndarray  # (pixel,) where each is among those of the chunk
    padded: Pixels  # all of the chunk; those of padding are the first again
    blocks: Any  # where its waveforms are: `electronics.chip.Blocks`


class Members(NamedTuple):
    """Who the pixels of a part are."""

    chunks: tuple[Member, ...]
    first: int  # number of its first pixel in the batch

    @property
    def slots(self) -> list[np.ndarray]:
        """Of each chunk, where its pixels are."""
        return [member.slot for member in self.chunks]


@dataclass(frozen=True, eq=False)
class Fixed:
    """What no transformation of a batch touches: who its pixels are, and what its plan holds for."""

    members: tuple[Members, ...]  # of each part
    limits: np.ndarray  # (parameter, 2) lowest and highest value that the plan holds for, in the order of `Parameters`
    padding: float  # share of the work that is done on padding
    pixels: Pixels  # of all chunks, in the order of what `Simulator.charge` returns
    slots: Slots  # of what `Simulator.hits` returns
    ticks: int  # of the windows that hold all signals


class Batch(NamedTuple):
    """Segments and their plan on the device of a simulator. Made by `Simulator.prepare`."""

    deposits: Deposits
    frame: Frame
    parts: tuple[Part, ...]
    fixed: Fixed

    @property
    def segments(self) -> Deposits:
        """The differentiable part of the segments."""
        return self.deposits

    def all_pixels(self) -> Pixels:
        """The pixels of all chunks, in the order of what `Simulator.charge` returns."""
        return self.fixed.pixels
