"""The waveforms of a chunk with their derivative, forwards (jvp) and backwards (vjp), written out.

Bells are cheap, so both compute them again rather than keep them, and each comes down to a few matrix products. The
formulae are those of `charge`. Axes as there; the directions of a derivative come before all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial, reduce
from operator import add
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend.operations import (
    Derived,
    batched_matmul,
    bell,
    if_any,
    matmul,
    not_held,
    scan,
    to_real,
    windows,
    with_derivative,
)
from ..charge import (
    Cloud,
    Folded,
    Nodes,
    Signal,
    Times,
    bins_of_block,
    face,
    lateness,
    nodes_of,
    seen,
    share,
    shown,
    spans_of,
    sums_of_bells,
    times_of,
)
from ..data.batch import Chunk
from ..response import Sampling

PLACES = 2  # of the times: the bin and the begin of each tile


class NodeSlopes(NamedTuple):
    """Derivatives of `Nodes` by their `Cloud`, where not one. Axes: (tile, node)."""

    amplitude_by_charge: Any
    amplitude_by_variance: Any
    scale_by_variance: Any
    rate_by_variance: Any


class Kept(NamedTuple):
    """What is kept for the derivatives: faces, shares, and the sum of each node's bells with its relative slopes."""

    x: Any  # (pair, basis) the faces
    y: Any
    share: Any  # (tile, node, channel)
    total: Any  # (tile, node)
    by_late: Any
    by_rate: Any


def signal(cloud: Cloud, chunk: Chunk, response: Folded, sampling: Sampling) -> Signal:
    """The cumulative charge of the pixels of a chunk."""
    times = times_of(cloud, chunk, response, sampling)
    charge = with_derivative(_waveforms(sampling), *cloud, times.bin, times.begin, *chunk, *response)
    return Signal(times.start - sampling.before, times.end + (sampling.before + sampling.after), charge)


@cache
def _waveforms(sampling: Sampling) -> Derived:
    return Derived(partial(_value, sampling), partial(_jvp, sampling), partial(_vjp, sampling), len(Cloud._fields))


class _Inputs(NamedTuple):
    cloud: Cloud
    times: Times
    chunk: Chunk
    response: Folded

    @classmethod
    def of(cls, tensors: tuple[Any, ...]) -> _Inputs:
        clouds, places, chunks = len(Cloud._fields), PLACES, len(Chunk._fields)
        rest = tensors[clouds + places :]
        times = Times(None, None, *tensors[clouds : clouds + places])
        return cls(Cloud(*tensors[:clouds]), times, Chunk(*rest[:chunks]), Folded(*rest[chunks:]))

    def nodes(self) -> Nodes:
        return nodes_of(self.cloud, self.chunk.weight, self.times.begin, self.response)


def _value(sampling: Sampling, *tensors: Any) -> tuple[Any, Kept]:
    """The waveforms (block, tick) of a `Cloud`."""
    given = _Inputs.of(tensors)
    nodes, response = given.nodes(), given.response
    x, y = (face(_flat(offset), _flat(nodes.scale), response) for offset in (nodes.x, nodes.y))
    shares, sums = share(x, y, nodes, response), sums_of_bells(nodes, response)
    channels_see = seen(nodes, shares, sums[0], response)
    return shown(channels_see, given.times.bin, given.chunk, response, sampling), Kept(x, y, shares, *sums)


def _jvp(sampling: Sampling, tensors: tuple[Any, ...], kept: tuple[Any, ...], *steps: Any) -> Any:
    """How waveforms move with the clouds. `steps` (direction, tile, node) are None where nothing moves."""
    given, kept = _Inputs.of(tensors), Kept(*kept)
    nodes, response = given.nodes(), given.response
    moving = _steps_of_nodes(Cloud(*steps), _slopes_of_nodes(given, nodes))
    in_space, z = _share_slopes(nodes, response, kept, moving), lateness(nodes, response)
    bells = bell(z)
    held = _held(z, bells)
    in_time = {"late": held, "rate": z * held}

    def plus(name: str, moved: Any, step: Any) -> Any:
        return moved + batched_matmul(in_time[name], kept.share * _each(step))

    def one(step: Nodes) -> Any:
        shares = in_space if step.amplitude is None else in_space | {"amplitude": kept.share}
        moved = batched_matmul(bells, _sum(shares[name] * _each(getattr(step, name)) for name in shares))
        for name in ("late", "rate"):
            if getattr(step, name) is not None:
                moved = if_any(getattr(step, name), partial(plus, name), moved)
        return shown(moved, given.times.bin, given.chunk, response, sampling)

    return scan(lambda _, step: (None, one(step)), None, _weighted_steps(moving, nodes, kept))[1]


def _weighted_steps(step: Nodes, nodes: Nodes, kept: Kept) -> Nodes:
    """Steps times what each counts for; that of the amplitude becomes the change of a node's whole weight."""
    weight = nodes.amplitude / kept.total
    changes = _times(1.0 / kept.total, step.amplitude), _times(-1.0 * weight * kept.by_late, step.late)
    return Nodes(
        amplitude=_sum((*changes, _times(-1.0 * weight * kept.by_rate, step.rate))),
        x=_times(weight, step.x),
        y=_times(weight, step.y),
        scale=_times(weight, step.scale),
        late=_times(2.0 * weight * nodes.rate, step.late),
        rate=_times(-2.0 * weight / nodes.rate, step.rate),
    )


def _vjp(
    sampling: Sampling, tensors: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, wanted: tuple[bool, ...]
) -> tuple[Any, ...]:
    """The transposed of `_jvp`: slopes (tile, node) by the clouds from those by waveforms; None if not `wanted`."""
    given, kept, moves = _Inputs.of(tensors), Kept(*kept), Cloud(*wanted)
    nodes, response = given.nodes(), given.response
    slope = _by_bins(slope, given, sampling)
    z = lateness(nodes, response)
    bells = bell(z)
    weight, by_share = nodes.amplitude / kept.total, batched_matmul(bells.transpose((0, 2, 1)), slope)
    by_weight = (kept.share * by_share).sum(axis=2)
    found = {"amplitude": by_weight / kept.total}
    for name, by_face in _face_slopes(nodes, response, kept, by_share, moves).items():
        found[name] = weight * by_face
    if moves.arrival or moves.variance_t:
        by_bell = batched_matmul(slope, kept.share.transpose((0, 2, 1))) * _held(z, bells)
        by_late, by_rate = by_bell.sum(axis=1), (z * by_bell).sum(axis=1)
        found["late"] = weight * (2.0 * nodes.rate * by_late - kept.by_late * by_weight)
        found["rate"] = weight * (-2.0 / nodes.rate * by_rate - kept.by_rate * by_weight)
    by_clouds = _slopes_of_clouds(found, _slopes_of_nodes(given, nodes))
    return tuple(by_clouds[name] if asked else None for name, asked in moves._asdict().items())


def _by_bins(slope: Any, given: _Inputs, sampling: Sampling) -> Any:
    """The transposed of `shown`: slopes by what is shown (block, tick) -> by what is seen (tile, bin, channel)."""
    r, rows = given.response, given.chunk.row_block.shape[0]
    spans = spans_of(slope, given.chunk, r, sampling)
    by_row = matmul(matmul(spans, r.show.transpose((1, 0))), r.gather.transpose((1, 0)))
    return windows(by_row.reshape((rows * bins_of_block(r), -1)), given.times.bin, r.times.shape[0])


def _slopes_of_nodes(given: _Inputs, nodes: Nodes) -> NodeSlopes:
    """Zero by variances that are less than what is resolved."""
    cloud, response = given.cloud, given.response
    density = 2.0 * nodes.scale * nodes.scale
    wide = to_real(cloud.variance_T > response.smallest[0] ** 2, density)
    long = to_real(cloud.variance_t - response.kernel_variance > response.smallest[1], density)
    return NodeSlopes(
        amplitude_by_charge=density * given.chunk.weight,
        amplitude_by_variance=-1.0 * wide * density * nodes.amplitude,
        scale_by_variance=-0.5 * wide * density * nodes.scale,
        rate_by_variance=-1.0 * long * nodes.rate * nodes.rate * nodes.rate,
    )


def _steps_of_nodes(step: Cloud, slopes: NodeSlopes) -> Nodes:
    """How nodes move with their clouds; None where they do not."""
    by_charge, by_variance = (slopes.amplitude_by_charge, step.charge), (slopes.amplitude_by_variance, step.variance_T)
    return Nodes(
        amplitude=_sum((_times(*by_charge), _times(*by_variance))),
        x=step.x,
        y=step.y,
        scale=_times(slopes.scale_by_variance, step.variance_T),
        late=step.arrival,
        rate=_times(slopes.rate_by_variance, step.variance_t),
    )


def _times(slope: Any, step: Any) -> Any:
    """How something moves with a step that may be none."""
    return None if step is None else slope * step


def _sum(parts: Iterable[Any]) -> Any:
    """The sum of those that are not None; None if all are."""
    there = [part for part in parts if part is not None]
    return reduce(add, there) if there else None


def _slopes_of_clouds(found: dict[str, Any], slopes: NodeSlopes) -> dict[str, Any]:
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
    """x * bell(x) on both halves of a face, and x itself: what the derivatives of a face are made of. (pair, point)."""

    left: Any
    right: Any
    held_left: Any
    held_right: Any
    scale: Any  # (pair, 1)

    @classmethod
    def of(cls, offset: Any, scale: Any, response: Folded) -> _Edges:
        offset, scale = (ep.expand_dims(_flat(each), 1) for each in (offset, scale))
        left, right = (response.points - offset) * scale, (response.points + offset) * scale
        return cls(left, right, _held(left, bell(left)), _held(right, bell(right)), scale)

    def by_offset(self) -> Any:
        """Derivative of both bells by the offset."""
        return 2.0 * self.scale * (self.held_left - self.held_right)

    def by_scale(self) -> Any:
        return -2.0 / self.scale * (self.left * self.held_left + self.right * self.held_right)


def _share_slopes(nodes: Nodes, response: Folded, kept: Kept, moving: Nodes) -> dict[str, Any]:
    """Derivatives of the shares by those of x, y and scale that move, the others are None."""
    along_x, along_y = (partial(_Edges.of, offset, nodes.scale, response) for offset in (nodes.x, nodes.y))
    slopes = {}
    if moving.x is not None:
        slopes["x"] = share(matmul(along_x().by_offset(), response.basis), kept.y, nodes, response)
    if moving.y is not None:
        slopes["y"] = share(kept.x, matmul(along_y().by_offset(), response.basis), nodes, response)
    if moving.scale is not None:
        x, y = (matmul(along().by_scale(), response.basis) for along in (along_x, along_y))
        slopes["scale"] = share(x, kept.y, nodes, response) + share(kept.x, y, nodes, response)
    return slopes


def _face_slopes(nodes: Nodes, response: Folded, kept: Kept, by_share: Any, moves: Cloud) -> dict[str, Any]:
    """Slopes by x, y and scale (tile, node), those that move, from those by the shares: back through the faces."""
    if not (moves.x or moves.y or moves.variance_T):
        return {}
    pairs, basis = kept.x.shape
    by_products = matmul(by_share.reshape((pairs, -1)), response.mixing.transpose((1, 0)))
    by_products = by_products.reshape((pairs, basis, basis))
    by_faces = {
        "x": (by_products * ep.expand_dims(kept.y, 1)).sum(axis=2),
        "y": (by_products * ep.expand_dims(kept.x, 2)).sum(axis=1),
    }
    found: dict[str, Any] = {}
    for name, by_face in by_faces.items():
        by_point, edges = (
            matmul(by_face, response.basis.transpose((1, 0))),
            _Edges.of(getattr(nodes, name), nodes.scale, response),
        )
        if getattr(moves, name):
            found[name] = _by_node(by_point * edges.by_offset(), nodes)
        if moves.variance_T:
            found["scale"] = _sum((found.get("scale"), _by_node(by_point * edges.by_scale(), nodes)))
    return found


def _by_node(values: Any, nodes: Nodes) -> Any:
    """Sums over the points of (pair, point). Axes: (tile, node)."""
    return values.sum(axis=1).reshape(nodes.x.shape)


def _held(x: Any, value: Any) -> Any:
    """x * bell(x), of which the derivatives of a bell are made: nothing where the bell is held. `value` is the bell."""
    return x * not_held(value)


def _each(values: Any) -> Any:
    """(tile, node), for all channels."""
    return ep.expand_dims(values, 2)


def _flat(values: Any) -> Any:
    return values.reshape((-1,))
