"""What liquid argon does to a charged particle: mean energy loss, its fluctuations, and ranges.

Energies and masses in MeV, lengths in cm; every function takes arrays of any one shape.

Only ionisation is described: radiation adds some 4 % to the loss of a muon of 20 GeV. Sources:
 - Bethe's formula, the restricted loss and hard collisions: Review of Particle Physics, "Passage of particles through
   matter";
 - the constants of the density effect: Sternheimer, Berger, Seltzer, At. Data Nucl. Data Tables 30 (1984) 261, with the
   values for liquid argon of Groom, Mokhov, Striganov, At. Data Nucl. Data Tables 78 (2001) 183.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

ELECTRON_MASS = 0.51099895
MUON_MASS = 105.6583755
PROTON_MASS = 938.2720882

DENSITY = 1.396  # g/cm3, at the boiling point
EXCITATION = 188.0e-6  # MeV, the mean excitation energy
STRENGTH = 0.307075 * DENSITY * 18 / 39.948  # MeV/cm: K rho Z/A
ELECTRON_LOSS = 2.1  # MeV/cm, a fair mean for electrons of 1 to 20 MeV

# Sternheimer's delta: 0 below X0, a (X1 - X)^3 added to the straight line between X0 and X1, X = log10(beta gamma).
_DELTA_A, _DELTA_X0, _DELTA_X1, _DELTA_C = 0.19559, 0.2, 3.0, 5.2146
_SLOW = 5.0e-4  # kinetic energy / mass below which Bethe's formula gives way to a loss proportional to velocity


def beta_squared(mass: float, kinetic: np.ndarray) -> np.ndarray:
    """The squared velocity, c = 1."""
    return kinetic * (kinetic + 2 * mass) / (kinetic + mass) ** 2


def max_transfer(mass: float, kinetic: np.ndarray) -> np.ndarray:
    """The largest energy that the particle can give to an electron at rest."""
    gamma = 1 + kinetic / mass
    ratio = ELECTRON_MASS / mass
    return 2 * ELECTRON_MASS * (gamma**2 - 1) / (1 + 2 * gamma * ratio + ratio**2)


def density_effect(beta_gamma: np.ndarray) -> np.ndarray:
    """Sternheimer's delta: how far the medium's polarisation screens a fast particle."""
    x = np.log10(beta_gamma)
    line = 2 * np.log(10) * x - _DELTA_C
    bend = _DELTA_A * np.maximum(_DELTA_X1 - x, 0) ** 3
    return np.where(x < _DELTA_X0, 0.0, line + bend)


def mean_loss(mass: float, kinetic: np.ndarray) -> np.ndarray:
    """Bethe's mean energy loss, MeV/cm; proportional to the velocity where the particle is too slow for it."""
    fast = np.maximum(kinetic, _SLOW * mass)
    beta2 = beta_squared(mass, fast)
    beta_gamma2 = beta2 / (1 - beta2)
    argument = 2 * ELECTRON_MASS * beta_gamma2 * max_transfer(mass, fast) / EXCITATION**2
    bracket = np.log(argument) / 2 - beta2 - density_effect(np.sqrt(beta_gamma2)) / 2
    return STRENGTH / beta2 * bracket * np.sqrt(kinetic / fast)


def hard_loss(mass: float, kinetic: np.ndarray, cut: float) -> np.ndarray:
    """The part of the mean loss that collisions of more than `cut` make up, MeV/cm; the rest is the restricted loss."""
    top = np.maximum(max_transfer(mass, kinetic), cut)
    beta2 = beta_squared(mass, kinetic)
    return STRENGTH / (2 * beta2) * (np.log(top / cut) - beta2 * (1 - cut / top))


def hard_collisions(
    rng: np.random.Generator, mass: float, kinetic: np.ndarray, length: np.ndarray, cut: float
) -> tuple[np.ndarray, np.ndarray]:
    """Collisions of more than `cut` along steps of a `length`: the step of each, and the energy given to the electron.

    `kinetic` and `length` have the axis (step,), the results (collision,). The spectrum is that of a free electron,
    (1 - beta^2 T / T_max) / T^2: draw from 1 / T^2, then thin by the bracket, which keeps the count Poissonian.
    """
    top = np.maximum(max_transfer(mass, kinetic), cut)
    beta2 = beta_squared(mass, kinetic)
    count = rng.poisson(STRENGTH / (2 * beta2) * (1 / cut - 1 / top) * length)
    step = np.repeat(np.arange(len(count)), count)
    energy = cut / (1 - rng.random(len(step)) * (1 - cut / top[step]))
    kept = rng.random(len(step)) > beta2[step] * energy / top[step]
    return step[kept], energy[kept]


def recoil_cosine(mass: float, kinetic: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Cosine of the angle between the particle and an electron that it gives `energy` to."""
    top = max_transfer(mass, kinetic)
    return np.sqrt(np.minimum(energy * (top + 2 * ELECTRON_MASS) / (top * (energy + 2 * ELECTRON_MASS)), 1.0))


def csda_range(mass: float, kinetic: np.ndarray) -> np.ndarray:
    """The path on which a particle that always loses the mean comes to rest, cm."""
    energies, ranges = _range_table(mass)
    logarithm = np.log(kinetic)
    # Below the table the loss is proportional to the velocity, so the range goes with the root of the energy.
    return np.exp(np.interp(logarithm, energies, ranges) + np.minimum(logarithm - energies[0], 0) / 2)


def energy_at_range(mass: float, residual: np.ndarray) -> np.ndarray:
    """Kinetic energy of a particle that has `residual` cm left to go: the inverse of `csda_range`, 0 at 0."""
    energies, ranges = _range_table(mass)
    first = np.exp(ranges[0])
    covered = np.maximum(residual, first)
    return np.exp(np.interp(np.log(covered), ranges, energies)) * (residual / covered) ** 2


def residual_ranges(path: float, step: float) -> np.ndarray:
    """Steps of a particle that stops: what is left of its `path` after each, cm; first the whole path, last 0.

    No step is longer than `step`, nor than a fifth of what is left, until the last 0.5 mm.
    """
    whole = max(math.ceil((path - 5 * step) / step), 0)
    tail = path - whole * step
    shrinking = max(math.ceil(math.log(tail / 0.05) / math.log(1.25)), 0)
    return np.concatenate([path - step * np.arange(whole), tail * 0.8 ** np.arange(shrinking + 1), [0.0]])


@lru_cache(maxsize=8)
def _range_table(mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of kinetic energy and range, from the slowest that Bethe's formula holds for up to 10^4 masses."""
    energies = np.log(mass) + np.linspace(np.log(_SLOW), np.log(1e4), 4001)
    kinetic = np.exp(energies)
    slope = kinetic / mean_loss(mass, kinetic)
    steps = np.diff(energies) * (slope[1:] + slope[:-1]) / 2
    # Up to the first entry the loss grows with the root of the energy: the range there is twice T / loss.
    ranges = np.log(2 * slope[0] + np.concatenate([[0.0], np.cumsum(steps)]))
    energies.flags.writeable = ranges.flags.writeable = False
    return energies, ranges
