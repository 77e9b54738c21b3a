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
from functools import cache, partial
from itertools import compress
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
from .slopes import (
    Faces,
    NodeSlopes,
    added,
    both,
    cloud_slopes,
    face_slopes,
    halves,
    moving_faces,
    node_slopes,
    node_steps,
    share_slopes,
    times,
)


class Kept(NamedTuple):
    """What is kept of each node for the derivatives: the sum of its bells with its relative slopes. (group, node)."""

    total: Any
    by_late: Any
    by_rate: Any


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

    def slopes(self, nodes: Nodes) -> NodeSlopes:
        return node_slopes(nodes, self.cloud, self.weight(), self.limits)

    def groups(self, tree: Any) -> Iterator[Any]:
        """What belongs to all groups, of each stack: (layer, group, ...)."""
        return self._apart(tree, [stack.weight.shape[:2] for stack, _ in self.stacks])

    def blocks(self, tree: Any) -> Iterator[Any]:
        """What belongs to all blocks, of each stack: (layer, block, ...)."""
        return self._apart(tree, [stack.ended.shape for stack, _ in self.stacks])

    def _apart(self, tree: Any, shapes: list[tuple[int, int]]) -> Iterator[Any]:
        first = 0
        for layers, count in shapes:
            last = first + layers * count
            yield map_leaves(partial(_by_layer, first, last, layers), tree)
            first = last


def _by_layer(first: int, last: int, layers: int, leaf: Any) -> Any:
    """What belongs to these groups or blocks, by layer."""
    return leaf[first:last].reshape((layers, -1, *leaf.shape[1:]))


def _value(sampling: Sampling, *tensors: Any) -> tuple[Any, tuple[Any, ...]]:
    """The waveforms (block, tick) of a `Cloud`, and what is kept: `Kept`, then the `Faces` of each stack."""
    given = _Inputs.of(tensors)
    nodes = given.nodes()
    sums, found, faces = sums_of_bells(nodes, given.limits), [], []

    def of_layer(response: Folded, row: tuple[Any, ...]) -> tuple[Any, ...]:
        (nodes, total, first), times, layer = row
        x, y = halves(face(both(nodes.x, nodes.y), both(nodes.scale, nodes.scale), response))
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
    step = _weighted_steps(node_steps(Cloud(*moves), given.slopes(nodes)), nodes, kept)
    by_groups = map_leaves(lambda leaf: leaf.transpose((1, 0, 2)), step)  # (group, direction, node)

    def of_layer(response: Folded, row: tuple[Any, ...]) -> Any:
        (nodes, first, step), times, layer, faces = row
        shares = {"amplitude": faces.share} | share_slopes(nodes, response, faces, step)
        steps = {name: getattr(step, name) for name in shares}
        in_space = added(_spread(shares[name], steps[name]) for name in shares if steps[name] is not None)
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
    changes = times(1.0 / kept.total, step.amplitude), times(-1.0 * weight * kept.by_late, step.late)
    return Nodes(
        amplitude=added((*changes, times(-1.0 * weight * kept.by_rate, step.rate))),
        x=times(weight, step.x),
        y=times(weight, step.y),
        scale=times(weight, step.scale),
        late=times(2.0 * weight * nodes.rate, step.late),
        rate=times(-2.0 * weight / nodes.rate, step.rate),
    )


def _vjp(
    sampling: Sampling, tensors: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, wanted: tuple[bool, ...]
) -> tuple[Any, ...]:
    """The transposed of `_jvp`: slopes (group, node) by the clouds from those by waveforms; None if not `wanted`."""
    given, (kept, faces), moves = _Inputs.of(tensors), _kept(kept), Cloud(*wanted)
    nodes, in_time, found = given.nodes(), moves.arrival or moves.variance_t, []
    names = ["amplitude", *(["late", "rate"] if in_time else []), *moving_faces(moves)]

    def of_layer(response: Folded, row: tuple[Any, ...]) -> Any:
        (nodes, first), times, slope, layer, faces = row
        bells = _bells(times, response, (True, in_time, in_time), node_axis=1)
        by_tile = batched_matmul(bells, _by_bins(slope, first, layer, response, sampling))
        by_group = add_windows(by_tile.reshape((len(by_tile), 1, -1)), layer.group, len(nodes.x))
        by_group = by_group.reshape((len(nodes.x), -1, *faces.share.shape[1:]))  # (group, kind, node, channel)
        by_kind = (by_group * ep.expand_dims(faces.share, 1)).sum(axis=3)
        kinds = [by_kind[:, kind] for kind in range(by_kind.shape[1])]
        return (*kinds, *face_slopes(nodes, response, faces, by_group[:, 0], moves).values())

    rows = zip(given.stacks, given.groups((nodes, given.bin)), given.blocks(slope), faces, strict=True)
    for (stack, response), own, by_block, of_stack in rows:
        row = own, of_tiles(own[0], stack, response), by_block, stack, of_stack
        columns = each_layer(partial(of_layer, response), row, stack.wanted)
        found.append([column.reshape((-1, column.shape[2])) for column in columns])
    slopes = dict(zip(names, map(ep.concatenate, zip(*found, strict=True)), strict=True))
    by_clouds = cloud_slopes(_weighted_slopes(slopes, nodes, kept), given.slopes(nodes))
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
