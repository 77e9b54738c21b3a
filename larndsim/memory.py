"""How much memory a batch takes: estimated from its shapes, before anything is computed.

What is simulated at once is a part of a batch, as many size classes as the memory holds (`split`): its gradient takes
the most, for it holds what each class keeps for the way back. Of several parts each is computed again on that way, so
that only one is held. Sizes in bytes, beside the libraries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from .data.batch import Batch
from .errors import ArgumentError
from .response import BLOCK, SPAN

UNITS = {"": 1.0, "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
ITEM = {"float32": 4, "float64": 8}


class Footprint(NamedTuple):
    """What a batch takes."""

    resident: float  # as long as it lives
    hits: float  # at the peak of its hits
    gradient: float  # at the peak of a gradient of its hits, backwards


class Numbers(NamedTuple):
    """How many numbers the arrays of a size class hold."""

    rows: float  # pixels
    slots: float  # places of nodes
    bells: float  # of each of them: bins of arrival time, and products of faces
    seen: float  # channels and bins of each row
    ticks: float  # of each row


RESIDENT = 6.0  # numbers per slot


def numbers(rows: int, nodes: int, bins: int, ticks: int, basis: int, channels: int) -> Numbers:
    """Of a size class; `bins` and `ticks` of a row."""
    slots = rows * nodes
    return Numbers(rows, slots, slots * (bins + basis**2), rows * channels * bins, rows * ticks)


def split(sizes: list[Numbers], backend: Any, memory: float) -> list[slice]:
    """Size classes, in order, in as few parts as the memory allows; each has one at least."""
    item, cost = ITEM[backend.dtype], backend.gradient_cost
    room = memory / item - cost.least - sum(RESIDENT * n.slots + cost.rows * n.rows for n in sizes)
    if room < sum(map(cost.of, sizes)):
        room /= cost.several
    borders, held = [0], 0.0
    for index, size in enumerate(map(cost.of, sizes)):
        if held and held + size > room:
            borders.append(index)
            held = 0.0
        held += size
    return [slice(*pair) for pair in zip(borders, [*borders[1:], len(sizes)], strict=True)] if sizes else []


def footprint(batch: Batch, backend: Any) -> Footprint:
    """The memory that a batch takes."""
    parts = [list(_sizes(part)) for part in batch.parts]
    item = ITEM[backend.dtype]
    resident = item * RESIDENT * sum(n.slots for sizes in parts for n in sizes)

    def peak(cost: Any) -> float:
        rows = sum(n.rows for sizes in parts for n in sizes)
        part = max((sum(map(cost.of, sizes)) for sizes in parts), default=0.0)
        return resident + item * (cost.least + cost.rows * rows + part * (cost.several if len(parts) > 1 else 1.0))

    hits = peak(backend.hits_cost)
    return Footprint(resident, hits, max(hits, peak(backend.gradient_cost)))


def _sizes(part: Any) -> Iterable[Numbers]:
    for size, response in zip(part.classes, part.responses, strict=True):
        channels, bins = response.mixing.shape[0], size.times.shape[0]
        ticks = (bins // response.bins - 1) * BLOCK + SPAN
        rows, nodes = size.weight.shape
        yield numbers(rows, nodes, bins, ticks, response.basis.shape[0], channels)


def bytes_of(text: Any) -> float:
    """2GB -> 2e9"""
    number = str(text).strip().upper().rstrip("KMGTIB ")
    unit = str(text).strip().upper()[len(number) :].strip()
    try:
        bytes_ = float(number) * UNITS[unit]
        if not math.isfinite(bytes_) or bytes_ <= 0:
            raise ValueError(number)
        return bytes_
    except (ValueError, KeyError):
        but = f"it is {text!r}"
        raise ArgumentError("memory", "be a number of bytes with its unit", but, "Write 500MB or 2GB.") from None
