"""The whole chain on one screen: energy deposits in, what the pixels see out; `electronics` then records it.

segments -> nodes -> quench -> drift -> charge on the pixels of the plan
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .backend.operations import recomputed
from .charge import Cloud, Folded, Point, Signal, per_segment, points_of
from .data.batch import Chunk
from .detector import Detector, Parameters
from .detector.mobility import drift_velocity
from .drifting import drift
from .engine.waveforms import signal
from .quenching import quench
from .response import Sampling


class Physics(NamedTuple):
    """What of the chain is chosen, beside its parameters."""

    recombination: str  # birks, box or ellipsoid
    linked: bool  # whether the drift velocity follows from the field and the temperature
    distance: float  # cm, from the response plane to the anode
    sampling: Sampling

    @classmethod
    def of(cls, detector: Detector, recombination: str, linked: bool) -> Physics:
        """With the response of a detector, on its clock."""
        response = detector.response
        return cls(recombination, linked, response.distance, response.sampling(detector.electronics.clock))

    def clouds(self, lines: Any, chunk: Chunk, parameters: Parameters) -> Cloud:
        """What arrives at the response plane of each node of a chunk."""
        points = points_of(chunk, lines, chunk.module)
        charge, *arriving = recomputed(self._arrived, points, parameters)
        shape = chunk.pixel.shape[0], -1
        return Cloud(*(each.reshape(shape) for each in (points.x, points.y, charge, *arriving)))

    def _arrived(self, points: Point, p: Parameters) -> tuple[Any, Any, Any, Any]:
        if self.linked:
            p = p._replace(vdrift=drift_velocity(p.eField, p.temperature))
        p = Parameters(*(None if value is None else per_segment(value, points.module) for value in p))
        electrons = quench(points.dE, points.dEdx, points.cos2, p, self.recombination)
        drifted = drift(points.distance, points.t, p, self.distance)
        return electrons * drifted.survival, drifted.variance_T, drifted.arrival, drifted.variance_t


def chain(lines: Any, chunk: Chunk, responses: tuple[Folded, ...], parameters: Parameters, physics: Physics) -> Signal:
    """From the lines of the segments to what each pixel of a chunk sees, tick by tick."""
    return signal(physics.clouds(lines, chunk, parameters), chunk, responses, physics.sampling)
