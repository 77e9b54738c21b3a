"""What the pixels see of the clouds that arrive, tick by tick; with its derivative.

With n for a node, i and j for the points of a face that carry the response, c for its channels, m for time bins:

    seen[c, m]    = sum over n of share[c, n] * weight[n] * bell(z),    z = (time[m] - late[n]) * rate[n]
    weight[n]     = amplitude[n] / sum over m of bell(z)
    share[c, n]   = sum over i, j of mixing[c, i, j] * face(x[n])[i] * face(y[n])[j]
    face(x)[i]    = sum over points p of basis[i, p] * (bell((p - x) * scale) + bell((p + x) * scale))
    waveform      = sum over blocks of arrival time of seen * kernel,    kernel = gather * show, a product of low rank

Divided by that sum, no charge is lost, however coarse the bins are. The kernel already holds part of the spread in
time, so that it and the density of arrivals are smooth on their bins. The derivative is written out, forwards and
backwards: bells are cheap, so that both compute them again rather than keep them, and each comes down to a few matrix
products.
Axes: (pixel, node) for what comes in; (pair,) is both, flat; (basis, pair), (pixel, channel, node), (pixel, node, bin);
the directions of a derivative come before all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import eagerpy as ep

from .backend.operations import Derived, batched_matmul, bell, cos, if_any, matmul, not_held, scan, sin, to_real
from .response import BLOCK, SPAN, TICK


class Cloud(NamedTuple):
    """The charge of each node when it reaches the plane. Axes: (node,), or (pixel, node).

    The derivatives are those by these six.
    """

    x: Any  # cm from the pixel's centre
    y: Any
    charge: Any  # electrons; of the whole segment, until the nodes take their shares
    variance_T: Any  # cm2, across the drift
    arrival: Any  # us from the event's reference time
    variance_t: Any  # us2, of the arrival


class Tables(NamedTuple):
    """What stays as it is: of the size class, and of its response."""

    start: Any  # (pixel,) first tick of the bins
    weight: Any  # (pixel, node) share of the charge of its segment that a node stands for
    times: Any  # (bin,) us
    points: Any  # (point, 1) cm
    basis: Any  # (basis, point)
    mixing: Any  # (channel, basis * basis)
    gather: Any  # (channel * bin of a block, mode)
    show: Any  # (mode, tick)
    kernel_variance: Any  # () us2
    smallest: Any  # (2,)


class Nodes(NamedTuple):
    """What decides what is seen of a node. Axes: (pixel, node)."""

    amplitude: Any  # electrons over the square of the transverse width, 1/cm2
    x: Any  # cm from the pixel's centre
    y: Any
    scale: Any  # 1/cm, one over the transverse width and the root of two
    late: Any  # us from the first bin
    rate: Any  # 1/us, one over the width in time and the root of two


class NodeSlopes(NamedTuple):
    """Derivatives of `Nodes` by their `Cloud`, where not one. Axes: (pixel, node)."""

    amplitude_by_charge: Any
    amplitude_by_variance: Any
    scale_by_variance: Any
    rate_by_variance: Any


class Kept(NamedTuple):
    """What is kept for the derivatives: faces, shares, and the sum of each node's bells with its relative slopes."""

    x: Any  # (basis, pair) the faces
    y: Any
    share: Any  # (pixel, channel, node)
    total: Any  # (pixel, node)
    by_late: Any
    by_rate: Any


def resolved(cloud: Cloud, weight: Any, response: Any) -> Cloud:
    """Nodes take their shares of the charge, and are as wide as the `response` (or `Tables`) resolves."""
    return cloud._replace(
        charge=cloud.charge * weight,
        variance_T=ep.maximum(cloud.variance_T, response.smallest[0] ** 2),
        variance_t=ep.maximum(cloud.variance_t - response.kernel_variance, response.smallest[1]),
    )


def seen(cloud: Cloud, tables: Tables) -> tuple[Any, Kept]:
    """What the channels see, in bins of arrival time from the start on; axes (pixel, channel, bin)."""
    nodes = _nodes(cloud, tables)
    x, y = (_face(_flat(offset), _flat(nodes.scale), tables) for offset in (nodes.x, nodes.y))
    share = _by_pixel(matmul(tables.mixing, _products(x, y)), nodes)
    total, by_late, by_rate = _sums(nodes, tables)
    weighted = share * _each(nodes.amplitude / total)
    return batched_matmul(weighted, bell(_lateness(nodes, tables))), Kept(x, y, share, total, by_late, by_rate)


def shown(seen: Any, tables: Tables) -> Any:
    """What channels see of arrivals (pixel, channel, bin) -> what the pixel shows of it (pixel, tick)."""
    pixels, channels, bins = seen.shape
    blocks = bins * channels // tables.gather.shape[0]
    by_block = seen.reshape((pixels, channels, blocks, -1)).transpose((0, 2, 1, 3))
    modes = matmul(by_block.reshape((pixels * blocks, -1)), tables.gather)
    return overlapped(matmul(modes, tables.show).reshape((pixels, blocks, SPAN)))


def overlapped(shown: Any) -> Any:
    """Sum what the blocks of arrivals show on overlapping ticks. (pixel, block, tick) -> (pixel, tick).

    Block b covers the ticks from b * BLOCK on; after its SPAN it shows its total. Rows that are one block longer than
    what is wanted, read as rows of that length, begin one block later each.
    """
    blocks = shown.shape[1]
    ticks = SPAN + (blocks - 1) * BLOCK
    left = BLOCK * (blocks - 1 - ep.arange(shown, blocks))  # ticks after the span of each block
    ended = ep.expand_dims(ep.arange(shown, BLOCK * blocks), 0) < ep.expand_dims(left, 1)
    total = shown[:, :, -1:] * ep.expand_dims(to_real(ended, shown), 0)
    rows = ep.concatenate([shown, total], axis=2).reshape((shown.shape[0], -1))
    return rows[:, : blocks * ticks].reshape((-1, blocks, ticks)).sum(axis=1)


def _shown_back(slope: Any, tables: Tables) -> Any:
    """The transposed of `shown`: slopes by what is shown (pixel, tick) -> by what is seen (pixel, channel, bin)."""
    pixels, bins, channels = slope.shape[0], tables.times.shape[0], tables.mixing.shape[0]
    blocks = bins * channels // tables.gather.shape[0]
    spans = ep.stack([slope[:, BLOCK * block : BLOCK * block + SPAN] for block in range(blocks)], axis=1)
    by_modes = matmul(spans.reshape((pixels * blocks, SPAN)), tables.show.transpose((1, 0)))
    if blocks > 1:
        later = slope[:, SPAN:].reshape((pixels, blocks - 1, BLOCK)).sum(axis=2)  # in the time of each later block
        after = ep.expand_dims(ep.arange(slope, blocks - 1), 1) >= ep.expand_dims(ep.arange(slope, blocks), 0)
        ended = matmul(later, to_real(after, slope)).reshape((-1, 1))
        by_modes = by_modes + ended * ep.expand_dims(tables.show[:, -1], 0)
    by_block = matmul(by_modes, tables.gather.transpose((1, 0))).reshape((pixels, blocks, channels, -1))
    return by_block.transpose((0, 2, 1, 3)).reshape((pixels, channels, bins))


def _value(*arrays: Any) -> tuple[Any, Kept]:
    """The waveforms (pixel, tick) of a `Cloud` through `Tables`."""
    cloud, tables = _inputs(*arrays)
    channels_see, kept = seen(cloud, tables)
    return shown(channels_see, tables), kept


def _push(arrays: tuple[Any, ...], kept: tuple[Any, ...], *steps: Any) -> Any:
    """How waveforms move with the clouds. `steps` (direction, pixel, node) are None where nothing moves."""
    cloud, tables, kept = *_inputs(*arrays), Kept(*kept)
    nodes = _nodes(cloud, tables)
    moving = _steps_of_nodes(Cloud(*steps), _slopes_of_nodes(cloud, nodes, tables))
    in_space, z = _share_slopes(nodes, tables, kept, moving), _lateness(nodes, tables)
    bells = bell(z)
    held = _held(z, bells)
    in_time = {"late": held, "rate": z * held}

    def plus(name: str, moved: Any, step: Any) -> Any:
        return moved + batched_matmul(kept.share * _each(step), in_time[name])

    def one(step: Nodes) -> Any:
        shares = in_space if step.amplitude is None else in_space | {"amplitude": kept.share}
        moved = batched_matmul(_sum(share * _each(getattr(step, name)) for name, share in shares.items()), bells)
        for name in ("late", "rate"):
            if getattr(step, name) is not None:
                moved = if_any(getattr(step, name), partial(plus, name), moved)
        return shown(moved, tables)

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


def _pull(arrays: tuple[Any, ...], kept: tuple[Any, ...], slope: Any, moving: tuple[bool, ...]) -> tuple[Any, ...]:
    """The transposed of `_push`: slopes (pixel, node) by the clouds from those by waveforms; None if not `moving`."""
    cloud, tables, kept = *_inputs(*arrays), Kept(*kept)
    nodes, slope = _nodes(cloud, tables), _shown_back(slope, tables)
    moves = Cloud(*moving)
    wanted = Nodes(None, moves.x or None, moves.y or None, moves.variance_T or None, None, None)
    z = (ep.expand_dims(tables.times, -1) - _each(nodes.late)) * _each(nodes.rate)  # (pixel, bin, node): faster here
    bells = bell(z)
    weight, by_share = nodes.amplitude / kept.total, batched_matmul(slope, bells)
    by_weight = (kept.share * by_share).sum(axis=1)
    found = {"amplitude": by_weight / kept.total}
    for name, share in _share_slopes(nodes, tables, kept, wanted).items():
        found[name] = weight * (share * by_share).sum(axis=1)
    if moves.arrival or moves.variance_t:
        by_bell = batched_matmul(slope.transpose((0, 2, 1)), kept.share) * _held(z, bells)
        by_late, by_rate = by_bell.sum(axis=1), (z * by_bell).sum(axis=1)
        found["late"] = weight * (2.0 * nodes.rate * by_late - kept.by_late * by_weight)
        found["rate"] = weight * (-2.0 / nodes.rate * by_rate - kept.by_rate * by_weight)
    by_clouds = _slopes_of_clouds(found, _slopes_of_nodes(cloud, nodes, tables))
    return tuple(by_clouds[name] if asked else None for name, asked in moves._asdict().items())


WAVEFORMS = Derived(_value, _push, _pull, movers=len(Cloud._fields))


def _inputs(*arrays: Any) -> tuple[Cloud, Tables]:
    return Cloud(*arrays[:6]), Tables(*arrays[6:])


def _nodes(cloud: Cloud, tables: Tables) -> Nodes:
    cloud = resolved(cloud, tables.weight, tables)
    return Nodes(
        amplitude=cloud.charge / cloud.variance_T,
        x=cloud.x,
        y=cloud.y,
        scale=ep.sqrt(0.5 / cloud.variance_T),
        late=cloud.arrival - ep.expand_dims(tables.start, 1) * TICK,
        rate=ep.sqrt(0.5 / cloud.variance_t),
    )


def _slopes_of_nodes(cloud: Cloud, nodes: Nodes, tables: Tables) -> NodeSlopes:
    """None by variances that are less than what is resolved."""
    density = 2.0 * nodes.scale * nodes.scale
    wide = to_real(cloud.variance_T > tables.smallest[0] ** 2, density)
    long = to_real(cloud.variance_t - tables.kernel_variance > tables.smallest[1], density)
    return NodeSlopes(
        amplitude_by_charge=density * tables.weight,
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


def _share_slopes(nodes: Nodes, tables: Tables, kept: Kept, moving: Nodes) -> dict[str, Any]:
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


def _sums(nodes: Nodes, tables: Tables) -> tuple[Any, Any, Any]:
    """The sum of each node's bells in all bins, however many there are, and its relative slopes. (pixel, node).

    By Poisson's formula, whose terms fall so fast that three are enough for bins that resolve the bell.
    """
    width = tables.times[1:2] - tables.times[:1]
    z = math.pi / (width * nodes.rate)
    phase = 2.0 * math.pi / width * nodes.late
    term, across, along = ep.exp(-1.0 * z * z), cos(phase), sin(phase)
    fourth = (term * term) * (term * term)
    first, second = 2.0 * term * across, 2.0 * fourth * (2.0 * across * across - 1.0)
    waves = 1.0 + first + second
    by_phase = 2.0 * along * (term + 4.0 * fourth * across)
    by_z = first + 4.0 * second
    total = z / math.sqrt(math.pi) * waves
    return total, -2.0 * math.pi / width * by_phase / waves, (2.0 * z * z * by_z / waves - 1.0) / nodes.rate


def _lateness(nodes: Nodes, tables: Tables) -> Any:
    """Distance of each bin from each node's arrival, in widths over the root of two. Axes: (pixel, node, bin)."""
    return (tables.times - ep.expand_dims(nodes.late, -1)) * ep.expand_dims(nodes.rate, -1)


def _face(offset: Any, scale: Any, tables: Tables) -> Any:
    """Charge on the points of half a face, both halves folded. Axes: (basis, pair)."""
    return matmul(tables.basis, bell((tables.points - offset) * scale) + bell((tables.points + offset) * scale))


def _face_by_offset(offset: Any, scale: Any, tables: Tables) -> Any:
    left, right = (tables.points - offset) * scale, (tables.points + offset) * scale
    return 2.0 * scale * matmul(tables.basis, _held(left, bell(left)) - _held(right, bell(right)))


def _face_by_scale(offset: Any, scale: Any, tables: Tables) -> Any:
    left, right = (tables.points - offset) * scale, (tables.points + offset) * scale
    return -2.0 / scale * matmul(tables.basis, left * _held(left, bell(left)) + right * _held(right, bell(right)))


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
