"""Pixels in pieces: each pixel once, the same signals however they are cut, and shapes that batches share."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend.base import CACHES, GPU
from larndsim.engine import shapes
from larndsim.engine.shapes import Shape
from larndsim.response import RESOLUTIONS

SHAPES = [
    Shape(RESOLUTIONS[level], 0.4, nodes, blocks) for level, nodes, blocks in ((0, 48, 3), (3, 64, 2), (5, 512, 14))
]
CUTS = {
    "few": partial(shapes._cut, ladder=shapes.FINE_LADDER),
    "large": partial(shapes._cut, ladder=shapes.LADDER),
    "alike": shapes._cut_alike,
}
SMALL_GPU = GPU._replace(numbers=2e6, nodes=2**15)  # that has several pieces and bunches to put together, too


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.nodes}x{shape.blocks}")
@pytest.mark.parametrize("room", [CACHES, GPU], ids=["caches", "gpu"])
@pytest.mark.parametrize("count", [1, 2, 79, 80, 81, 300, 511, 512, 1537, 8193, 20000])
def test_each_pixel_is_in_one_piece(count, room, shape, cut):
    members = np.arange(count) + 7
    pieces = cut(shape, members, room)
    np.testing.assert_array_equal(np.concatenate([piece.members for piece in pieces]), members)
    assert all(0 < len(piece.members) <= piece.rows <= room.rows for piece in pieces)
    assert all(piece.rows * shape.nodes <= room.nodes for piece in pieces)
    assert all(piece.rows * shape.largest() <= room.numbers for piece in pieces)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.nodes}x{shape.blocks}")
def test_pieces_of_a_large_batch_have_two_sizes(shape):
    def rows_of(count):
        return [piece.rows for piece in shapes._cut_alike(shape, np.arange(count), CACHES)]

    sizes = {rows for count in range(1, 900, 13) for rows in rows_of(count)}
    assert len(sizes) <= 2
    for count in (600, 700, 899):
        rows = sum(rows_of(count))
        assert rows - count <= max(sizes) / shapes.SMALLER + 1


def shapes_of(batch) -> set:
    pairs = [pair for part in batch.parts for pair in zip(part.classes, part.responses, strict=True)]
    return {(size.weight.shape, len(size.times), len(response.basis)) for size, response in pairs}


def test_later_large_batches_bring_few_shapes():
    simulator = Simulator("module0", "numpy", link_vdrift_eField=True)
    known: set = set()
    for seed in range(8):
        batch = simulator.prepare(larndsim.generate("muons", length=4000.0, seed=seed), vary=("Ab", "lifetime"))
        new, known = shapes_of(batch) - known, known | shapes_of(batch)
    assert len(new) < 0.15 * len(shapes_of(batch))


@pytest.mark.parametrize(
    "device,memory,room", [("cpu", 1e12, CACHES), ("cpu:0", 1e12, CACHES), ("cuda:1", 2e9, GPU), ("cuda", 3e8, CACHES)]
)
def test_large_pieces_are_for_gpus_with_memory(device, memory, room):
    backend = Simulator("module0", "numpy").backend
    backend.device = device
    assert backend.room(memory) == room


def sorted_waveforms(simulator, batch):
    """Identifiers (pixel, 5), and charge (pixel, tick), sorted by pixel."""
    found = simulator.charge(batch)
    keys = np.stack([found.event, found.plane, found.ix, found.iy, np.rint(found.start / found.tick)], axis=1)
    order = np.lexsort(keys.T)
    return keys[order], simulator.backend.numpy(found.charge)[order]


@pytest.mark.parametrize("room", [CACHES, GPU, SMALL_GPU], ids=["caches", "gpu", "small gpu"])
def test_a_large_batch_gives_what_a_small_one_gives(room, differentiable_backend, monkeypatch):
    """Also in the pieces that suit a GPU."""
    segments, names = larndsim.generate("muons", length=150.0, seed=4), ("Ab", "lifetime", "tran_diff")
    simulator = Simulator("module0", differentiable_backend, dtype="float64")
    small = simulator.prepare(segments, vary=names)
    monkeypatch.setattr(shapes, "LARGE", 0.0)
    simulator._room = room
    large = simulator.prepare(segments, vary=names)
    count = len(large.parts[0].classes)
    if room == CACHES:
        assert count > len(small.parts[0].classes)
        assert differentiable_backend != "jax" or count > simulator.backend.at_once  # each is recorded alone
    elif room == GPU:
        assert count < len(small.parts[0].classes)
    else:
        assert len({len(bunch.segment) for bunch in large.parts[0].bunches}) == 2

    (keys, charge), (other_keys, other) = (sorted_waveforms(simulator, batch) for batch in (small, large))
    np.testing.assert_array_equal(keys, other_keys)
    assert (np.abs(charge - other) <= 2e-3 * charge[:, -1:] + 1e-3).all()
    hits = [np.sort(simulator.hits(batch).numpy()["charge"]) for batch in (small, large)]
    np.testing.assert_allclose(*hits, rtol=2e-3, atol=10.0)

    def slopes(batch):
        parameters, backend = simulator.detector.parameters, simulator.backend
        return larndsim.value_and_grad(lambda p: simulator.hits(batch, p).charge.sum(), parameters, names, backend)[1]

    first, second = slopes(small), slopes(large)
    for name in names:
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-3)
