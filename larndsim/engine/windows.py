"""Waveforms, each in blocks of its own, on fixed windows: what `Simulator.charge` returns, and the way back from it.

Moving numbers about is linear: how waveforms move is laid out as they are. Axes: (block, tick) in the waveforms,
(pixel, tick) on the windows, (element, column) where the former are flat, with a column for each direction of motion.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import Derived, add_windows, take, to_integer, windows


@cache
def on_windows(ticks: int) -> Derived:
    """Waveforms (block, tick) on windows of so many ticks, as a function of them and of what is known of each pixel.

    That is (pixel,): the tick at which its waveform starts, that at which its window begins, the first of its blocks,
    and how many ticks these have.
    """
    return Derived(partial(_value, ticks), partial(_jvp, ticks), partial(_vjp, ticks), movers=1)


class _Places(NamedTuple):
    """Where the windows are in the flat waveforms, with a window of zeros before and behind these."""

    first: Any  # (pixel,)
    last: Any  # (pixel,) the end of each waveform, without these zeros
    seen: Any  # (pixel, tick) false before the waveform starts
    after: Any  # (pixel, tick) true after it ends


def _places(ticks: int, length: int, start: Any, begins: Any, block: Any, own: Any) -> _Places:
    column = ep.minimum(ep.maximum(begins - to_integer(start), -ticks), own)  # at which the window begins
    columns = ep.expand_dims(column, 1) + ep.expand_dims(ep.arange(column, ticks), 0)
    return _Places(
        block * length + column + ticks, block * length + own - 1, columns >= 0, columns >= ep.expand_dims(own, 1)
    )


def _laid(ticks: int, flat: Any, length: int, places: tuple) -> Any:
    """A pixel has seen nothing before its signal starts, and its total after it ends. Axes: (pixel, tick, column)."""
    at, around = _places(ticks, length, *places), ep.zeros(flat, (ticks, flat.shape[1]))
    found = windows(ep.concatenate([around, flat, around]), at.first, ticks)
    found = ep.where(ep.expand_dims(at.seen, 2), found, 0.0)
    return ep.where(ep.expand_dims(at.after, 2), ep.expand_dims(take(flat, at.last), 1), found)


def _value(ticks: int, charge: Any, *places: Any) -> tuple[Any, tuple]:
    return _laid(ticks, charge.reshape((-1, 1)), charge.shape[1], places)[:, :, 0], ()


def _jvp(ticks: int, tensors: tuple, _: tuple, step: Any) -> Any:
    charge, *places = tensors
    flat = step.reshape((step.shape[0], -1)).transpose((1, 0))
    return _laid(ticks, flat, charge.shape[1], tuple(places)).transpose((2, 0, 1))


def _vjp(ticks: int, tensors: tuple, _: tuple, slope: Any, wanted: tuple[bool, ...]) -> tuple[Any, ...]:
    charge, *places = tensors
    at, size = _places(ticks, charge.shape[1], *places), charge.shape[0] * charge.shape[1]
    late = ep.where(at.after, slope, 0.0)
    inside = ep.where(at.seen, slope - late, 0.0)
    flat = add_windows(ep.expand_dims(inside, 2), at.first, size + 2 * ticks)[ticks : ticks + size]
    ends = late.sum(axis=1).reshape((-1, 1, 1))
    return ((flat + add_windows(ends, at.last, size)).reshape(charge.shape),)
