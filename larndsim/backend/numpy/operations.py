"""What EagerPy lacks, for NumPy."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np
from scipy.special import erfc as erfc

batched_matmul = np.matmul
matmul = np.matmul
cos, sin = np.cos, np.sin
expm1, log1p = np.expm1, np.log1p


def take(values: Any, index: Any) -> Any:
    return values[index]


def cut(values: Any, first: int, count: int) -> Any:
    return values[first : first + count]


def take_along(values: Any, index: Any) -> Any:
    return np.take_along_axis(values, index, axis=1)


def laid_out(parts: list[Any], firsts: tuple[int, ...], rows: int) -> Any:
    whole = np.zeros((rows, *parts[0].shape[1:]), dtype=parts[0].dtype)
    for part, first in zip(parts, firsts, strict=True):
        whole[first : first + len(part)] = part
    return whole


def add_windows(values: Any, first: Any, size: int) -> Any:
    found = np.zeros((size, values.shape[2]), dtype=values.dtype)
    for row, window in zip(first, values, strict=True):
        found[row : row + len(window)] += window
    return found


def windows(values: Any, first: Any, width: int) -> Any:
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, width, axis=0)[first], 1, 2)


def held_outside(values: Any, first: Any, last: Any, after: Any) -> Any:
    found = np.array(values)
    for window, begin, end, held in zip(
        found, np.maximum(first, 0).tolist(), np.maximum(last, 0).tolist(), after, strict=True
    ):
        window[:begin] = 0.0
        window[end:] = held
    return found


def least(values: Any, owner: Any, count: int, otherwise: float) -> Any:
    found = np.full(count, otherwise, dtype=values.dtype)
    np.minimum.at(found, owner, values)
    return found


def sums_so_far(values: Any, owner: Any, backwards: bool) -> Any:
    if backwards:
        return sums_so_far(values[::-1], owner[::-1], False)[::-1]
    row = np.arange(len(owner))
    first = np.maximum.accumulate(np.where(owner != np.roll(owner, 1), row, 0))
    sums = values.cumsum(axis=0, dtype=np.float64)
    return (sums - (sums - values)[first]).astype(values.dtype)


def bell(x: Any, far: float) -> Any:
    values = np.minimum(x * x, far)
    np.negative(values, out=values)
    return np.exp(values, out=values)


def not_held(bells: Any, held: float) -> Any:
    return np.where(bells > held, bells, 0)


def cleared(values: Any, least: float) -> Any:
    return np.where(values > least, values, 0)


def floor(values: Any) -> Any:
    return np.floor(values)


def to_integer(values: Any) -> Any:
    with np.errstate(invalid="ignore"):  # what is no number is nowhere
        return values.astype(np.int32)


def to_real(values: Any, like: Any) -> Any:
    return values.astype(like.dtype)


def log_sum_exp(values: Any, axis: int) -> Any:
    top = values.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(values - top).sum(axis=axis))


def constant(values: Any) -> Any:
    return values


def running_maximum(values: Any) -> Any:
    return np.maximum.accumulate(values, axis=1)


def first_true(mask: Any) -> Any:
    return np.where(mask.any(axis=1), mask.argmax(axis=1), mask.shape[1]).astype(np.int32)


def rounded(values: Any) -> Any:
    return np.round(values)


def with_derivative(derived: Any, *arrays: Any) -> Any:
    return derived.value(*map(ep.astensor, arrays))[0].raw
