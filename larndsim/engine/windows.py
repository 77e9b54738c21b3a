"""Waveforms, each in blocks of its own, on fixed windows: what `Simulator.charge` returns, and the way back from it.

Moving numbers about is linear: how waveforms move is laid out as they are. Axes: (block, tick) in the waveforms,
(pixel, tick) on the windows, (element, column) where the former are flat, with a column for each direction of motion.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import Derived, add_windows, held_outside, take, to_integer, windows


@cache
def on_windows(ticks: int) -> Derived:
    """Waveforms (block, tick) on windows of so many ticks, as a function of them and of what is known of each pixel.

    That is, of all pixels, the tick at which the waveform starts; then, of those that are wanted (pixel,), which of all
    they are, the tick at which the window begins, the first block, and how many ticks the blocks have.
    """
    return Derived(partial(_value, ticks), partial(_jvp, ticks), partial(_vjp, ticks), movers=1)


class _Places(NamedTuple):
    """Where the windows are in the flat waveforms, with a window of zeros before and behind these. Axis: (pixel,)."""

    first: Any
    last: Any  # the end of each waveform, without these zeros
    begin: Any  # column of the window at which the waveform begins; may lie outside of it
    end: Any  # and that after its end


def _places(ticks: int, length: int, starts: Any, pixel: Any, begins: Any, block: Any, own: Any) -> _Places:
    column = ep.minimum(ep.maximum(begins - to_integer(take(starts, pixel)), -ticks), own)  # at which the window begins
    return _Places(block * length + column + ticks, block * length + own - 1, -1 * column, own - column)


def _laid(ticks: int, flat: Any, length: int, places: tuple) -> Any:
    """A pixel has seen nothing before its signal starts, and its total after it ends. Axes: (pixel, tick, column)."""
    at, around = _places(ticks, length, *places), ep.zeros(flat, (ticks, flat.shape[1]))
    found = windows(ep.concatenate([around, flat, around]), at.first, ticks)
    return held_outside(found, at.begin, at.end, take(flat, at.last))


def _value(ticks: int, charge: Any, *places: Any) -> tuple[Any, tuple]:
    return _laid(ticks, charge.reshape((-1, 1)), charge.shape[1], places)[:, :, 0], ()


def _jvp(ticks: int, tensors: tuple, _: tuple, step: Any) -> Any:
    charge, *places = tensors
    flat = step.reshape((step.shape[0], -1)).transpose((1, 0))
    return _laid(ticks, flat, charge.shape[1], tuple(places)).transpose((2, 0, 1))


def _vjp(ticks: int, tensors: tuple, _: tuple, slope: Any, wanted: tuple[bool, ...]) -> tuple[Any, ...]:
    charge, *places = tensors
    at, size = _places(ticks, charge.shape[1], *places), charge.shape[0] * charge.shape[1]
    slope = ep.expand_dims(slope, 2)
    nothing = ep.zeros(slope, (slope.shape[0], 1))
    inside = held_outside(slope, at.begin, at.end, nothing)
    late = held_outside(slope, at.end, ep.full_like(at.end, ticks), nothing)
    flat = add_windows(inside, at.first, size + 2 * ticks)[ticks : ticks + size]
    ends = late.sum(axis=1, keepdims=True)
    return ((flat + add_windows(ends, at.last, size)).reshape(charge.shape),)
