"""What the tests of fits share: small samples, and a problem without a simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

import larndsim
from larndsim.data.segments import concatenate
from optimize.objective import Information, Normal
from optimize.scaling import make_scaling

DETECTOR = larndsim.load_detector("module0")


def sample(muons=6.0, protons=4.0):
    """A few cm of a muon, and of a proton as event 1000."""
    stopping = larndsim.generate("protons", seed=1, length=protons)
    return concatenate(larndsim.generate("muons", seed=1, length=muons), stopping._replace(event=stopping.event + 1000))


@pytest.fixture(scope="session")
def segments():
    return sample()


@pytest.fixture(scope="session")
def segments_file(segments, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "segments.h5"
    larndsim.write_segments(path, segments)
    return path


@dataclass
class Bowl:
    """Residuals that are not quite linear in u, with their minimum at `bottom`: an objective without a simulator.

    What `spoil(u)` says is not finite is answered with NaN; `asked` counts the evaluations.
    """

    bottom: np.ndarray
    names: tuple = ("Ab", "kb", "lifetime")
    backend: str = "torch"
    spoil: object = None
    batches: tuple = (0,)
    asked: list = field(default_factory=list)

    has_residuals = True
    is_likelihood = False

    def __post_init__(self):
        self.scaling = make_scaling(self.names, DETECTOR)
        self.simulator = SimpleNamespace(backend=SimpleNamespace(name=self.backend, dtype="float64"))
        rng = np.random.default_rng(0)
        self.matrix = rng.normal(size=(20, len(self.names)))

    def residuals(self, u):
        d = np.asarray(u) - self.bottom
        return self.matrix @ (d + 0.2 * d**2), self.matrix * (1.0 + 0.4 * d)

    def stiff(self):
        return None

    def coarse(self, u):
        return ()

    def coarse_moves(self):
        return np.ones(len(self.scaling.names), dtype=bool)

    def informed(self, u, seeds):
        """As if -log L were the sum of the squares, and the information that of the Jacobian."""
        found = self.normal(u)
        value = -found.loss * found.residuals
        return Information(value, -found.slope, found.matrix, found.matrix, np.full(len(seeds), value), 20.0)

    def normal(self, u):
        self.asked.append(np.array(u))
        r, J = self.residuals(u)
        if self.spoil is not None and self.spoil(u):
            r = r * np.nan
        return Normal(0.5 * float(r @ r) / len(r), J.T @ J, J.T @ r, len(r))

    def value_and_grad(self, u, batches=None):
        found = self.normal(u)
        return found.loss, found.gradient
