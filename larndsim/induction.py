"""What the channels of a pixel see of the clouds that arrive, bin by bin of arrival time; with its derivative.

With n for a node, i and j for the points of a face that carry the response, c for its channels, m for time bins:

    seen[c, m]    = sum over n of share[c, n] * weight[n] * bell(z),    z = (time[m] - late[n]) * rate[n]
    share[c, n]   = sum over i, j of mixing[c, i, j] * face(x[n])[i] * face(y[n])[j]
    face(x)[i]    = sum over points p of basis[i, p] * (bell((p - x) * scale) + bell((p + x) * scale))

The derivative is written out, forwards and backwards: bells are cheap, so that both compute them again rather than
keep them, and each comes down to a few matrix products.
Axes: (pixel, node) for what comes in; (pair,) is both, flat; (basis, pair), (pixel, channel, node), (pixel, node, bin);
the directions of a derivative come before all others.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import Derived, batched_matmul, bell, if_any, matmul, not_held, scan


class Nodes(NamedTuple):
    """What decides what is seen of a node. Axes: (pixel, node). Its derivatives are those by these six."""

    weight: Any  # electrons over the square of the transverse width (1/cm2) and over the sum of its bells in all bins
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
    return batched_matmul(share * _each(nodes.weight), bell(_lateness(nodes, tables))), Shares(x, y, share)


def _push(arrays: tuple[Any, ...], kept: tuple[Any, ...], *steps: Any) -> Any:
    """How what is seen moves with the nodes. `steps` (direction, pixel, node) are None where nothing moves."""
    nodes, tables, kept = *_inputs(*arrays), Shares(*kept)
    moving = Nodes(*steps[:6])
    z = _lateness(nodes, tables)
    bells = bell(z)
    held, slopes = _held(z, bells), _share_slopes(nodes, tables, kept, moving)
    in_time = {"late": (2.0 * nodes.weight * nodes.rate, held), "rate": (-2.0 * nodes.weight / nodes.rate, z * held)}

    def plus(factor: Any, slope: Any, moved: Any, step: Any) -> Any:
        return moved + batched_matmul(kept.share * _each(factor * step), slope)

    def one(step: Nodes) -> Any:
        parts = [share * _each(nodes.weight * getattr(step, name)) for name, share in slopes.items()]
        parts += [] if step.weight is None else [kept.share * _each(step.weight)]
        moved = batched_matmul(sum(parts) if parts else ep.zeros_like(kept.share), bells)
        for name, pair in in_time.items():
            if getattr(step, name) is not None:
                moved = if_any(getattr(step, name), partial(plus, *pair), moved)
        return moved

    return scan(lambda _, step: (None, one(step)), None, moving)[1]


def _pull(arrays: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, moving: tuple[bool, ...]) -> tuple[Any, ...]:
    """The transposed of `_push`: slopes (pixel, node) by the nodes from those by what is seen; None if not `moving`."""
    nodes, tables, kept = *_inputs(*arrays), Shares(*kept)
    wanted = Nodes(*(moves or None for moves in moving[:6]))
    z = (ep.expand_dims(tables.times, -1) - _each(nodes.late)) * _each(nodes.rate)  # (pixel, bin, node): faster here
    bells = bell(z)
    by_share = batched_matmul(slope, bells)
    found = {"weight": (kept.share * by_share).sum(axis=1)}
    for name, share in _share_slopes(nodes, tables, kept, wanted).items():
        found[name] = nodes.weight * (share * by_share).sum(axis=1)
    if wanted.late or wanted.rate:
        by_bell = batched_matmul(slope.transpose((0, 2, 1)), kept.share) * _held(z, bells)
        found["late"] = 2.0 * nodes.weight * nodes.rate * by_bell.sum(axis=1)
        found["rate"] = -2.0 * nodes.weight / nodes.rate * (by_bell * z).sum(axis=1)
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
