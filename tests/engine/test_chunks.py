"""Pixels in chunks of tiles: each node once, the same signals however they are cut, and few shapes."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend import Sizes, leaves
from larndsim.engine import chunks
from larndsim.engine.folding import RESOLUTIONS
from larndsim.engine.tiles import Shape

NAMES = ("Ab", "lifetime", "tran_diff")
SEGMENTS = larndsim.generate("muons", length=150.0, seed=4)
EXACT, PADDED = Sizes(), Sizes(padded=True)
TINY = tuple(Shape(tiles=3, groups=3, rows=4, blocks=20, pixels=2, layers=2) for _ in RESOLUTIONS)


def cut(backend, sizes, dtype="float64"):
    """A simulator with chunks of such sizes, and a batch."""
    simulator = Simulator("module0", backend, dtype=dtype)
    simulator.backend.sizes = lambda memory: sizes
    return simulator, simulator.prepare(SEGMENTS, vary=NAMES)


@pytest.fixture
def tiny(monkeypatch):
    """Compiled shapes that many pixels do not fit in."""
    monkeypatch.setattr(chunks, "COMPILED", TINY)


def chunks_of(batch):
    return [chunk for part in batch.parts for chunk in part.chunks]


def nodes_of(batch):
    """Segments and positions of the nodes that each pixel sees, by pixel."""
    found = {}
    for members, part in zip(batch.fixed.members, batch.parts, strict=True):
        for member, chunk in zip(members.chunks, part.chunks, strict=True):
            weight = np.concatenate([stack.weight.reshape(-1, stack.weight.shape[2]) for stack in chunk.stacks])
            group, node = np.nonzero(weight > 0)
            segment, position = (each.reshape(weight.shape)[group, node] for each in (chunk.segment, chunk.position))
            segment, owner, own = chunk.line[segment], chunk.pixel[group], member.pixels
            for row, slot in enumerate(member.slot):
                key = tuple(int(column[row]) for column in (own.event, own.plane, own.ix, own.iy, own.burst))
                assert key not in found
                mine = owner == slot
                found[key] = sorted(zip(segment[mine].tolist(), position[mine].tolist(), strict=True))
    return found


def test_each_pixel_is_in_one_chunk_and_each_node_in_one_group(monkeypatch):
    exact, padded = (nodes_of(cut("numpy", sizes)[1]) for sizes in (EXACT, PADDED))
    assert all(exact.values())
    assert exact == padded
    monkeypatch.setattr(chunks, "COMPILED", TINY)
    assert exact == nodes_of(cut("numpy", PADDED)[1])


def test_compiled_chunks_have_few_shapes():
    """One, whatever the batch; a pixel that fills more than a layer takes a larger one."""
    shapes = set()
    for seed in range(6):
        simulator = Simulator("module0", "numpy", link_vdrift_eField=True)
        simulator.backend.sizes = lambda memory: PADDED
        batch = simulator.prepare(larndsim.generate("muons", length=400.0, seed=seed), vary=NAMES)
        pairs = [pair for part in batch.parts for pair in zip(part.chunks, part.responses, strict=True)]
        shapes |= {tuple(leaf.shape for leaf in leaves(pair)) for pair in pairs}
    assert len(shapes) <= 3


def test_a_pixel_that_fills_more_takes_a_larger_layer(tiny):
    _, batch = cut("numpy", PADDED)
    size = {chunk.stacks[0].group.shape[1] for chunk in chunks_of(batch)}
    assert size > {3} and all(np.log2(each / 3) % 2 == 0 for each in size)


def sorted_waveforms(simulator, batch):
    """Identifiers (pixel, 5), and charge (pixel, tick), sorted by pixel."""
    found = simulator.charge(batch)
    keys = np.stack([found.event, found.plane, found.ix, found.iy, np.rint(found.start / found.tick)], axis=1)
    order = np.lexsort(keys.T)
    return keys[order], simulator.backend.numpy(found.charge)[order]


@pytest.mark.parametrize("shapes", ["usual", "tiny"])
def test_the_same_signals_and_derivatives_however_they_are_cut(shapes, differentiable_backend, monkeypatch):
    if shapes == "tiny":
        if differentiable_backend == "jax":
            pytest.skip("each of its shapes would be compiled")
        monkeypatch.setattr(chunks, "COMPILED", TINY)
    (one, exact), (other, padded) = (cut(differentiable_backend, each) for each in (EXACT, PADDED))
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
    """But for rounding."""
    found = [sorted_waveforms(*cut(backend, sizes))[1] for sizes in (EXACT, PADDED)]
    np.testing.assert_allclose(*found, rtol=1e-11, atol=1e-6)
