"""The waveforms of a chunk with their derivative, forwards (jvp) and backwards (vjp), written out.

Bells are cheap, so both compute them again rather than keep them, and each comes down to a few matrix products: with
z for the lateness of a node at a bin, what a tile sees moves by

    bell(z) * (step of the node's share of charge) + z * bell(z) * share * (step of late) + z^2 * bell(z) * share * ...

which is one product of the three kinds of bells, side by side, with the three kinds of steps, for all directions at
once; and its transposed on the way back. The formulae are those of `charge`. Axes as there; the directions of a
derivative come before all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, partial, reduce
from itertools import compress
from operator import add
from typing import Any, NamedTuple

import eagerpy as ep

from ..backend import map_leaves
from ..backend.operations import (
    Derived,
    add_windows,
    batched_matmul,
    bell,
    each_layer,
    matmul,
    not_held,
    take,
    to_real,
    windows,
    with_derivative,
)
from ..charge import (
    Cloud,
    Folded,
    Limits,
    Nodes,
    Signal,
    TileTimes,
    bins_of_block,
    bins_of_tiles,
    face,
    lateness,
    limits_of,
    nodes_of,
    of_tiles,
    seen,
    share,
    shown,
    spans_of,
    sums_of_bells,
    times_of,
)
from ..data.batch import Chunk, Stack
from ..response import Sampling


class NodeSlopes(NamedTuple):
    """Derivatives of `Nodes` by their `Cloud`, where not one. Axes: (group, node)."""

    amplitude_by_charge: Any
    amplitude_by_variance: Any
    scale_by_variance: Any
    rate_by_variance: Any


class Kept(NamedTuple):
    """What is kept of each node for the derivatives: the sum of its bells with its relative slopes. (group, node)."""

    total: Any
    by_late: Any
    by_rate: Any


class Faces(NamedTuple):
    """What is kept of each layer for the derivatives."""

    x: Any  # (pair, basis) the faces
    y: Any
    share: Any  # (group, node, channel)


def signal(cloud: Cloud, chunk: Chunk, responses: tuple[Folded, ...], sampling: Sampling) -> Signal:
    """The cumulative charge of the pixels of a chunk; a response for each of its stacks."""
    times = times_of(cloud, chunk, limits_of(chunk.stack, chunk.resolution), sampling)
    stacks = (column for pair in zip(chunk.stacks, responses, strict=True) for each in pair for column in each)
    tables = times.bin, times.begin, chunk.stack, chunk.resolution
    charge = with_derivative(_waveforms(sampling), *cloud, *tables, *stacks)
    return Signal(times.start - sampling.before, times.end + (sampling.before + sampling.after), charge)


@cache
def _waveforms(sampling: Sampling) -> Derived:
    return Derived(partial(_value, sampling), partial(_jvp, sampling), partial(_vjp, sampling), len(Cloud._fields))


class _Inputs(NamedTuple):
    cloud: Cloud
    bin: Any  # (group,) as in `Times`
    begin: Any
    limits: Limits
    stacks: tuple[tuple[Stack, Folded], ...]

    @classmethod
    def of(cls, tensors: tuple[Any, ...]) -> _Inputs:
        clouds, size = len(Cloud._fields), len(Stack._fields)
        first, begin, stack, resolution = tensors[clouds : clouds + 4]
        both = _cut(tensors[clouds + 4 :], size + len(Folded._fields))
        stacks = tuple((Stack(*each[:size]), Folded(*each[size:])) for each in both)
        return cls(Cloud(*tensors[:clouds]), first, begin, limits_of(stack, resolution), stacks)

    def weight(self) -> Any:
        return ep.concatenate([stack.weight.reshape((-1, stack.weight.shape[2])) for stack, _ in self.stacks])

    def nodes(self) -> Nodes:
        return nodes_of(self.cloud, self.weight(), self.begin, self.limits)

    def groups(self, tree: Any) -> Iterator[Any]:
        """What belongs to all groups, of each stack: (layer, group, ...)."""
        return self._apart(tree, [stack.weight.shape[:2] for stack, _ in self.stacks])

    def blocks(self, tree: Any) -> Iterator[Any]:
        """What belongs to all blocks, of each stack: (layer, block, ...)."""
        return self._apart(tree, [stack.ended.shape for stack, _ in self.stacks])

    def _apart(self, tree: Any, shapes: list[tuple[int, int]]) -> Iterator[Any]:
        first = 0
        for layers, count in shapes:
            rows, shape = slice(first, first + layers * count), (layers, count)
            yield map_leaves(lambda leaf, rows=rows, shape=shape: leaf[rows].reshape((*shape, *leaf.shape[1:])), tree)
            first = rows.stop


def _value(sampling: Sampling, *tensors: Any) -> tuple[Any, tuple[Any, ...]]:
    """The waveforms (block, tick) of a `Cloud`, and what is kept: `Kept`, then the `Faces` of each stack."""
    given = _Inputs.of(tensors)
    nodes = given.nodes()
    sums, found, faces = sums_of_bells(nodes, given.limits), [], []

    def of_layer(response: Folded, row: tuple[Any, ...]) -> tuple[Any, ...]:
        (nodes, total, first), times, layer = row
        x, y = _halves(face(_both(nodes.x, nodes.y), _both(nodes.scale, nodes.scale), response))
        shares = share(x, y, nodes, response)
        charge = shown(seen(nodes, times, shares, total, layer, response), first, layer, response, sampling)
        return charge.reshape(charge.shape[1:]), x, y, shares

    for (stack, response), own in zip(given.stacks, given.groups((nodes, sums[0], given.bin)), strict=True):
        row = own, of_tiles(own[0], stack, response), stack
        charge, *rest = each_layer(partial(of_layer, response), row, stack.wanted)
        found.append(charge.reshape((-1, sampling.block)))
        faces += rest
    return ep.concatenate(found), (*sums, *faces)


def _jvp(sampling: Sampling, tensors: tuple[Any, ...], kept: tuple[Any, ...], *moves: Any) -> Any:
    """How waveforms move with the clouds. `moves` (direction, group, node) are None where nothing moves."""
    given, (kept, faces), moved = _Inputs.of(tensors), _kept(kept), []
    nodes = given.nodes()
    step = _weighted_steps(_steps_of_nodes(Cloud(*moves), _slopes_of_nodes(given, nodes)), nodes, kept)
    by_groups = map_leaves(lambda leaf: leaf.transpose((1, 0, 2)), step)  # (group, direction, node)

    def of_layer(response: Folded, row: tuple[Any, ...]) -> Any:
        (nodes, first, step), times, layer, faces = row
        shares = {"amplitude": faces.share} | _share_slopes(nodes, response, faces, step)
        steps = {name: getattr(step, name) for name in shares}
        in_space = _sum(_spread(shares[name], steps[name]) for name in shares if steps[name] is not None)
        moving = [in_space, *(None if each is None else _spread(faces.share, each) for each in (step.late, step.rate))]
        weights = ep.concatenate([each for each in moving if each is not None], axis=1)
        many = weights.shape[2]
        weights = take(weights.reshape((*weights.shape[:2], -1)), layer.group)
        bells = _bells(times, response, [each is not None for each in moving], node_axis=2)
        return shown(batched_matmul(bells, weights), first, layer, response, sampling, many)

    rows = zip(given.stacks, given.groups((nodes, given.bin, by_groups)), faces, strict=True)
    for (stack, response), own, of_stack in rows:
        row = own, of_tiles(own[0], stack, response), stack, of_stack
        found = each_layer(partial(of_layer, response), row, stack.wanted)
        moved.append(found.transpose((1, 0, 2, 3)).reshape((found.shape[1], -1, sampling.block)))
    return ep.concatenate(moved, axis=1)


def _spread(share: Any, step: Any) -> Any:
    """Shares (group, node, channel) times steps (group, direction, node). Axes: (group, node, direction, channel)."""
    return ep.expand_dims(share, 2) * ep.expand_dims(step.transpose((0, 2, 1)), 3)


def _bells(times: TileTimes, response: Folded, kinds: Iterable[bool], node_axis: int) -> Any:
    """bell(z), z * bell(z) and z^2 * bell(z), as asked for, side by side. The last two are 0 where the bell is held.

    Axes: (tile, bin, kind * node), or the nodes on axis 1.
    """
    z = lateness(times, response, node_axis)
    bells = bell(z)
    held = z * not_held(bells)
    return ep.concatenate([*compress((bells, held, z * held), kinds)], axis=node_axis)


def _cut(values: tuple[Any, ...], size: int) -> Iterator[tuple[Any, ...]]:
    """So many at a time."""
    return (values[first : first + size] for first in range(0, len(values), size))


def _kept(kept: tuple[Any, ...]) -> tuple[Kept, list[Faces]]:
    """What `_value` has kept."""
    size = len(Kept._fields)
    return Kept(*kept[:size]), [Faces(*each) for each in _cut(kept[size:], len(Faces._fields))]


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
    """The transposed of `_jvp`: slopes (group, node) by the clouds from those by waveforms; None if not `wanted`."""
    given, (kept, faces), moves = _Inputs.of(tensors), _kept(kept), Cloud(*wanted)
    nodes, in_time, found = given.nodes(), moves.arrival or moves.variance_t, []
    names = ["amplitude", *(["late", "rate"] if in_time else []), *_moving_faces(moves)]

    def of_layer(response: Folded, row: tuple[Any, ...]) -> Any:
        (nodes, first), times, slope, layer, faces = row
        bells = _bells(times, response, (True, in_time, in_time), node_axis=1)
        by_tile = batched_matmul(bells, _by_bins(slope, first, layer, response, sampling))
        by_group = add_windows(by_tile.reshape((len(by_tile), 1, -1)), layer.group, len(nodes.x))
        by_group = by_group.reshape((len(nodes.x), -1, *faces.share.shape[1:]))  # (group, kind, node, channel)
        by_kind = (by_group * ep.expand_dims(faces.share, 1)).sum(axis=3)
        kinds = [by_kind[:, kind] for kind in range(by_kind.shape[1])]
        return (*kinds, *_face_slopes(nodes, response, faces, by_group[:, 0], moves).values())

    rows = zip(given.stacks, given.groups((nodes, given.bin)), given.blocks(slope), faces, strict=True)
    for (stack, response), own, by_block, of_stack in rows:
        row = own, of_tiles(own[0], stack, response), by_block, stack, of_stack
        columns = each_layer(partial(of_layer, response), row, stack.wanted)
        found.append([column.reshape((-1, column.shape[2])) for column in columns])
    slopes = dict(zip(names, map(ep.concatenate, zip(*found, strict=True)), strict=True))
    by_clouds = _slopes_of_clouds(_weighted_slopes(slopes, nodes, kept), _slopes_of_nodes(given, nodes))
    return tuple(by_clouds[name] if asked else None for name, asked in moves._asdict().items())


def _weighted_slopes(slopes: dict[str, Any], nodes: Nodes, kept: Kept) -> dict[str, Any]:
    """The transposed of `_weighted_steps`."""
    weight, by_weight = nodes.amplitude / kept.total, slopes["amplitude"]
    found = {name: weight * slope for name, slope in slopes.items() if name in ("x", "y", "scale")}
    if "late" in slopes:
        found["late"] = weight * (2.0 * nodes.rate * slopes["late"] - kept.by_late * by_weight)
        found["rate"] = weight * (-2.0 / nodes.rate * slopes["rate"] - kept.by_rate * by_weight)
    return found | {"amplitude": by_weight / kept.total}


def _by_bins(slope: Any, first: Any, layer: Stack, response: Folded, sampling: Sampling) -> Any:
    """The transposed of `shown`: slopes by what is shown (block, tick) -> by what is seen (tile, bin, channel)."""
    rows = layer.row_block.shape[0]
    spans = spans_of(slope, layer, response, sampling)
    by_row = matmul(matmul(spans, response.show.transpose((1, 0))), response.gather.transpose((1, 0)))
    by_row = by_row.reshape((rows * bins_of_block(response), -1))
    return windows(by_row, bins_of_tiles(first, layer, response), response.times.shape[0])


def _slopes_of_nodes(given: _Inputs, nodes: Nodes) -> NodeSlopes:
    """Zero by variances that are less than what is resolved."""
    cloud, limits = given.cloud, given.limits
    density = 2.0 * nodes.scale * nodes.scale
    wide = to_real(cloud.variance_T > limits.variance_T, density)
    long = to_real(cloud.variance_t - limits.held > limits.variance_t, density)
    return NodeSlopes(
        amplitude_by_charge=density * given.weight(),
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
    """Of the faces along x, then of those along y: x * bell(x) on both halves, and x itself. Axes: (face, point)."""

    left: Any
    right: Any
    held_left: Any
    held_right: Any
    scale: Any  # (face, 1)

    @classmethod
    def of(cls, nodes: Nodes, response: Folded) -> _Edges:
        offset, scale = (ep.expand_dims(_both(*each), 1) for each in ((nodes.x, nodes.y), (nodes.scale, nodes.scale)))
        left, right = (response.points - offset) * scale, (response.points + offset) * scale
        return cls(left, right, _held(left), _held(right), scale)

    def by_offset(self) -> Any:
        """Derivative of both bells by the offset."""
        return 2.0 * self.scale * (self.held_left - self.held_right)

    def by_scale(self) -> Any:
        return -2.0 / self.scale * (self.left * self.held_left + self.right * self.held_right)


def _share_slopes(nodes: Nodes, response: Folded, faces: Faces, moving: Nodes) -> dict[str, Any]:
    """Derivatives of the shares by those of x, y and scale that move, the others are None."""
    edges, slopes = _Edges.of(nodes, response), {}
    if moving.x is not None or moving.y is not None:
        x, y = _halves(matmul(edges.by_offset(), response.basis))
        by_offsets = {"x": (x, faces.y), "y": (faces.x, y)}
        moved = {name: pair for name, pair in by_offsets.items() if getattr(moving, name) is not None}
        slopes = {name: share(*pair, nodes, response) for name, pair in moved.items()}
    if moving.scale is not None:
        x, y = _halves(matmul(edges.by_scale(), response.basis))
        slopes["scale"] = share(x, faces.y, nodes, response) + share(faces.x, y, nodes, response)
    return slopes


def _face_slopes(nodes: Nodes, response: Folded, faces: Faces, by_share: Any, moves: Cloud) -> dict[str, Any]:
    """Slopes by x, y and scale (group, node), those that move, from those by the shares: back through the faces."""
    if not _moving_faces(moves):
        return {}
    pairs, basis = faces.x.shape
    by_products = matmul(by_share.reshape((pairs, -1)), response.mixing.transpose((1, 0)))
    by_products = by_products.reshape((pairs, basis, basis))
    by_x = (by_products * ep.expand_dims(faces.y, 1)).sum(axis=2)
    by_y = (by_products * ep.expand_dims(faces.x, 2)).sum(axis=1)
    by_point = matmul(ep.concatenate([by_x, by_y]), response.basis.transpose((1, 0)))
    edges, found = _Edges.of(nodes, response), {}
    if moves.x or moves.y:
        by_offset = (by_point * edges.by_offset()).sum(axis=1).reshape((2, *nodes.x.shape))
        found |= dict(zip("xy", by_offset, strict=True))
    if moves.variance_T:
        by_scale = (by_point * edges.by_scale()).sum(axis=1).reshape((2, *nodes.x.shape))
        found["scale"] = by_scale[0] + by_scale[1]
    return {name: found[name] for name in _moving_faces(moves)}


def _moving_faces(moves: Cloud) -> list[str]:
    """Which of x, y and scale move."""
    moving = {"x": moves.x, "y": moves.y, "scale": moves.variance_T}
    return [name for name in moving if moving[name]]


def _held(x: Any) -> Any:
    """x * bell(x), of which the derivatives of a bell are made: nothing where the bell is held."""
    return x * not_held(bell(x))


def _both(x: Any, y: Any) -> Any:
    """What belongs to the faces along x, then to those along y, of (group, node). Axis: (face,)."""
    return ep.concatenate([x.reshape((-1,)), y.reshape((-1,))])


def _halves(faces: Any) -> tuple[Any, Any]:
    """Those along x, and those along y."""
    pairs = faces.shape[0] // 2
    return faces[:pairs], faces[pairs:]
