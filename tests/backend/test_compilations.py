"""JAX compiles once for each shape that is new, and never for new values."""

from __future__ import annotations

import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend import installed, leaves
from tests import cases

jax = pytest.importorskip("jax") if "jax" in installed() else pytest.skip("jax is not installed", True)

PARAMETERS = cases.DETECTOR.parameters


@pytest.fixture(scope="module")
def compiled():
    """The names of what is compiled, as it happens."""
    names: list[str] = []

    def listen(name: str, seconds: float, **details: object) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            names.append(str(details.get("fun_name", "")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    return names


def batches(sim: Simulator) -> list:
    """Of short tracks, alike but not the same, one or two of them."""
    segments = [cases.segment((1.0, 2.0 + i, 10.0), (1.8, 2.3 + i, 10.2 + 0.1 * i), event=i) for i in range(4)]
    chosen = [*segments, cases.together({"one": segments[0], "another": segments[1]})[0]]
    return [sim.prepare(one, vary=("Ab", "lifetime")) for one in chosen]


def shapes(batch) -> set:
    """What decides what is compiled for the pixels of a batch."""
    pairs = [pair for part in batch.parts for pair in zip(part.classes, part.responses, strict=True)]
    return {tuple(leaf.shape for leaf in leaves(pair)) for pair in pairs}


@pytest.mark.slow
def test_once_for_each_size_class():
    jax.clear_caches()  # JAX counts what other simulators have compiled, too
    sim = Simulator(cases.DETECTOR, backend="jax")
    found = batches(sim)
    for batch in found:
        gradient(sim, batch, 0.8)
        sim.charge(batch)
    different = set().union(*map(shapes, found))
    assert len(different) < sum(len(part.classes) for batch in found for part in batch.parts)  # they share shapes
    assert sim._signals.forwards._cache_size() == len(different)  # one for the value and the gradient
    assert sim._signals.plain._cache_size() == 0


def gradient(sim: Simulator, batch, Ab: float) -> None:
    parameters = PARAMETERS._replace(Ab=Ab)
    larndsim.value_and_grad(lambda p: sim.hits(batch, p).charge.sum(), parameters, ("Ab", "lifetime"), sim.backend)


@pytest.mark.slow
def test_nothing_for_new_values(compiled):
    sim = Simulator(cases.DETECTOR, backend="jax")
    found = batches(sim)[:2]

    def gradients(Ab: float) -> None:
        for batch in found:
            gradient(sim, batch, Ab)

    gradients(0.8)
    gradients(0.81)
    assert compiled  # the listener hears
    compiled.clear()
    gradients(0.82)
    assert not compiled
