"""Particles on straight lines through liquid argon: where they step, and what they deposit.

Lengths in cm, times in us, energies in MeV, momenta in MeV/c.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from . import argon
from .lines import Boxes, Line, turned

COLLISION = 0.01  # MeV: a collision of less is part of the continuous loss
FREE_PATH = 2.5  # cm: the mean step of muons, as in edep-sim, where collisions of some 0.3 MeV end a step
ELECTRON_STEP = 0.3  # cm
GRAIN = 6  # decimals, in cm, that positions along a track are rounded to: no step is shorter


class Track(NamedTuple):
    """What one particle deposits. Axis: (step,), of the ends (step, [x, y, z])."""

    pdg: int
    t: float
    start: np.ndarray
    end: np.ndarray
    dE: np.ndarray
    dEdx: np.ndarray


def track_of(pdg: int, t: float, line: Line, edges: np.ndarray, dE: np.ndarray, boxes: Boxes) -> Track:
    """A particle's deposits `dE` between the `edges` along its line, as far as they lie in a drift volume."""
    ends, inside = line.at(edges), boxes.hold(line.at((edges[1:] + edges[:-1]) / 2))
    dEdx = dE / np.diff(edges)
    return Track(pdg, t, ends[:-1][inside], ends[1:][inside], dE[inside], dEdx[inside])


class Muon(NamedTuple):
    """A muon that enters the detector: how, when, and for how many cm it would stay."""

    pdg: int
    t: float
    momentum: float
    line: Line
    chord: float


def muon_tracks(rng: np.random.Generator, muon: Muon, boxes: Boxes, step: float, deltas: float | None) -> list[Track]:
    """What a muon deposits, and the tracks of the electrons to which it gives more than `deltas`.

    In each step the mean is Bethe's: the continuous loss makes up for the mean of the hard collisions.
    """
    mass = argon.MUON_MASS
    path = float(argon.csda_range(mass, np.hypot(muon.momentum, mass) - mass))
    edges = _muon_edges(rng, muon, path, step, boxes)
    length = np.diff(edges)
    residual = np.maximum(path - edges, 0)
    kinetic = argon.energy_at_range(mass, (residual[1:] + residual[:-1]) / 2)
    mean = -np.diff(argon.energy_at_range(mass, residual))
    soft = np.maximum(mean - argon.hard_loss(mass, kinetic, COLLISION) * length, 0)
    at, energy = argon.hard_collisions(rng, mass, kinetic, length, COLLISION)
    place = np.round(edges[at] + rng.random(len(at)) * length[at], GRAIN)

    free = energy > (math.inf if deltas is None else deltas)
    pieces = np.union1d(edges, place[free])  # a step ends where an electron is set free
    origin = np.searchsorted(edges, (pieces[1:] + pieces[:-1]) / 2) - 1
    dE = soft[origin] * np.diff(pieces) / length[origin]
    local = np.clip(np.searchsorted(pieces, place[~free]) - 1, 0, None)
    dE += np.bincount(local, energy[~free], minlength=len(dE))
    cosine = argon.recoil_cosine(mass, kinetic[at[free]], energy[free])
    direction = turned(muon.line.direction, cosine, rng.uniform(0, 2 * np.pi, len(cosine)))
    lines = zip(muon.line.at(place[free]), direction, strict=True)
    electrons = [_electron(e, muon.t, Line(*line), boxes) for e, line in zip(energy[free], lines, strict=True)]
    return [track_of(muon.pdg, muon.t, muon.line, pieces, dE, boxes), *electrons]


def _muon_edges(rng: np.random.Generator, muon: Muon, path: float, step: float, boxes: Boxes) -> np.ndarray:
    """Where the steps of a muon end: as a Poisson process has it, within `step`, and smaller before it stops."""
    if path < muon.chord:
        edges = path - argon.residual_ranges(path, step)
    else:
        mean = -FREE_PATH * math.expm1(-step / FREE_PATH)
        steps = np.minimum(rng.exponential(FREE_PATH, 20 + int(2 * muon.chord / mean)), step)
        edges = np.cumsum(steps)
        edges = np.concatenate([[0.0], edges[edges < muon.chord], [muon.chord]])
    return _cut(edges, muon.line, boxes)


def _electron(energy: float, t: float, line: Line, boxes: Boxes) -> Track:
    """A delta electron: straight, with the same loss all along."""
    path = energy / argon.ELECTRON_LOSS
    edges = _cut(np.linspace(0, path, math.ceil(path / ELECTRON_STEP) + 1), line, boxes)
    return track_of(11, t, line, edges, energy * np.diff(edges) / edges[-1], boxes)


def _cut(edges: np.ndarray, line: Line, boxes: Boxes) -> np.ndarray:
    """The same steps, cut at the borders of the drift volumes that the line goes through."""
    enter, leave = line.crossings(boxes)
    borders = np.concatenate([enter[enter < leave], leave[enter < leave]])
    borders = borders[(borders > edges[0]) & (borders < edges[-1])]
    return np.unique(np.round(np.concatenate([edges, borders]), GRAIN))
