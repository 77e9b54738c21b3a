"""Derivatives of what decides what is seen of a node, and of its share of the charge, written out.

Axes as in `charge`; the directions of a derivative come before all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import bell, matmul, not_held, to_real
from ..charge import Cloud, Folded, Limits, Nodes, share


class NodeSlopes(NamedTuple):
    """Derivatives of `Nodes` by their `Cloud`, where not one. Axes: (group, node)."""

    amplitude_by_charge: Any
    amplitude_by_variance: Any
    scale_by_variance: Any
    rate_by_variance: Any


class Faces(NamedTuple):
    """What is kept of each layer for the derivatives."""

    x: Any  # (pair, basis) the faces
    y: Any
    share: Any  # (group, node, channel)


def node_slopes(nodes: Nodes, cloud: Cloud, weight: Any, limits: Limits) -> NodeSlopes:
    """Zero by variances that are less than what is resolved."""
    density = 2.0 * nodes.scale * nodes.scale
    wide = to_real(cloud.variance_T > limits.variance_T, density)
    long = to_real(cloud.variance_t - limits.held > limits.variance_t, density)
    return NodeSlopes(
        amplitude_by_charge=density * weight,
        amplitude_by_variance=-1.0 * wide * density * nodes.amplitude,
        scale_by_variance=-0.5 * wide * density * nodes.scale,
        rate_by_variance=-1.0 * long * nodes.rate * nodes.rate * nodes.rate,
    )


def node_steps(step: Cloud, slopes: NodeSlopes) -> Nodes:
    """How nodes move with their clouds; None where they do not."""
    by_charge, by_variance = (slopes.amplitude_by_charge, step.charge), (slopes.amplitude_by_variance, step.variance_T)
    return Nodes(
        amplitude=added((times(*by_charge), times(*by_variance))),
        x=step.x,
        y=step.y,
        scale=times(slopes.scale_by_variance, step.variance_T),
        late=step.arrival,
        rate=times(slopes.rate_by_variance, step.variance_t),
    )


def times(slope: Any, step: Any) -> Any:
    """How something moves with a step that may be none."""
    return None if step is None else slope * step


def added(parts: Iterable[Any]) -> Any:
    """The sum of those that are not None; None if all are."""
    there = [part for part in parts if part is not None]
    return reduce(add, there) if there else None


def cloud_slopes(found: dict[str, Any], slopes: NodeSlopes) -> dict[str, Any]:
    """Slopes by the clouds from those that were `found` by the nodes."""
    by_clouds = {"charge": slopes.amplitude_by_charge * found["amplitude"], "arrival": found.get("late")}
    by_clouds |= {name: found[name] for name in ("x", "y") if name in found}
    if "scale" in found:
        by_scale = slopes.scale_by_variance * found["scale"]
        by_clouds["variance_T"] = slopes.amplitude_by_variance * found["amplitude"] + by_scale
    if "rate" in found:
        by_clouds["variance_t"] = slopes.rate_by_variance * found["rate"]
    return by_clouds


class _Edges(NamedTuple):
    """Of the faces along x, then of those along y: x * bell(x) on both halves, and x itself. Axes: (face, point)."""

    left: Any
    right: Any
    held_left: Any
    held_right: Any
    scale: Any  # (face, 1)

    @classmethod
    def of(cls, nodes: Nodes, response: Folded) -> _Edges:
        offset, scale = (ep.expand_dims(both(*each), 1) for each in ((nodes.x, nodes.y), (nodes.scale, nodes.scale)))
        left, right = (response.points - offset) * scale, (response.points + offset) * scale
        return cls(left, right, _held(left), _held(right), scale)

    def by_offset(self) -> Any:
        """Derivative of both bells by the offset."""
        return 2.0 * self.scale * (self.held_left - self.held_right)

    def by_scale(self) -> Any:
        return -2.0 / self.scale * (self.left * self.held_left + self.right * self.held_right)


def share_slopes(nodes: Nodes, response: Folded, faces: Faces, moving: Nodes) -> dict[str, Any]:
    """Derivatives of the shares by those of x, y and scale that move, the others are None."""
    edges, slopes = _Edges.of(nodes, response), {}
    if moving.x is not None or moving.y is not None:
        x, y = halves(matmul(edges.by_offset(), response.basis))
        by_offsets = {"x": (x, faces.y), "y": (faces.x, y)}
        moved = {name: pair for name, pair in by_offsets.items() if getattr(moving, name) is not None}
        slopes = {name: share(*pair, nodes, response) for name, pair in moved.items()}
    if moving.scale is not None:
        x, y = halves(matmul(edges.by_scale(), response.basis))
        slopes["scale"] = share(x, faces.y, nodes, response) + share(faces.x, y, nodes, response)
    return slopes


def face_slopes(nodes: Nodes, response: Folded, faces: Faces, by_share: Any, moves: Cloud) -> dict[str, Any]:
    """Slopes by x, y and scale (group, node), those that move, from those by the shares: back through the faces."""
    if not moving_faces(moves):
        return {}
    pairs, basis = faces.x.shape
    by_products = matmul(by_share.reshape((pairs, -1)), response.mixing.transpose((1, 0)))
    by_products = by_products.reshape((pairs, basis, basis))
    by_x = (by_products * ep.expand_dims(faces.y, 1)).sum(axis=2)
    by_y = (by_products * ep.expand_dims(faces.x, 2)).sum(axis=1)
    by_point = matmul(ep.concatenate([by_x, by_y]), response.basis.transpose((1, 0)))
    edges = _Edges.of(nodes, response)
    found: dict[str, Any] = {}
    if moves.x or moves.y:
        by_offset = (by_point * edges.by_offset()).sum(axis=1).reshape((2, *nodes.x.shape))
        found |= dict(zip("xy", by_offset, strict=True))
    if moves.variance_T:
        by_scale = (by_point * edges.by_scale()).sum(axis=1).reshape((2, *nodes.x.shape))
        found["scale"] = by_scale[0] + by_scale[1]
    return {name: found[name] for name in moving_faces(moves)}


def moving_faces(moves: Cloud) -> list[str]:
    """Which of x, y and scale move."""
    moving = {"x": moves.x, "y": moves.y, "scale": moves.variance_T}
    return [name for name in moving if moving[name]]


def _held(x: Any) -> Any:
    """x * bell(x), of which the derivatives of a bell are made: nothing where the bell is held."""
    return x * not_held(bell(x))


def both(x: Any, y: Any) -> Any:
    """What belongs to the faces along x, then to those along y, of (group, node). Axis: (face,)."""
    return ep.concatenate([x.reshape((-1,)), y.reshape((-1,))])


def halves(faces: Any) -> tuple[Any, Any]:
    """Those along x, and those along y."""
    pairs = faces.shape[0] // 2
    return faces[:pairs], faces[pairs:]
