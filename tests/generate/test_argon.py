"""Energy loss and ranges in liquid argon, against published tables."""

from __future__ import annotations

import numpy as np
import pytest

from larndsim.data import argon

# NIST PSTAR, argon: kinetic energy (MeV), CSDA range (g/cm2).
PSTAR = np.array([[20, 0.6335], [40, 2.159], [80, 7.375], [100, 10.92], [150, 22.15], [200, 36.27], [250, 52.82]])


def kinetic_of(momentum: float, mass: float = argon.MUON_MASS) -> np.ndarray:
    return np.array(np.hypot(momentum, mass) - mass)


def test_range_of_protons_agrees_with_pstar():
    ranges = argon.csda_range(argon.PROTON_MASS, PSTAR[:, 0]) * argon.DENSITY
    np.testing.assert_allclose(ranges, PSTAR[:, 1], rtol=0.02)


def test_minimum_of_muons_agrees_with_the_particle_data_group():
    kinetic = np.geomspace(50, 1e5, 2000)
    loss = argon.mean_loss(argon.MUON_MASS, kinetic) / argon.DENSITY
    assert loss.min() == pytest.approx(1.508, rel=2e-3)  # MeV cm2/g
    assert kinetic[loss.argmin()] == pytest.approx(266, rel=0.05)  # MeV


def test_energy_at_range_inverts_range():
    for mass in (argon.MUON_MASS, argon.PROTON_MASS):
        residual = np.geomspace(1e-7, 1e3, 50)
        np.testing.assert_allclose(argon.csda_range(mass, argon.energy_at_range(mass, residual)), residual, rtol=1e-9)
    assert argon.energy_at_range(argon.PROTON_MASS, np.array(0.0)) == 0


def test_slope_of_energy_over_range_is_the_loss():
    residual = np.geomspace(1e-3, 500, 40)
    ends = np.stack([0.98 * residual, 1.02 * residual])
    slope = np.diff(argon.energy_at_range(argon.PROTON_MASS, ends), axis=0)[0] / np.diff(ends, axis=0)[0]
    kinetic = argon.energy_at_range(argon.PROTON_MASS, residual)
    np.testing.assert_allclose(slope, argon.mean_loss(argon.PROTON_MASS, kinetic), rtol=3e-3)


def test_hard_collisions_have_the_rate_and_loss_of_the_formula():
    rng = np.random.default_rng(1)
    kinetic, length = np.full(200, kinetic_of(300.0)), np.full(200, 100.0)
    step, energy = argon.hard_collisions(rng, argon.MUON_MASS, kinetic, length, 0.01)
    expected = argon.hard_loss(argon.MUON_MASS, kinetic, 0.01)[0] * length.sum()
    assert energy.sum() == pytest.approx(expected, abs=4 * np.sqrt((energy**2).sum()))
    assert energy.min() >= 0.01
    assert energy.max() <= argon.max_transfer(argon.MUON_MASS, kinetic[0])
    assert step.min() == 0
    assert step.max() == 199


def test_no_hard_collisions_where_none_is_possible():
    slow = np.full(3, 0.2)  # MeV: this muon can give an electron 4 keV
    step, energy = argon.hard_collisions(np.random.default_rng(1), argon.MUON_MASS, slow, np.ones(3), 0.01)
    assert len(step) == len(energy) == 0
    assert (argon.hard_loss(argon.MUON_MASS, slow, 0.01) == 0).all()


def test_recoil_is_forward_for_the_largest_transfer_and_sideways_for_small_ones():
    kinetic = kinetic_of(1000.0)
    top = argon.max_transfer(argon.MUON_MASS, kinetic)
    cosine = argon.recoil_cosine(argon.MUON_MASS, kinetic, np.array([1e-6 * top, top]))
    np.testing.assert_allclose(cosine, [0, 1], atol=0.02)


@pytest.mark.parametrize("path", [0.001, 0.05, 0.3, 4.9, 5.0, 40.0])
def test_residual_ranges_shrink_to_nothing(path):
    residual = argon.residual_ranges(path, 1.0)
    steps = -np.diff(residual)
    assert residual[0] == pytest.approx(path)
    assert residual[-1] == 0
    assert (steps > 0).all()
    assert steps.max() <= 1.0 + 1e-12
    assert (np.diff(steps[:-1]) <= 1e-12).all()
