"""What a simulator refuses, and what passes through it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import larndsim
from larndsim import ArgumentError, Simulator
from larndsim.backend import installed
from larndsim.data.segments import concatenate
from tests import cases

ROOT = Path(__file__).resolve().parents[1]
SEGMENT = cases.CASES["oblique"]
PARAMETERS = cases.DETECTOR.parameters


@pytest.mark.parametrize(
    "arguments,sentence",
    [
        ({"backend": "tensorflow"}, "Argument `backend` must be one of"),
        ({"backend": "numpy", "device": "cuda"}, "Argument `device` must be cpu"),
        ({"dtype": "float16"}, "Argument `dtype` must be one of float32, float64"),
        ({"recombination": "brks"}, "Did you mean `birks`?"),
        ({"detector": "modul0"}, "Argument `detector` must"),
    ],
)
def test_choices_are_checked(arguments, sentence):
    with pytest.raises(ArgumentError) as caught:
        Simulator(**arguments)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:9", "tpu"])
def test_a_device_that_is_not_there(device, backend):
    with pytest.raises(ArgumentError, match="Argument `device` must"):
        Simulator(backend=backend, device=device)


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("larndsim.backend.installed", lambda: ["numpy"])
    with pytest.raises(ArgumentError, match="pip install"):
        Simulator(backend=next(name for name in ("torch", "jax", "numpy") if name in installed() and name != "numpy"))


@pytest.mark.parametrize(
    "change,sentence",
    [
        ({"lifetime": -1.0}, "Argument `lifetime` must be greater than 0, but it is -1"),
        ({"vdrift": np.nan}, "Argument `vdrift` must be finite, but it is nan"),
        ({"vdrift": 0.3}, "Argument `vdrift` must lie within 0.1392 and 0.1808, which this batch was planned for"),
        ({"shift_x": "far"}, "Argument `shift_x` must be a number"),
        ({"shift_x": 0.1}, "Argument `shift_x` must be 0, which this batch was planned for, but it is 0.1. Prepare"),
    ],
)
def test_parameters_are_checked(change, sentence, backend):
    sim = Simulator(cases.DETECTOR, backend=backend)
    batch = sim.prepare(SEGMENT)
    with pytest.raises(ArgumentError) as caught:
        sim.charge(batch, PARAMETERS._replace(**change))
    assert sentence in str(caught.value)


def test_what_was_not_to_vary_is_refused(backend):
    sim = Simulator(cases.DETECTOR, backend=backend)
    batch = sim.prepare(SEGMENT, vary=("Ab", "lifetime"))
    sim.charge(batch, PARAMETERS._replace(Ab=0.85, lifetime=900.0, kb=0.05))
    with pytest.raises(ArgumentError, match=r"`tran_diff` must .* Prepare the batch with vary=\['tran_diff', ...\]"):
        sim.charge(batch, PARAMETERS._replace(tran_diff=9e-6))


def test_unknown_names(backend):
    sim = Simulator(cases.DETECTOR, backend=backend)
    with pytest.raises(ArgumentError, match=r"Argument `vary` must .* Did you mean `lifetime`\?"):
        sim.prepare(SEGMENT, vary=("lifetme",))
    with pytest.raises(ArgumentError, match="Argument `parameters` must be a"):
        sim.charge(sim.prepare(SEGMENT), {"Ab": 0.8})


@pytest.mark.parametrize("field,value", [("x_start", np.nan), ("dE", -1.0), ("t", np.inf)])
def test_segments_are_checked(field, value):
    sim = Simulator(cases.DETECTOR, backend="numpy")
    with pytest.raises(ArgumentError, match=f"Argument `segments.{field}` must .* in row 0"):
        sim.prepare(SEGMENT._replace(**{field: np.array([value])}))


@pytest.mark.parametrize("field,value", [("x_start", 1e38), ("z_end", -1e7), ("t", 1e14), ("dE", 1e38), ("dEdx", 1e30)])
def test_huge_segments_are_refused(field, value):
    sim = Simulator(cases.DETECTOR, backend="numpy")
    both = concatenate(SEGMENT, SEGMENT._replace(**{field: np.array([value])}))
    with pytest.raises(ArgumentError, match=rf"`segments.{field}` must lie within \S+ \S+ of zero, but .* in row 1"):
        sim.prepare(both)


@pytest.mark.parametrize("change", [{"x_end": 1e6, "z_start": -1e6}, {"t": -1e13}, {"dE": 1e9}, {"dEdx": 1e15}])
def test_the_largest_segments_are_simulated(change, backend, dtype):
    """Without warnings, and to finite numbers."""
    sim = Simulator(cases.DETECTOR, backend=backend, dtype=dtype)
    batch = sim.prepare(SEGMENT._replace(**{name: np.array([value]) for name, value in change.items()}))
    assert np.isfinite(sim.backend.numpy(sim.charge(batch).charge)).all()
    assert np.isfinite(sim.hits(batch).numpy()["tick"]).all()


def test_traced_values_outside_the_plan_become_nan(differentiable_backend):
    if differentiable_backend == "torch":
        from torch.func import grad as derivative
    else:
        from jax import grad as derivative
    sim = Simulator(cases.DETECTOR, backend=differentiable_backend, dtype="float32")
    batch = sim.prepare(SEGMENT)

    def loss(v):
        return sim.charge(batch, PARAMETERS._replace(vdrift=v)).charge.sum()

    inside, outside = (sim.backend.asarray(v) for v in (0.16, 0.25))
    assert np.isfinite(float(derivative(loss)(inside)))
    assert np.isnan(float(derivative(loss)(outside)))


def test_no_segments_give_no_pixels(backend):
    sim = Simulator(cases.DETECTOR, backend=backend)
    waveforms = sim.charge(sim.prepare(SEGMENT.select(slice(0, 0))))
    assert waveforms.charge.shape[0] == len(waveforms.event) == 0


def test_a_structured_array_is_as_good_as_a_file(tmp_path, backend):
    sim = Simulator(cases.DETECTOR, backend=backend)
    segments = larndsim.generate("muons", n=1, seed=3)
    larndsim.write_segments(tmp_path / "muons.h5", segments)
    import h5py

    with h5py.File(tmp_path / "muons.h5") as file:
        array = file["segments"][:]
    a, b = (sim.backend.numpy(sim.charge(sim.prepare(s, vary=())).charge) for s in (segments, array))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-2)


def test_one_value_per_module(backend):
    """A detector of two modules, each with a field of its own."""
    import dataclasses

    geometry = cases.GEOMETRY
    twice = type(geometry)(*(np.concatenate([column, column]) for column in geometry))
    away = np.repeat([0.0, 100.0], 2)
    twice = twice._replace(
        module=np.repeat([0, 1], 2),
        **{name: getattr(twice, name) + away for name in ("anode_z", "cathode_z")},
    )
    detector = dataclasses.replace(cases.DETECTOR, geometry=twice)
    moved = SEGMENT._replace(z_start=SEGMENT.z_start + 100.0, z_end=SEGMENT.z_end + 100.0)
    sim = Simulator(detector, backend=backend, dtype="float64")
    parameters = PARAMETERS._replace(eField=np.array([0.5, 0.46]), lifetime=np.array([2200.0, 800.0]))
    one = Simulator(cases.DETECTOR, backend=backend, dtype="float64")
    for segments, values in ((SEGMENT, PARAMETERS), (moved, PARAMETERS._replace(eField=0.46, lifetime=800.0))):
        charge = sim.charge(sim.prepare(segments), parameters).charge
        known = one.charge(one.prepare(SEGMENT), values).charge
        np.testing.assert_allclose(sim.backend.numpy(charge), one.backend.numpy(known), rtol=1e-9, atol=1e-9)


def test_trees_pass_through_transformations():
    jax = pytest.importorskip("jax")
    sim = Simulator(cases.DETECTOR, backend="jax", dtype="float32")
    batch = sim.prepare(SEGMENT, vary=("Ab",))
    inside = jax.jit(lambda b, p: sim.charge(b, p))(batch, PARAMETERS)
    outside = sim.charge(batch, PARAMETERS)
    np.testing.assert_allclose(inside.charge, outside.charge, rtol=1e-5, atol=1e-3)
    values = jax.numpy.array([0.79, 0.8])
    many = jax.vmap(lambda Ab: sim.charge(batch, PARAMETERS._replace(Ab=Ab)).charge)(values)
    np.testing.assert_allclose(many[1], outside.charge, rtol=1e-5, atol=1e-3)


def test_a_batch_passes_through_though_jax_came_before_the_simulator():
    pytest.importorskip("jax")
    code = """
import larndsim
larndsim.value_and_grad(lambda p: p.Ab, larndsim.Parameters(), wrt="Ab", backend="jax")
import jax
simulator = larndsim.Simulator(backend="jax")
batch = simulator.prepare(larndsim.generate("muons", n=1, length=1.0))
print(jax.jit(lambda batch: simulator.charge(batch).charge.sum())(batch) > 0)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout == "True\n", result.stderr


def test_deposits_far_apart_in_time(backend):
    """A late decay: as if it were an event of its own, however late, with the hits of its pixels counted on."""
    sim = Simulator(cases.DETECTOR, backend=backend, electronics="clocked")
    gap = 3.6e9 + 0.3
    once = cases.segment((1.0, 2.0, 10.0), (1.6, 2.4, 10.4))
    both = sim.prepare(concatenate(once, once._replace(t=once.t + gap)), vary=())
    waveforms, hits = sim.charge(both), sim.hits(both).numpy()
    alone = sim.hits(sim.prepare(once, vary=())).numpy()
    assert waveforms.charge.shape[1] < 2000
    assert sorted(np.bincount(waveforms.burst)) == [len(waveforms.ix) // 2] * 2
    for burst, late in ((0, 0.0), (1, gap / 0.1)):
        own = hits[hits["order"] // 10 == burst]
        assert len(own) == len(alone) > 2
        for name in ("ix", "iy", "charge", "adc", "z"):
            np.testing.assert_allclose(own[name], alone[name], rtol=1e-5)
        assert np.abs(own["tick"] - alone["tick"] - late).max() <= 1.0
    assert len(np.unique(hits[["plane", "ix", "iy", "order"]])) == len(hits)
    truth = sim.truth(both, hits)
    np.testing.assert_array_equal(truth.segment, hits["order"][truth.hit] // 10)
    noisy = sim.hits(both, seed=3).numpy()
    first, second = (noisy[noisy["order"] // 10 == burst]["charge"] for burst in (0, 1))
    assert len(first) != len(second) or not np.allclose(first, second)


def test_deposits_close_in_time_share_a_waveform():
    """However an event is spread over time, charge that may overlap stays together."""
    sim = Simulator(cases.DETECTOR, backend="numpy", dtype="float64")
    parts = [cases.segment((1.0, 2.0, 10.0), (1.6, 2.4, 10.4), t=150.0 * number) for number in range(5)]
    waveforms = sim.charge(sim.prepare(concatenate(*parts), vary=()))
    alone = sim.charge(sim.prepare(parts[0], vary=()))
    assert not waveforms.burst.any()
    assert waveforms.charge[:, -1].sum() == pytest.approx(5 * alone.charge[:, -1].sum(), rel=1e-9)


@pytest.mark.parametrize("name,value", [("vdrift", 1e-300), ("vdrift", 1e30), ("tran_diff", 1e3), ("lifetime", 1e30)])
def test_absurd_values_are_refused(name, value):
    """Rather than planned for, in all the memory that there is."""
    sim = Simulator(cases.DETECTOR, backend="numpy")
    with pytest.raises(ArgumentError, match=f"Argument `{name}` must lie within"):
        sim.prepare(cases.CASES["oblique"], PARAMETERS._replace(**{name: value}))


def test_pixels_without_a_response_are_refused():
    def simulator(pitch):
        geometry = cases.GEOMETRY._replace(pitch=np.full(2, pitch))
        return Simulator(dataclasses.replace(cases.DETECTOR, geometry=geometry), backend="numpy")

    widest = simulator(0.495)
    assert np.isfinite(widest.charge(widest.prepare(SEGMENT)).charge).all()
    with pytest.raises(ArgumentError, match=r"`detector` must have pixels of 0.495 cm at most, .* its pitch is 0.5 cm"):
        simulator(0.5).prepare(SEGMENT)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "--xla_cpu_enable_fast_math=false",
        "--xla_cpu_experimental_ynn_fusion_type=+dot",
        "--xla_gpu_enable_triton_gemm=true",
    ],
)
def test_flags_of_the_user_go_first_and_are_left_as_they_are(given, monkeypatch):
    pytest.importorskip("jax")
    from larndsim.backend.jax.flags import own_flags

    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    with own_flags():
        assert os.environ["XLA_FLAGS"].startswith(given or "-")
    assert os.environ.get("XLA_FLAGS") == given


@pytest.mark.parametrize(
    "release,given,own",
    [
        ("0.10", "", ["ynn", "triton"]),
        ("0.6", "", ["triton"]),
        ("0.12", "", ["triton"]),
        ("0.5", "", []),
        ("0.13", "", []),
        ("0.10", "--xla_cpu_experimental_ynn_fusion_type=+dot", ["triton"]),
        ("0.10", "--xla_gpu_enable_triton_gemm=true", ["ynn"]),
        ("0.10", "--xla_dump_to=/home/flynn", ["ynn", "triton"]),
        ("0.10", "/a/file/of/flags", []),
    ],
)
def test_flags_that_a_release_does_not_know_are_not_given(release, given, own, monkeypatch):
    """XLA would end the process."""
    pytest.importorskip("jax")
    from larndsim.backend.jax import flags

    monkeypatch.setattr(flags, "RELEASE", release)
    added = flags._with_own(given).removeprefix(given).split()
    assert [next(name for name in ("ynn", "triton") if name in flag) for flag in added] == own


@pytest.mark.parametrize("name,most", [("numpy", 0.15), ("jax", 0.3)])
def test_padding_takes_less_than_a_third_of_the_work(name, most):
    """Of batches as fits have them, and of larger ones."""
    if name not in installed():
        pytest.skip(f"{name} is not installed")
    sim = Simulator("module0", backend=name, link_vdrift_eField=True)
    names = ("Ab", "kb", "eField", "lifetime", "long_diff", "tran_diff")
    for length in (800.0, 4000.0):
        batch = sim.prepare(larndsim.generate("muons", length=length, seed=1), vary=names)
        assert 0.0 < batch.fixed.padding < most
