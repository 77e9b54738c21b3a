"""Which electronics channel reads which pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .layout import Layout, planes


class Readout(NamedTuple):
    """The address of the channel behind each pixel. Axes: (plane, ix, iy), int16, -1 where there is none."""

    io_group: np.ndarray
    io_channel: np.ndarray
    chip: np.ndarray
    channel: np.ndarray


def build_readout(
    layouts: Sequence[Layout], io_groups: Sequence[Sequence[int]], shape: tuple[int, int, int]
) -> Readout:
    """The channel map of all modules. `io_groups[module]` lists the detector's number of each of its groups."""
    readout = Readout(*(np.full(shape, -1, dtype=np.int16) for _ in Readout._fields))
    for plane, (module, tpc) in enumerate(planes(layouts)):
        layout, groups = layouts[module], np.array(io_groups[module], dtype=np.int16)
        first = layout.first_pixels(tpc)
        for tile, (ix, iy) in zip(layout.tiles(tpc), first, strict=True):
            block = np.s_[plane, ix : ix + layout.chip.shape[0], iy : iy + layout.chip.shape[1]]
            for column, values in zip(readout, _tile(layout, int(tile), groups), strict=True):
                column[block] = values
    return readout


def _tile(layout: Layout, tile: int, groups: np.ndarray) -> Readout:
    """The channel map of one tile as it is mounted. Axes: (px, py), along x and y of the detector."""
    turned = tuple(slice(None, None, -1 if flip else 1) for flip in layout.flip[tile])
    chip, channel = layout.chip[turned], layout.channel[turned]
    io = layout.io[tile][chip]
    wired = io >= 0
    group = groups[np.where(wired, io // 1000, 1) - 1]
    return Readout(*(np.where(wired, values, -1) for values in (group, io % 1000, chip, channel)))
