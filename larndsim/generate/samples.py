"""Sample segments for benchmarks, tests and first fits: muons, stopping protons, cosmics.

Particles go straight. The mean energy loss is Bethe's; that of muons fluctuates as in Landau's theory, up to the
largest transfer that kinematics allows. Only deposits within a drift volume of the detector are kept, and no segment
crosses the border of one. Lengths in cm, times in us, energies in MeV, momenta in MeV/c; the drift is along z.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ..data.segments import Segments, lengths
from ..detector import Detector, Parameters, load_detector
from ..errors import ArgumentError, check_choice, did_you_mean
from . import argon
from .lines import Boxes, from_above, isotropic, line_through, line_within
from .tracks import Muon, Track, muon_tracks, track_of

CHARGE_RATIO = 1.28  # of positive to negative cosmic muons


def generate(
    kind: str, n: int | None = None, seed: int = 0, detector: Detector | None = None, **options: Any
) -> Segments:
    """Segments of `n` events (default: 10) of a `kind`: muons, protons or cosmics, in module 0 or a given `detector`.

    With the option `length` the sample ends after so many cm of track in all, its last segment trimmed to fit; `n` is
    then how many events it may take at most (default: as many as it takes). An event does not depend on `n`.

    Further options, and their defaults:
     - muons go through the whole detector, from all directions. `momentum` (1000, 20000): its logarithm is uniform;
       `step` 5: the longest segment; `deltas` None: the energy above which an electron that is knocked on becomes a
       track of its own (None: all is deposited on the spot); `tracks_per_event` 1.
     - protons stop in the drift volume that they start in. `energy` (50, 250): uniform kinetic energy; `step` 1;
       `tracks_per_event` 1.
     - cosmics are muons of both charges; their intensity goes with the squared cosine of the zenith angle. `step` 5;
       `deltas` 1.5; `tracks_per_event` 5.0: the mean of a Poisson distribution; `window`: each particle comes at its
       own time between 0 and this (None: the longest drift time).
    """
    length = options.pop("length", None)
    source = _make_kind(kind, options)
    if n is None and length is None:
        n = 10
    if n is not None:
        _check("n", n, whole=True)
    if length is not None:
        _check("length", length)
    _check("seed", seed, whole=True, zero=True)
    events = _events(source, n, seed, _drift_volumes(detector), length)
    return _trimmed(_assemble(events), length)


@dataclass(frozen=True)
class Muons:
    """Through-going muons from all directions, at t = 0."""

    momentum: float | tuple[float, float] = (1.0e3, 2.0e4)
    step: float = 5.0
    deltas: float | None = None
    tracks_per_event: int = 1

    def count(self, rng: np.random.Generator) -> int:
        """How many particles an event has."""
        return self.tracks_per_event

    def tracks(self, rng: np.random.Generator, boxes: Boxes) -> list[Track]:
        """One particle, and the electrons that it sets free."""
        low, high = np.log(_interval(self.momentum))
        line, chord = line_through(rng, boxes.hull(), isotropic)
        muon = Muon(13, 0.0, math.exp(rng.uniform(low, high)), line, chord)
        return muon_tracks(rng, muon, boxes, self.step, self.deltas)


@dataclass(frozen=True)
class Protons:
    """Protons in all directions that start and stop in one drift volume, at t = 0, and always lose the mean."""

    energy: float | tuple[float, float] = (50.0, 250.0)
    step: float = 1.0
    tracks_per_event: int = 1

    def count(self, rng: np.random.Generator) -> int:
        """How many particles an event has."""
        return self.tracks_per_event

    def tracks(self, rng: np.random.Generator, boxes: Boxes) -> list[Track]:
        """One particle."""
        energy = np.array(rng.uniform(*_interval(self.energy)))
        path = float(argon.csda_range(argon.PROTON_MASS, energy))
        line = line_within(rng, boxes, path)
        if line is None:
            but = f"a proton of {energy:.4g} MeV goes {path:.4g} cm, which no drift volume holds"
            raise ArgumentError("energy", "be that of protons that stop inside", but, "Lower it.")
        residual = argon.residual_ranges(path, self.step)
        dE = -np.diff(argon.energy_at_range(argon.PROTON_MASS, residual))
        return [track_of(2212, 0.0, line, path - residual, dE, boxes)]


@dataclass(frozen=True)
class Cosmics:
    """Muons from above, each at its own time, with their delta electrons."""

    step: float = 5.0
    deltas: float | None = 1.5
    tracks_per_event: float = 5.0
    window: float | None = None

    def count(self, rng: np.random.Generator) -> int:
        """How many particles an event has."""
        return int(rng.poisson(self.tracks_per_event))

    def tracks(self, rng: np.random.Generator, boxes: Boxes) -> list[Track]:
        """One particle, and the electrons that it sets free."""
        pdg = 13 if rng.random() < 1 / (1 + CHARGE_RATIO) else -13
        t = rng.uniform(0, _longest_drift(boxes) if self.window is None else self.window)
        momentum = float(np.interp(rng.random(), *_cosmic_spectrum()))
        muon = Muon(pdg, t, momentum, *line_through(rng, boxes.hull(), from_above))
        return muon_tracks(rng, muon, boxes, self.step, self.deltas)


Kind: TypeAlias = Muons | Protons | Cosmics
KINDS: dict[str, type[Kind]] = {"muons": Muons, "protons": Protons, "cosmics": Cosmics}


@lru_cache
def _cosmic_spectrum() -> tuple[np.ndarray, np.ndarray]:
    """The fraction of vertical muons below each momentum, and the momenta, up to 1 TeV/c (Reyna, hep-ph/0604145)."""
    x = np.linspace(0, 3, 601)
    density = 10 ** (x - x * (0.2455 + x * (1.288 + x * (-0.2555 + x * 0.0209))))  # per unit of x = log10(p)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return below / below[-1], 10 ** (x + 3)


def _longest_drift(boxes: Boxes) -> float:
    """Time from cathode to anode at the nominal velocity, us."""
    return float(boxes.sides[:, 2].max()) / float(Parameters().vdrift)


def _drift_volumes(detector: Detector | None) -> Boxes:
    """Where charge is collected."""
    detector = load_detector("module0") if detector is None else detector
    if not hasattr(detector, "geometry"):
        raise ArgumentError("detector", "be a Detector", f"it is {detector!r}", "Load it with load_detector.")
    g = detector.geometry
    z = np.sort([g.anode_z, g.cathode_z], axis=0)
    return Boxes(np.stack([g.x_low, g.y_low, z[0]], axis=1), np.stack([g.x_high, g.y_high, z[1]], axis=1))


def _events(source: Kind, n: int | None, seed: int, boxes: Boxes, length: float | None) -> list[list[Track]]:
    """The tracks of each event, until there are `n` events or `length` cm."""
    events: list[list[Track]] = []
    total = 0.0
    while (n is None or len(events) < n) and (length is None or total < length):
        # One stream of random numbers per event and per particle: none depends on how many others there are.
        streams = (np.random.SeedSequence(seed, spawn_key=(len(events), i)) for i in itertools.count())
        count = source.count(np.random.default_rng(next(streams)))
        particles = (np.random.default_rng(stream) for stream in itertools.islice(streams, count))
        events.append([track for rng in particles for track in source.tracks(rng, boxes)])
        total += sum(float(np.linalg.norm(track.end - track.start, axis=1).sum()) for track in events[-1])
    if length is not None and total < length:
        but = f"{n} events have only {total:.4g} cm of the length {length:.4g}"
        raise ArgumentError("n", "allow for the wanted length", but, "Set it to None.")
    return events


def _assemble(events: list[list[Track]]) -> Segments:
    """All steps as segments. Tracks are numbered within their event, segments within the sample."""
    numbered = [(event, number, track) for event, tracks in enumerate(events) for number, track in enumerate(tracks)]
    steps = np.array([len(track.dE) for _, _, track in numbered], dtype=np.int64)
    integers = [(event, number, track.pdg) for event, number, track in numbered]
    event, number, pdg = np.repeat(np.array(integers, dtype=np.int64).reshape(-1, 3), steps, axis=0).T
    t = np.repeat(np.array([track.t for _, _, track in numbered]), steps)
    columns = np.concatenate([np.empty((0, 8)), *(np.column_stack(track[2:]) for _, _, track in numbered)]).T.copy()
    return Segments(*[event, number, np.arange(len(event)), pdg, *columns, t])


def _trimmed(segments: Segments, length: float | None) -> Segments:
    """The first `length` cm: the last segment keeps its start and its dE/dx."""
    if length is None:
        return segments
    each = lengths(segments)
    total = np.cumsum(each)
    last = min(int(np.searchsorted(total, length)), len(total) - 1)  # the sums may differ by a rounding error
    kept = segments.select(slice(last + 1))
    part = 1 - (total[last] - length) / each[last]
    for axis in "xyz":
        start, end = getattr(kept, f"{axis}_start"), getattr(kept, f"{axis}_end")
        end[-1] = start[-1] + part * (end[-1] - start[-1])
    kept.dE[-1] *= part
    return kept


def _make_kind(kind: str, options: dict[str, Any]) -> Kind:
    """The kind of sample with its options, each of them checked."""
    check_choice("kind", kind, KINDS)
    known = {field.name: field.default for field in fields(KINDS[kind])}
    for name, value in options.items():
        if name not in known:
            must = f"be an option of {kind}: length, {', '.join(known)}"
            raise ArgumentError(name, must, "it is not", did_you_mean(name, known))
        if isinstance(known[name], tuple):
            low, high = _interval(value)
            _check(name, low)
            _check(name, high)
            if low > high:
                raise ArgumentError(name, "have its lower end first", f"it is {value!r}")
        elif value is not None or name not in ("deltas", "window"):
            _check(name, value, whole=isinstance(known[name], int))
    return KINDS[kind](**options)


def _interval(value: Any) -> tuple[float, float]:
    """Lowest and highest of a pair, or twice one number."""
    low, high = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
    return low, high


def _check(name: str, value: Any, whole: bool = False, zero: bool = False) -> None:
    """Refuse what is not a positive number (or zero, where allowed), or not a whole one where it must be."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and not zero):
        must = f"be a {'whole ' if whole else ''}number {'of 0 or more' if zero else 'greater than 0'}"
        raise ArgumentError(name, must, f"it is {value!r}")
