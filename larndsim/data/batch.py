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
    """The pixels of a size class, without its padding. Axis: (pixel,). NumPy arrays, identifiers as in the segments."""

    event: Any
    plane: Any
    ix: Any
    iy: Any
    start: Any  # us, when the window that holds the signal for all parameters within bounds begins
    reference: Any  # the reference time of their burst of deposits, whole ticks
    burst: Any  # number of that burst within the event


class Bunch(NamedTuple):
    """Nodes of the pixels of some size classes, one class after the other: they drift together. Axis: (node,).

    A node is a quadrature point of a segment. Padding repeats a real one.
    """

    segment: Any  # index of the node's segment
    position: Any  # 0..1 along the part of the segment within its TPC
    x: Any  # cm, the centre of the pixel in the frame of the node's segment
    y: Any


class SizeClass(NamedTuple):
    """Pixels of about equal size, padded to one shape. Axes: (pixel, node), (bin,)."""

    weight: Any  # share of the charge of its segment that a node stands for; zero for padding
    times: Any  # (bin,) us, bins of arrival time of the signal's own, moving window


class Window(NamedTuple):
    """What holds the signals of a group for all parameters within bounds. Axes: (row,), (tick,)."""

    first_tick: Any  # where the window of each pixel starts
    ticks: Any  # 0, 1, ... of it


class Group(NamedTuple):
    """Size classes whose pixels are recorded together."""

    classes: tuple[int, ...]  # those with the longest signals first
    firsts: tuple[int, ...]  # row of the group where each begins; the padding of the one before ends there
    size: int  # pixels
    pixels: Pixels  # of all rows: the padding at the end repeats the last


class Place(NamedTuple):
    """Where the nodes of a size class are."""

    bunch: int
    first: int  # node of it


class Members(NamedTuple):
    """Who the pixels of a part are."""

    pixels: tuple[Pixels, ...]  # of each size class
    places: tuple[Place, ...]  # of each size class
    groups: tuple[Group, ...]
    first: int = 0  # number of its first pixel in the batch


class Part(NamedTuple):
    """Pixels that are simulated at once, as many as the memory holds.

    One entry per size class in `classes` and `responses`, one per group of them in `windows` and `recorders`.
    """

    bunches: tuple[Bunch, ...]
    classes: tuple[SizeClass, ...]
    responses: tuple[Any, ...]
    windows: tuple[Window, ...]
    recorders: tuple[Any, ...]  # what stands behind the pixels of each group


@dataclass(frozen=True, eq=False)
class Fixed:
    """What no transformation of a batch touches: who its pixels are, and what its plan holds for."""

    members: tuple[Members, ...]  # of each part
    limits: np.ndarray  # (parameter, 2) lowest and highest value that the plan holds for, in the order of `Parameters`
    padding: float  # share of the work that is done on padding
    pixels: Pixels  # of all classes, in the order of what `Simulator.charge` returns
    slots: Slots  # of what `Simulator.hits` returns


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
        """The pixels of all classes, in the order of what `Simulator.charge` returns."""
        return self.fixed.pixels


def joined(parts: tuple[Pixels, ...]) -> Pixels:
    """All pixels of the parts, one after the other."""
    none = np.zeros(0, dtype=np.int64)
    nothing = Pixels(none, none, none, none, np.zeros(0), none, none)
    return Pixels._make(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))
