"""Pixels in chunks of tiles: each node once, the same signals however they are cut, and few shapes."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend import Sizes, leaves
from larndsim.engine.folding import RESOLUTIONS

NAMES = ("Ab", "lifetime", "tran_diff")
SEGMENTS = larndsim.generate("muons", length=150.0, seed=4)
EXACT = Sizes(tiles=512, rows=2**20, blocks=2**20, pixels=2**20, lines=2**20)
PADDED = Sizes(tiles=64, rows=64, blocks=320, pixels=24, lines=64, padded=True)
TINY = Sizes(tiles=3, rows=4, blocks=20, pixels=2, lines=2, padded=True)


def cut(backend, sizes, dtype="float64"):
    """A simulator with chunks of such sizes, and a batch."""
    simulator = Simulator("module0", backend, dtype=dtype)
    simulator.backend.sizes = lambda memory: sizes
    return simulator, simulator.prepare(SEGMENTS, vary=NAMES)


def chunks_of(batch):
    return [chunk for part in batch.parts for chunk in part.chunks]


def test_each_pixel_is_in_one_chunk_and_each_node_in_one_tile():
    """A node that several windows of bins need counts once."""
    found = {}
    for sizes in (EXACT, PADDED, TINY):
        _, batch = cut("numpy", sizes)
        pixels = batch.all_pixels()
        who = list(zip(pixels.event, pixels.plane, pixels.ix, pixels.iy, pixels.burst, strict=True))
        assert len(set(who)) == len(who)
        nodes = {}
        for members, part in zip(batch.fixed.members, batch.parts, strict=True):
            for own, chunk in zip(members.pixels, part.chunks, strict=True):
                tile, node = np.nonzero((chunk.weight > 0) & (chunk.window == 0)[:, None])
                segment = chunk.line[chunk.segment.reshape(chunk.weight.shape)[tile, node]]
                position = chunk.position.reshape(chunk.weight.shape)[tile, node]
                owner = chunk.pixel[tile]
                for row in range(len(own.ix)):
                    mine = owner == row
                    key = tuple(int(column[row]) for column in (own.event, own.plane, own.ix, own.iy, own.burst))
                    nodes[key] = sorted(zip(segment[mine].tolist(), position[mine].tolist(), strict=True))
        found[sizes] = nodes
        assert len(nodes) == len(who) and all(nodes.values())
    assert found[EXACT] == found[PADDED] == found[TINY]


def test_padded_chunks_have_one_shape_for_each_resolution():
    """Whatever the batch; a pixel that fills more than one takes a larger one."""
    shapes = set()
    for seed in range(6):
        simulator = Simulator("module0", "numpy", link_vdrift_eField=True)
        simulator.backend.sizes = lambda memory: PADDED
        batch = simulator.prepare(larndsim.generate("muons", length=400.0, seed=seed), vary=NAMES)
        pairs = [pair for part in batch.parts for pair in zip(part.chunks, part.responses, strict=True)]
        shapes |= {tuple(leaf.shape for leaf in leaves(pair)) for pair in pairs}
    assert len(shapes) <= len(RESOLUTIONS)


def test_a_pixel_that_fills_more_takes_a_larger_chunk():
    _, batch = cut("numpy", TINY)
    tiles = {len(chunk.pixel) for chunk in chunks_of(batch)}
    assert tiles > {3} and all(np.log2(each / 3) % 2 == 0 for each in tiles)


def sorted_waveforms(simulator, batch):
    """Identifiers (pixel, 5), and charge (pixel, tick), sorted by pixel."""
    found = simulator.charge(batch)
    keys = np.stack([found.event, found.plane, found.ix, found.iy, np.rint(found.start / found.tick)], axis=1)
    order = np.lexsort(keys.T)
    return keys[order], simulator.backend.numpy(found.charge)[order]


@pytest.mark.parametrize("sizes", [PADDED, TINY], ids=["padded", "tiny"])
def test_the_same_signals_and_derivatives_however_they_are_cut(sizes, differentiable_backend):
    if sizes is TINY and differentiable_backend == "jax":
        pytest.skip("each of its shapes would be compiled")
    (one, exact), (other, padded) = (cut(differentiable_backend, each) for each in (EXACT, sizes))
    (keys, charge), (other_keys, other_charge) = sorted_waveforms(one, exact), sorted_waveforms(other, padded)
    np.testing.assert_array_equal(keys, other_keys)
    assert (np.abs(charge - other_charge) <= 2e-3 * charge[:, -1:] + 1e-3).all()
    hits = [np.sort(simulator.hits(batch).numpy()["charge"]) for simulator, batch in ((one, exact), (other, padded))]
    np.testing.assert_allclose(*hits, rtol=2e-3, atol=10.0)

    def slopes(simulator, batch):
        parameters, backend = simulator.detector.parameters, simulator.backend
        return larndsim.value_and_grad(lambda p: simulator.hits(batch, p).charge.sum(), parameters, NAMES, backend)[1]

    first, second = slopes(one, exact), slopes(other, padded)
    for name in NAMES:
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-3)


def test_padding_changes_nothing(backend):
    """Of the same tiles: the same waveforms, but for rounding."""
    padded = EXACT._replace(tiles=2**9, rows=2**10, blocks=2**13, pixels=2**10, lines=2**9, padded=True)
    found = [sorted_waveforms(*cut(backend, sizes))[1] for sizes in (EXACT, padded)]
    np.testing.assert_allclose(*found, rtol=1e-11, atol=1e-6)
