"""What the channels of a pixel see of the clouds that arrive, bin by bin of arrival time; with its derivative.

With n for a node, i and j for the points of a face that carry the response, c for its channels, m for time bins:

    seen[c, m]    = sum over n of amplitude[n] * share[c, n] * density[n, m] / sum over m of density[n, m]
    share[c, n]   = sum over i, j of mixing[c, i, j] * face(x[n])[i] * face(y[n])[j]
    density[n, m] = bell((time[m] - late[n]) * rate[n])
    face(x)[i]    = sum over points p of basis[i, p] * (bell((p - x) * scale) + bell((p + x) * scale))

Divided by its sum, the density loses no charge, however coarse the bins are. The derivative is written out: all its
directions share the bells and their slopes, and each costs no more than a few matrix products.
Axes: (pixel, node) for what comes in; (pair,) is both, flat; (point, pair), (basis, pair), (channel, pair).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import FAR, batched_matmul, bell, matmul


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


def seen_by_channels(*arrays: Any) -> tuple[Any, Callable[..., Any]]:
    """What is seen (pixel, channel, bin) of `Nodes` through `Tables`, and how it moves with the nodes.

    The second takes one direction: as many tensors, None for what does not move.
    """
    nodes, tables = Nodes(*arrays[:6]), Tables(*arrays[6:])
    density = bell(_lateness(nodes, tables))
    faces = [_face(_flat(offset), _flat(nodes.scale), tables) for offset in (nodes.x, nodes.y)]
    share = _mixed(_products(*faces), nodes, tables)
    weight = nodes.amplitude / density.sum(axis=-1)
    seen = batched_matmul(_by_pixel(share * weight), density)
    return seen, lambda *moved: _moved(nodes, tables, density, faces, share, weight, Nodes(*moved[:6]))


def _moved(nodes: Nodes, tables: Tables, density: Any, faces: list[Any], share: Any, weight: Any, moved: Nodes) -> Any:
    """The derivative of what is seen in one direction."""
    by_late, by_rate = _density_slopes(nodes, tables, density)
    total = density.sum(axis=-1)
    change = _sum(
        _times(1.0 / total, moved.amplitude),
        _times(-weight * by_late.sum(axis=-1) / total, moved.late),
        _times(-weight * by_rate.sum(axis=-1) / total, moved.rate),
    )
    slopes = _share_slopes(nodes, tables, faces, moved)
    products = [
        (_sum(_times(share, change), *(_times(slope * weight, step) for slope, step in slopes)), density),
        (_times(share * weight, moved.late), by_late),
        (_times(share * weight, moved.rate), by_rate),
    ]
    return _sum(*(batched_matmul(_by_pixel(part), bells) for part, bells in products if part is not None))


def _density_slopes(nodes: Nodes, tables: Tables, density: Any) -> tuple[Any, Any]:
    """Derivatives of the density by `late` and `rate`. Axes: (pixel, node, bin)."""
    z, rate = _lateness(nodes, tables), ep.expand_dims(nodes.rate, -1)
    slope = -2.0 * _held(z, density)
    return -rate * slope, z / rate * slope


def _share_slopes(nodes: Nodes, tables: Tables, faces: list[Any], moved: Nodes) -> list[tuple[Any, Any]]:
    """Derivatives of the shares by x, y and scale, each with the step that it belongs to, where there is one."""
    scale = _flat(nodes.scale)
    found = []
    for axis, (offset, step) in enumerate(((nodes.x, moved.x), (nodes.y, moved.y))):
        if step is not None:
            pair = list(faces)
            pair[axis] = _face_by_offset(_flat(offset), scale, tables)
            found.append((_mixed(_products(*pair), nodes, tables), step))
    if moved.scale is not None:
        x, y = (_face_by_scale(_flat(offset), scale, tables) for offset in (nodes.x, nodes.y))
        found.append((_mixed(_products(x, faces[1]) + _products(faces[0], y), nodes, tables), moved.scale))
    return found


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
    return ep.where(x * x < FAR, x * value, ep.zeros_like(value))


def _products(x: Any, y: Any) -> Any:
    """All products of a row of x with one of y. Axes: (basis * basis, pair)."""
    return (ep.expand_dims(x, 1) * ep.expand_dims(y, 0)).reshape((-1, x.shape[1]))


def _mixed(products: Any, nodes: Nodes, tables: Tables) -> Any:
    """Products of faces -> channels. Axes: (channel, pixel, node)."""
    return matmul(tables.mixing, products).reshape((-1, *nodes.x.shape))


def _by_pixel(share: Any) -> Any:
    return share.transpose((1, 0, 2))


def _flat(values: Any) -> Any:
    return values.reshape((-1,))


def _times(values: Any, step: Any) -> Any:
    """The product, or None for what does not move."""
    return None if step is None or values is None else values * step


def _sum(*parts: Any) -> Any:
    """The sum of what there is; None if there is nothing."""
    parts = tuple(part for part in parts if part is not None)
    return sum(parts[1:], start=parts[0]) if parts else None
