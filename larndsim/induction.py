"""What the channels of a pixel see of the clouds that arrive, bin by bin of arrival time; with its derivative.

With n for a node, i and j for the points of a face that carry the response, c for its channels, m for time bins:

    seen[c, m]    = sum over n of share[c, n] * weight[n] * bell(z),    z = (time[m] - late[n]) * rate[n]
    weight[n]     = amplitude[n] / sum over m of bell(z)
    share[c, n]   = sum over i, j of mixing[c, i, j] * face(x[n])[i] * face(y[n])[j]
    face(x)[i]    = sum over points p of basis[i, p] * (bell((p - x) * scale) + bell((p + x) * scale))

Divided by that sum, no charge is lost, however coarse the bins are. The derivative is written out, forwards and
backwards: bells are cheap, so that both compute them again rather than keep them, and each comes down to a few matrix
products.
Axes: (pixel, node) for what comes in; (pair,) is both, flat; (basis, pair), (pixel, channel, node), (pixel, node, bin);
the directions of a derivative come before all others.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import Derived, batched_matmul, bell, cos, if_any, matmul, not_held, scan, sin


class Nodes(NamedTuple):
    """What decides what is seen of a node. Axes: (pixel, node). Its derivatives are those by these six."""

    amplitude: Any  # electrons over the square of the transverse width, 1/cm2
    x: Any  # cm from the pixel's centre
    y: Any
    scale: Any  # 1/cm, one over the transverse width and the root of two
    late: Any  # us from the first bin
    rate: Any  # 1/us, one over the width in time and the root of two


class Tables(NamedTuple):
    """What stays as it is."""

    points: Any  # (point, 1) cm
    basis: Any  # (basis, point)
    mixing: Any  # (channel, basis * basis)
    times: Any  # (bin,) us


class Shares(NamedTuple):
    """What is kept for the derivatives."""

    x: Any  # (basis, pair) the faces
    y: Any
    share: Any  # (pixel, channel, node)


def _value(*arrays: Any) -> tuple[Any, Shares]:
    """What is seen (pixel, channel, bin) of `Nodes` through `Tables`."""
    nodes, tables = _inputs(*arrays)
    x, y = (_face(_flat(offset), _flat(nodes.scale), tables) for offset in (nodes.x, nodes.y))
    share = _by_pixel(matmul(tables.mixing, _products(x, y)), nodes)
    weight = nodes.amplitude / _sums(nodes, tables).total
    return batched_matmul(share * _each(weight), bell(_lateness(nodes, tables))), Shares(x, y, share)


def _push(arrays: tuple[Any, ...], kept: tuple[Any, ...], *steps: Any) -> Any:
    """How what is seen moves with the nodes. `steps` (direction, pixel, node) are None where nothing moves."""
    nodes, tables, kept = *_inputs(*arrays), Shares(*kept)
    moving, sums = Nodes(*steps[:6]), _sums(nodes, tables)
    weight, z = nodes.amplitude / sums.total, _lateness(nodes, tables)
    bells = bell(z)
    held, in_space = _held(z, bells), _share_slopes(nodes, tables, kept, moving)
    in_time = {
        "late": (2.0 * weight * nodes.rate, held, weight * sums.by_late),
        "rate": (-2.0 * weight / nodes.rate, z * held, weight * sums.by_rate),
    }
    in_time = {name: slopes for name, slopes in in_time.items() if getattr(moving, name) is not None}

    def plus(factor: Any, slope: Any, moved: Any, step: Any) -> Any:
        return moved + batched_matmul(kept.share * _each(factor * step), slope)

    def one(step: Nodes) -> Any:
        change = ep.zeros_like(weight) if step.amplitude is None else step.amplitude / sums.total
        change = change - sum(by_sum * getattr(step, name) for name, (*_, by_sum) in in_time.items())
        parts = (share * _each(weight * getattr(step, name)) for name, share in in_space.items())
        moved = batched_matmul(sum(parts, start=kept.share * _each(change)), bells)
        for name, (factor, slope, _) in in_time.items():
            moved = if_any(getattr(step, name), partial(plus, factor, slope), moved)
        return moved

    return scan(lambda _, step: (None, one(step)), None, moving)[1]


def _pull(arrays: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, moving: tuple[bool, ...]) -> tuple[Any, ...]:
    """The transposed of `_push`: slopes (pixel, node) by the nodes from those by what is seen; None if not `moving`."""
    nodes, tables, kept = *_inputs(*arrays), Shares(*kept)
    wanted = Nodes(*(moves or None for moves in moving[:6]))
    z = (ep.expand_dims(tables.times, -1) - _each(nodes.late)) * _each(nodes.rate)  # (pixel, bin, node): faster here
    bells, sums = bell(z), _sums(nodes, tables)
    weight, by_share = nodes.amplitude / sums.total, batched_matmul(slope, bells)
    by_weight = (kept.share * by_share).sum(axis=1)
    found = {"amplitude": by_weight / sums.total}
    for name, share in _share_slopes(nodes, tables, kept, wanted).items():
        found[name] = weight * (share * by_share).sum(axis=1)
    if wanted.late or wanted.rate:
        held = _held(z, bells)
        by_late, by_rate = ((kept.share * batched_matmul(slope, each)).sum(axis=1) for each in (held, z * held))
        found["late"] = weight * (2.0 * nodes.rate * by_late - sums.by_late * by_weight)
        found["rate"] = weight * (-2.0 / nodes.rate * by_rate - sums.by_rate * by_weight)
    return *(found[name] if moves else None for name, moves in wanted._asdict().items()), *(None,) * len(tables)


SEEN_BY_CHANNELS = Derived(_value, _push, _pull)


def _inputs(*arrays: Any) -> tuple[Nodes, Tables]:
    return Nodes(*arrays[:6]), Tables(*arrays[6:])


def _share_slopes(nodes: Nodes, tables: Tables, kept: Shares, moving: Nodes) -> dict[str, Any]:
    """Derivatives of the shares by those of x, y and scale that move, the others are None."""
    scale, products = _flat(nodes.scale), {}
    if moving.x is not None:
        products["x"] = _products(_face_by_offset(_flat(nodes.x), scale, tables), kept.y)
    if moving.y is not None:
        products["y"] = _products(kept.x, _face_by_offset(_flat(nodes.y), scale, tables))
    if moving.scale is not None:
        x, y = (_face_by_scale(_flat(offset), scale, tables) for offset in (nodes.x, nodes.y))
        products["scale"] = _products(x, kept.y) + _products(kept.x, y)
    return {name: _by_pixel(matmul(tables.mixing, each), nodes) for name, each in products.items()}


class Sums(NamedTuple):
    """The sum of each node's bells in all bins, however many there are, and its relative slopes. (pixel, node)."""

    total: Any
    by_late: Any
    by_rate: Any


def _sums(nodes: Nodes, tables: Tables) -> Sums:
    """By Poisson's formula, whose terms fall so fast that three are enough for bins that resolve the bell."""
    width = tables.times[1:2] - tables.times[:1]
    z = math.pi / (width * nodes.rate)
    phase = 2.0 * math.pi / width * nodes.late
    first, second = 2.0 * ep.exp(-1.0 * z * z), 2.0 * ep.exp(-4.0 * z * z)
    waves = 1.0 + first * cos(phase) + second * cos(2.0 * phase)
    by_phase = first * sin(phase) + 2.0 * second * sin(2.0 * phase)
    by_z = first * cos(phase) + 4.0 * second * cos(2.0 * phase)
    return Sums(
        total=z / math.sqrt(math.pi) * waves,
        by_late=-2.0 * math.pi / width * by_phase / waves,
        by_rate=(2.0 * z * z * by_z / waves - 1.0) / nodes.rate,
    )


def _lateness(nodes: Nodes, tables: Tables) -> Any:
    """Distance of each bin from each node's arrival, in widths over the root of two. Axes: (pixel, node, bin)."""
    return (tables.times - ep.expand_dims(nodes.late, -1)) * ep.expand_dims(nodes.rate, -1)


def _face(offset: Any, scale: Any, tables: Tables) -> Any:
    """Charge on the points of half a face, both halves folded. Axes: (basis, pair)."""
    return matmul(tables.basis, bell((tables.points - offset) * scale) + bell((tables.points + offset) * scale))


def _face_by_offset(offset: Any, scale: Any, tables: Tables) -> Any:
    left, right = (tables.points - offset) * scale, (tables.points + offset) * scale
    return matmul(tables.basis, 2.0 * scale * (_held(left, bell(left)) - _held(right, bell(right))))


def _face_by_scale(offset: Any, scale: Any, tables: Tables) -> Any:
    left, right = (tables.points - offset) * scale, (tables.points + offset) * scale
    return matmul(tables.basis, -2.0 / scale * (left * _held(left, bell(left)) + right * _held(right, bell(right))))


def _held(x: Any, value: Any) -> Any:
    """x * bell(x), of which the derivatives of a bell are made: nothing where the bell is held. `value` is the bell."""
    return x * not_held(value)


def _products(x: Any, y: Any) -> Any:
    """All products of a row of x with one of y. Axes: (basis * basis, pair)."""
    return (ep.expand_dims(x, 1) * ep.expand_dims(y, 0)).reshape((-1, x.shape[1]))


def _by_pixel(mixed: Any, nodes: Nodes) -> Any:
    """(channel, pair) -> (pixel, channel, node)."""
    return mixed.reshape((-1, *nodes.x.shape)).transpose((1, 0, 2))


def _each(values: Any) -> Any:
    """(pixel, node), for all channels."""
    return ep.expand_dims(values, 1)


def _flat(values: Any) -> Any:
    return values.reshape((-1,))
