"""What a file holds, without reading all of it at once."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from .hdf5 import PathLike, opened, table_of
from .segments import _dataset_of, _event_of

KINDS = {"segments": ("segments", "tracks"), "packets": ("packets",), "hits": ("hits",)}
_ROWS = 2**20  # rows that are read at once


def event_counts(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """The events of a file of segments, in the order in which it first names them, and how many segments each has."""
    with opened(path, "segments") as file:
        event = _event_of(_dataset_of(file, path))
    events, first, count = np.unique(event, return_index=True, return_counts=True)
    order = np.argsort(first)
    return events[order], count[order]


def kind_of(path: PathLike) -> str | None:
    """segments, packets or hits; None for an HDF5 file of something else."""
    return next(iter(kinds_of(path)), None)


def kinds_of(path: PathLike) -> tuple[str, ...]:
    """What a file holds of segments, packets and hits: other simulators write packets beside the segments."""
    with opened(path, "segments, hits or packets") as file:
        return tuple(
            kind for kind, names in KINDS.items() if any(isinstance(file.get(name), h5py.Dataset) for name in names)
        )


def ranges_of(path: PathLike, dataset: str) -> tuple[int, dict[str, tuple[Any, Any]]]:
    """Number of rows of a table, and the smallest and largest value of each of its columns of numbers."""
    ranges: dict[str, tuple[Any, Any]] = {}
    with opened(path, "tables") as file:
        table = table_of(file, dataset, np.dtype([]), f"be an HDF5 file with a table `{dataset}`")
        for begin in range(0, len(table), _ROWS):
            rows = table[begin : begin + _ROWS]
            for name in (name for name in rows.dtype.names if rows.dtype[name].kind in "iuf"):
                low, high = rows[name].min(), rows[name].max()
                known = ranges.get(name, (low, high))
                ranges[name] = min(low, known[0]), max(high, known[1])
        return len(table), ranges
