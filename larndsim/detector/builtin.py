"""Detectors that need no files: generated from a few numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .layout import Layout, io_table

N = 70  # pixels along each side of a tile
CHIP = 7  # pixels along each side of a chip
UNBONDED = (6, 7, 8, 9, 22, 23, 24, 25, 38, 39, 40, 54, 55, 56, 57)  # LArPix channels without a pixel


def module0() -> tuple[dict[str, Any], Layout]:
    """The values and the layout of module 0, the first full-size prototype: two TPCs of 2 x 4 tiles."""
    return {"drift_length": 30.27225}, module0_layout()


def module0_layout() -> Layout:
    """The tiles of module 0. Its channel map is a valid one, but not that of the real module."""
    columns, rows = (-15.52, 15.52), (46.52, 15.52, -15.52, -46.52)  # centres of the tiles, cm
    centre = np.array([(x, y, z) for z in (-30.431, 30.431) for y in rows for x in columns])
    side = centre[:, 0] > 0
    chip, channel = _pixel_map()
    return Layout(
        name="module0",
        pitch=0.4434,
        chip=chip,
        channel=channel,
        io=io_table([_io(tile) for tile in range(len(centre))], int(chip.max())),
        tpc=(centre[:, 2] > 0).astype(np.int64),
        centre=centre,
        flip=np.stack([side, side], axis=1),  # the tiles on one side are mounted with half a turn
        tpc_centre=np.tile([0.0, -21.8236, 0.0], (2, 1)),
    )


def _pixel_map() -> tuple[np.ndarray, np.ndarray]:
    """(px, py) tables: 10 x 10 chips, 11 to 110, each with 49 of its 64 channels on 7 x 7 pixels."""
    px, py = np.meshgrid(np.arange(N), np.arange(N), indexing="ij")
    chip = 11 + px // CHIP + (N // CHIP) * (py // CHIP)
    channel = np.setdiff1d(np.arange(64), UNBONDED)[px % CHIP + CHIP * (py % CHIP)]
    return chip.astype(np.int16), channel.astype(np.int16)


def _io(tile: int) -> dict[int, int]:
    """{chip: io} of one tile: an io group per TPC, four io channels per tile, 25 chips per io channel."""
    group, slot = 1 + tile // 8, tile % 8
    return {chip: group * 1000 + 1 + 4 * slot + (chip - 11) // 25 for chip in range(11, 111)}


BUILTIN: dict[str, Callable[[], tuple[dict[str, Any], Layout]]] = {"module0": module0}
