"""Generated samples: the physics of the energy loss, where the segments lie, seeds, lengths, options."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import larndsim
from larndsim.data import argon
from larndsim.data.segments import Segments, lengths
from larndsim.detector.geometry import plane_of
from larndsim.generate.lines import Boxes, Line
from larndsim.generate.tracks import Muon, muon_tracks

KINDS = ("muons", "protons", "cosmics")


@pytest.fixture(scope="module")
def detector() -> larndsim.Detector:
    return larndsim.load_detector("module0")


@pytest.fixture(scope="module")
def cube() -> SimpleNamespace:
    """A single drift volume of 20 cm."""
    ends = {
        name: np.array([10.0 if name.endswith("high") else -10.0]) for name in ("x_low", "x_high", "y_low", "y_high")
    }
    return SimpleNamespace(geometry=SimpleNamespace(anode_z=np.array([10.0]), cathode_z=np.array([-10.0]), **ends))


def assert_same(first: Segments, second: Segments) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_mean_loss_of_muons_is_bethes(cube):
    segments = larndsim.generate("muons", n=None, length=20_000.0, detector=cube, momentum=400.0)
    expected = argon.mean_loss(argon.MUON_MASS, np.hypot(400.0, argon.MUON_MASS) - argon.MUON_MASS)
    mean = segments.dE.sum() / 20_000
    error = np.sqrt(np.sum((segments.dE - mean * lengths(segments)) ** 2)) / 20_000
    assert error < 0.01 * mean
    assert mean == pytest.approx(expected, abs=4 * error)
    assert 2.05 < expected < 2.2


def test_loss_of_muons_is_landau_like(cube):
    segments = larndsim.generate("muons", n=None, length=20_000.0, detector=cube, momentum=1000.0, step=1.0)
    loss = segments.dEdx[np.isclose(lengths(segments), 1.0, atol=1e-5)]
    count, edges = np.histogram(loss, np.arange(1.3, 3, 0.05))
    assert len(loss) > 5000
    assert 1.6 < edges[count.argmax()] < 1.9
    assert np.median(loss) < loss.mean()
    assert (loss > 2.5).mean() > 3 * (loss < 1.5).mean()


def test_protons_lose_all_their_energy(detector):
    segments = larndsim.generate("protons", n=50, seed=3, detector=detector)
    total = np.bincount(segments.event, segments.dE)
    path = np.bincount(segments.event, lengths(segments))
    assert ((total > 50) & (total < 250)).all()
    np.testing.assert_allclose(path, argon.csda_range(argon.PROTON_MASS, total), rtol=1e-9)


def test_protons_have_a_bragg_peak(detector):
    segments = larndsim.generate("protons", n=1, detector=detector, energy=150.0)
    assert segments.dE.sum() == pytest.approx(150.0)
    assert (np.diff(segments.dEdx) > 0).all()
    residual = lengths(segments)[::-1].cumsum()[::-1]
    assert segments.dE[residual < 1].sum() > 3 * segments.dEdx[0]


def test_protons_that_fit_nowhere_are_refused(cube):
    with pytest.raises(larndsim.ArgumentError, match="`energy` must be that of protons that stop inside, but"):
        larndsim.generate("protons", detector=cube, energy=400.0)


@pytest.mark.parametrize("momentum", [120.0, 250.0])
def test_muons_that_stop_lose_their_energy_on_average(momentum):
    boxes = Boxes(np.full((1, 3), -1e3), np.full((1, 3), 1e3))
    kinetic = np.hypot(momentum, argon.MUON_MASS) - argon.MUON_MASS
    muon = Muon(13, 0.0, momentum, Line(np.zeros(3), np.array([0.0, 0, 1])), 500.0)
    tracks = [muon_tracks(np.random.default_rng(i), muon, boxes, 5.0, None)[0] for i in range(200)]
    total = np.array([track.dE.sum() for track in tracks])
    assert total.mean() == pytest.approx(kinetic, abs=4 * total.std() / np.sqrt(200) + 1e-3)
    assert tracks[0].end[-1, 2] == pytest.approx(argon.csda_range(argon.MUON_MASS, kinetic), abs=1e-5)


def test_delta_electrons_take_their_energy_from_the_muon():
    boxes = Boxes(np.full((1, 3), -1e6), np.full((1, 3), 1e6))
    muon = Muon(13, 0.0, 5000.0, Line(np.zeros(3), np.array([0.6, 0, 0.8])), 1000.0)
    [alone] = muon_tracks(np.random.default_rng(7), muon, boxes, 5.0, None)
    primary, *electrons = muon_tracks(np.random.default_rng(7), muon, boxes, 5.0, 1.5)
    energies = np.array([track.dE.sum() for track in electrons])
    assert len(electrons) > 20
    assert energies.min() > 1.5
    assert primary.dE.sum() + energies.sum() == pytest.approx(alone.dE.sum(), rel=1e-9)
    for electron in electrons:
        path = np.linalg.norm(electron.end[-1] - electron.start[0])
        assert electron.pdg == 11
        assert path == pytest.approx(electron.dE.sum() / argon.ELECTRON_LOSS, rel=1e-5)
        assert np.abs(primary.end - electron.start[0]).max(axis=1).min() < 1e-6  # a step of the muon ends there


@pytest.mark.parametrize("kind", KINDS)
def test_segments_lie_in_drift_volumes(kind, detector):
    s = larndsim.generate(kind, n=20, seed=2, detector=detector)
    g = detector.geometry
    plane = plane_of(g, (s.x_start + s.x_end) / 2, (s.y_start + s.y_end) / 2, (s.z_start + s.z_end) / 2, margin=0.0)
    assert (plane >= 0).all()
    z_low, z_high = np.sort([g.anode_z, g.cathode_z], axis=0)
    borders = {"x": (g.x_low, g.x_high), "y": (g.y_low, g.y_high), "z": (z_low, z_high)}
    for axis, (low, high) in borders.items():
        for end in ("start", "end"):
            position = getattr(s, f"{axis}_{end}")
            assert (position > low[plane] - 1e-5).all()
            assert (position < high[plane] + 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_complete(kind, detector):
    s = larndsim.generate(kind, n=4, seed=1, detector=detector)
    assert all(column.dtype == (np.int64 if i < 4 else np.float64) for i, column in enumerate(s))
    assert all(np.isfinite(column).all() for column in s)
    np.testing.assert_array_equal(s.segment, np.arange(len(s.dE)))
    np.testing.assert_allclose(s.dEdx * lengths(s), s.dE, rtol=1e-6)
    assert (np.diff(s.event) >= 0).all()
    assert s.event[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_events_whatever_their_number(kind, detector):
    many = larndsim.generate(kind, n=6, seed=4, detector=detector)
    assert_same(many, larndsim.generate(kind, n=6, seed=4, detector=detector))
    assert_same(many.select(many.event < 2), larndsim.generate(kind, n=2, seed=4, detector=detector))
    other = larndsim.generate(kind, n=6, seed=5, detector=detector)
    assert not np.isin(many.dE, other.dE).any()


@pytest.mark.parametrize("kind", KINDS)
def test_length_is_exact(kind, detector):
    trimmed = larndsim.generate(kind, n=None, length=200.0, seed=1, detector=detector)
    assert lengths(trimmed).sum() == pytest.approx(200.0, abs=1e-9)
    whole = larndsim.generate(kind, n=int(trimmed.event[-1]) + 1, seed=1, detector=detector)
    last = len(trimmed.dE) - 1
    assert_same(trimmed.select(slice(last)), whole.select(slice(last)))
    assert trimmed.dEdx[last] == whole.dEdx[last]
    assert trimmed.dE[last] == pytest.approx(trimmed.dEdx[last] * lengths(trimmed)[last], rel=1e-6)


def test_length_with_a_number_of_events(detector):
    limited = larndsim.generate("muons", n=10, length=50.0, detector=detector)
    assert_same(limited, larndsim.generate("muons", n=None, length=50.0, detector=detector))
    with pytest.raises(larndsim.ArgumentError, match="`n` must allow for the wanted length, but 1 events have only"):
        larndsim.generate("muons", n=1, length=5000.0, detector=detector)


def test_muons_go_through_the_detector(detector):
    s = larndsim.generate("muons", n=50, detector=detector)
    assert (np.bincount(s.event, lengths(s)) > 25).all()
    assert (s.t == 0).all()
    assert set(s.pdg) == {13}


def test_cosmics_come_from_above_at_their_own_times(detector):
    s = larndsim.generate("cosmics", n=40, detector=detector, window=100.0)
    muons = s.select(np.abs(s.pdg) == 13)
    assert (muons.y_end < muons.y_start).all()
    assert set(s.pdg) == {13, -13, 11}
    assert ((s.t >= 0) & (s.t < 100)).all()
    particles = len(np.unique(muons.t))
    assert particles == pytest.approx(200, abs=60)
    assert len(np.unique(np.stack([muons.event, muons.track]), axis=1).T) == particles


def test_several_tracks_per_event(detector):
    s = larndsim.generate("muons", n=3, detector=detector, tracks_per_event=4)
    assert [len(np.unique(s.track[s.event == event])) for event in range(3)] == [4, 4, 4]


def test_an_empty_event_is_no_error(detector):
    s = larndsim.generate("cosmics", n=1, detector=detector, tracks_per_event=1e-9)
    assert len(s.dE) == 0
    assert s.event.dtype == np.int64


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "muon"}, "one of cosmics, muons, protons, but it is 'muon'. Did you mean `muons`?"),
        ({"n": -1}, "a whole number greater than 0, but it is -1."),
        ({"n": 2.5}, "a whole number greater than 0, but it is 2.5."),
        ({"seed": -3}, "a whole number of 0 or more, but it is -3."),
        ({"length": 0}, "a number greater than 0, but it is 0."),
        ({"length": float("nan")}, "a number greater than 0, but it is nan."),
        ({"step": "1"}, "a number greater than 0, but it is '1'."),
        ({"step": None}, "a number greater than 0, but it is None."),
        ({"momentum": (0, 1.0)}, "a number greater than 0, but it is 0."),
        (
            {"momentun": 5.0},
            "length, momentum, step, deltas, tracks_per_event, but it is not. Did you mean `momentum`?",
        ),
        ({"detector": "module0"}, "a Detector, but it is 'module0'. Load it with load_detector."),
    ],
)
def test_bad_input_is_named(arguments, sentence):
    with pytest.raises(larndsim.ArgumentError) as caught:
        larndsim.generate(**{"kind": "muons", **arguments})
    [name] = arguments
    assert str(caught.value).startswith(f"Argument `{name}` must be ")
    assert str(caught.value).endswith(sentence)


def test_an_interval_has_its_lower_end_first():
    with pytest.raises(larndsim.ArgumentError, match=r"`momentum` must have its lower end first, but it is \(5, 1\)"):
        larndsim.generate("muons", momentum=(5, 1))
