"""JAX compiles once for each shape that is new, and never for new values."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim import Simulator
from larndsim.backend import installed
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


def gradient(sim: Simulator, batch, Ab: float) -> None:
    parameters = PARAMETERS._replace(Ab=Ab)
    larndsim.value_and_grad(lambda p: sim.hits(batch, p).charge.sum(), parameters, ("Ab", "lifetime"), sim.backend)


def batches(sim: Simulator) -> list:
    """Of short tracks, alike but not the same, one or two of them."""
    segments = [cases.segment((1.0, 2.0 + i, 10.0), (1.8, 2.3 + i, 10.2 + 0.1 * i), event=i) for i in range(4)]
    chosen = [*segments, cases.together({"one": segments[0], "another": segments[1]})[0]]
    return [sim.prepare(one, vary=("Ab", "lifetime")) for one in chosen]


SIX = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
MOST = 24  # functions in all


def everything(sim: Simulator, data: Simulator, segments) -> None:
    """Charge, hits, gradient, Jacobian, likelihood with its derivative."""
    hits = data(segments, seed=1).numpy()
    batch, parameters = sim.prepare(segments, vary=SIX), sim.detector.parameters
    sim.charge(batch)
    sim.hits(batch)
    larndsim.value_and_grad(lambda p: sim.hits(batch, p).charge.sum(), parameters, SIX, sim.backend)
    larndsim.jacobian(lambda p: sim.hits(batch, p).charge, parameters, SIX, sim.backend)
    larndsim.value_and_grad(lambda p: sim.log_likelihood(batch, hits, p).sum(), parameters, SIX, sim.backend)


@pytest.mark.slow
def test_few_functions_whatever_the_batches(compiled):
    """A short sample, a long one, and two hundred unlike events, one after the other."""
    jax.clear_caches()
    compiled.clear()
    sim = Simulator("module0", backend="jax", link_vdrift_eField=True)
    data = Simulator("module0", backend="numpy", link_vdrift_eField=True, electronics="clocked")
    for length in (80.0, 8000.0):
        everything(sim, data, larndsim.generate("muons", length=length, seed=1))
    events = larndsim.generate("cosmics", n=200, seed=2, tracks_per_event=1.0)
    for number in np.unique(events.event):
        everything(sim, data, events.select(events.event == number))
    assert 0 < len(compiled) <= MOST, sorted(compiled)


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
