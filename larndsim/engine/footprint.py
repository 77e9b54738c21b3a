"""How much memory a batch takes: estimated from its shapes, before anything is computed.

What is simulated at once is a part of a batch, as many chunks as the memory holds (`split`): of each, a gradient
keeps what it needs on its way back. Of several parts each is computed again on that way, so that only one is held.
Sizes in bytes, beside the libraries.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..charge import Folded
from ..data.batch import Batch, Chunk
from ..errors import ArgumentError
from ..response import Sampling

UNITS = {"": 1.0, "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
ITEM = {"float32": 4, "float64": 8}


class Footprint(NamedTuple):
    """What a batch takes."""

    resident: float  # as long as it lives
    hits: float  # at the peak of its hits
    gradient: float  # at the peak of a gradient of its hits, backwards


class Numbers(NamedTuple):
    """How many numbers the arrays of a chunk hold."""

    ticks: float  # of its waveforms
    nodes: float  # with padding
    kept: float  # of each of them: channels, and points of two faces
    bells: float  # bins of arrival time, and products of faces


RESIDENT = 6.0  # numbers per node
MARGIN = 0.85  # of the memory is what parts are cut for: estimates are that good
IDLE = 10e6  # bytes that lie between the pieces of memory that are in use


def numbers_of(chunk: Chunk, responses: tuple[Folded, ...], sampling: Sampling) -> Numbers:
    """Of a chunk."""
    nodes = kept = bells = 0
    for stack, r in zip(chunk.stacks, responses, strict=True):
        own, basis = math.prod(stack.weight.shape), r.basis.shape[1]
        nodes, kept = nodes + own, kept + own * (r.mixing.shape[1] + 2 * basis)
        bells = max(bells, own // stack.weight.shape[0] * (r.times.shape[0] + basis**2))
    return Numbers(chunk.block_tick.shape[0] * sampling.block, nodes, kept, bells)


def split(sizes: list[Numbers], backend: Any, memory: float) -> list[slice]:
    """Chunks, in order, in as few parts as the memory allows; each has one at least."""
    cost = backend.gradient_cost
    room = (MARGIN * memory - IDLE) / ITEM[backend.dtype] - _shared(cost, sizes)
    borders, kept, bells = [0], 0.0, 0.0
    for index, size in enumerate(sizes):
        kept, bells = kept + size.kept, max(bells, size.bells)
        if index > borders[-1] and cost.kept * kept + cost.bells * bells > room:
            borders.append(index)
            kept, bells = size.kept, size.bells
    return [slice(*pair) for pair in zip(borders, [*borders[1:], len(sizes)], strict=True)] if sizes else []


def footprint(batch: Batch, backend: Any, sampling: Sampling) -> Footprint:
    """The memory that a batch takes."""
    parts = [
        [numbers_of(*pair, sampling) for pair in zip(part.chunks, part.responses, strict=True)] for part in batch.parts
    ]
    everything = [size for part in parts for size in part]

    def peak(cost: Any) -> float:
        held = _shared(cost, everything) + max((_at_work(cost, part) for part in parts), default=0)
        return ITEM[backend.dtype] * held + IDLE

    hits = peak(backend.hits_cost)
    resident = ITEM[backend.dtype] * RESIDENT * sum(size.nodes for size in everything)
    return Footprint(resident, hits, max(hits, peak(backend.gradient_cost)))


def _shared(cost: Any, sizes: list[Numbers]) -> float:
    """Numbers that a batch of these chunks holds all the time."""
    return sum(RESIDENT * size.nodes + cost.ticks * size.ticks for size in sizes)


def _at_work(cost: Any, sizes: list[Numbers]) -> float:
    """Numbers that a part of these chunks holds while it is at work."""
    return cost.kept * sum(size.kept for size in sizes) + cost.bells * max(size.bells for size in sizes)


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
