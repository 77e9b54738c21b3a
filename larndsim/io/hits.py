"""Hits in and out: HDF5 with the tables `hits` and `mc_hits_assn`, and attributes that allow the run to be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import h5py
import numpy as np

from ..data.hits import HIT_FIELDS, PREDICTED_FIELDS
from .atomic import replacing
from .hdf5 import Output, PathLike, append, growing, opened, read_attributes, table_of, uninterrupted, write_attributes

# One row per hit and segment behind it: `hit` is the row in the table `hits`; the fractions of a hit sum to one.
TRUTH_FIELDS = [("hit", np.int64), ("event", np.int64), ("segment_id", np.int64), ("fraction", np.float64)]

_HITS, _TRUTH = np.dtype(HIT_FIELDS), np.dtype(TRUTH_FIELDS)
_MUST = "be an HDF5 file of hits"


class HitsWriter:
    """Writes hits part by part, to a file that takes its name when the block ends well.

    Those that are `predicted`, with their probability and spreads, have PREDICTED_FIELDS, too.

    >>> with HitsWriter("hits.h5", {"seed": 1}) as writer:  # doctest: +SKIP
    ...     writer.append(hits.numpy())
    """

    def __init__(self, path: PathLike, attributes: Mapping[str, Any] | None = None, predicted: bool = False) -> None:
        self.path = path
        self.fields = HIT_FIELDS + PREDICTED_FIELDS if predicted else HIT_FIELDS
        self.attributes = attributes or {}
        self.left_out = 0  # hits that the format cannot hold: none, here

    def __enter__(self) -> HitsWriter:
        with ExitStack() as stack:
            with uninterrupted():
                self._output = stack.enter_context(Output(stack.enter_context(replacing(self.path)), "w+"))
                self._file = stack.enter_context(h5py.File(self._output, "w"))
                write_attributes(self._file, self.attributes)
                self._hits = growing(self._file, "hits", np.dtype(self.fields))
                self._truth = growing(self._file, "mc_hits_assn", _TRUTH)
            self._stack = stack.pop_all()
        return self

    @uninterrupted()
    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @uninterrupted()
    def append(self, hits: np.ndarray, truth: np.ndarray | None = None, start: float = 0.0) -> None:
        """Add hits (fields of the file) and what is behind them (TRUTH_FIELDS, with `hit` counted within this part).

        `start`, when the event begins, is of no use here: each hit has its tick.
        """
        if truth is not None:
            truth = truth.astype(_TRUTH)
            truth["hit"] += len(self._hits)
            append(self._truth, truth)
        append(self._hits, hits)
        self._output.check()


def read_hits(path: PathLike, events: Iterable[int] | int | None = None) -> np.ndarray:
    """The hits of a file, or those of the given `events`: a structured array with HIT_FIELDS. Axis: (hit,).

    Predicted ones, of electronics expected, have PREDICTED_FIELDS, too.
    """
    with opened(path, "hits") as file:
        hits = table_of(file, "hits", _HITS, _MUST)[:]
    return hits if events is None else hits[_among(hits["event"], events)]


def read_hits_truth(path: PathLike, events: Iterable[int] | int | None = None) -> np.ndarray:
    """The segments behind the hits that `read_hits` gives, with TRUTH_FIELDS; `hit` counts these. Axis: (pair,)."""
    with opened(path, "hits") as file:
        hits = table_of(file, "hits", _HITS, _MUST)["event"]
        truth = table_of(file, "mc_hits_assn", _TRUTH, _MUST)[:]
    if events is None:
        return truth
    chosen = _among(hits, events)
    truth = truth[chosen[truth["hit"]]]
    truth["hit"] = (np.cumsum(chosen) - 1)[truth["hit"]]
    return truth


def read_hits_info(path: PathLike) -> dict[str, Any]:
    """How the hits of a file were made: its attributes."""
    with opened(path, "hits") as file:
        table_of(file, "hits", _HITS, _MUST)
        return read_attributes(file)


def _among(event: np.ndarray, events: Iterable[int] | int) -> np.ndarray:
    """Which entries belong to the given events."""
    wanted = list(events) if isinstance(events, Iterable) else [events]
    return np.isin(event, np.array(wanted, dtype=np.int64))
