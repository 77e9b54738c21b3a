"""The whole chain on one screen: energy deposits in, what the pixels record out.

segments -> quench -> drift -> charge on the pixels of the plan -> electronics
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .backend import DEFAULT, get_backend
from .backend.operations import recomputed
from .charge import Cloud, Folded, Point, Signal, per_segment, points_of
from .data.batch import Batch, Chunk
from .data.hits import Hits, as_table
from .data.segments import Segments
from .data.waveforms import Waveforms
from .detector import Detector, Parameters, channel_maps, load_detector
from .detector.mobility import drift_velocity
from .drifting import drift
from .electronics.models import MODELS
from .electronics.tuning import settings_now
from .engine import checks
from .engine.batch import make_batch
from .engine.folding import Resolution
from .engine.footprint import Footprint, bytes_of, footprint
from .engine.kept import kept_response
from .engine.recorded import chips_of, recorded_of
from .engine.recording import recorder_of
from .engine.runner import Runner
from .engine.waveforms import signal
from .errors import ArgumentError, check_choice
from .quenching import RECOMBINATION, quench
from .response import Sampling
from .truth import Truth, truth_fractions


class Physics(NamedTuple):
    """What of the chain is chosen, beside its parameters."""

    recombination: str  # birks, box or ellipsoid
    linked: bool  # whether the drift velocity follows from the field and the temperature
    distance: float  # cm, from the response plane to the anode
    sampling: Sampling

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


class Simulator:
    """A detector on a backend.

    `recombination` is one of birks, box, ellipsoid. With `link_vdrift_eField` the drift velocity follows from the
    field and the temperature instead of the parameter `vdrift`. `electronics` is one of clocked, relaxed, expected;
    arrays of `thresholds` (electrons), `gains` (mV per electron), `pedestals`, `v_ref`, `v_cm` (mV) and `bad_channels`
    (true or false), with axes (plane, ix, iy), replace what the detector says: `channels` is what stands behind every
    pixel. `accuracy` is that of each waveform at every tick, relative to its pixel's total (totals are some ten times
    as accurate): looser is faster. `memory` is what hits and their gradient may take, beside the libraries: of a larger
    batch one part is simulated after the other, with the same result.
    """

    def __init__(
        self,
        detector: Detector | str = "module0",
        backend: str = DEFAULT,
        device: str = "cpu",
        dtype: str = "float32",
        electronics: str = "relaxed",
        recombination: str = "birks",
        link_vdrift_eField: bool = False,
        thresholds: np.ndarray | None = None,
        gains: np.ndarray | None = None,
        bad_channels: np.ndarray | None = None,
        accuracy: float = 1e-3,
        memory: float | str = "2GB",
        pedestals: np.ndarray | None = None,
        v_ref: np.ndarray | None = None,
        v_cm: np.ndarray | None = None,
    ) -> None:
        check_choice("recombination", recombination, RECOMBINATION)
        check_choice("electronics", electronics, MODELS)
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.backend = get_backend(backend, device, dtype)
        self.recombination, self.link_vdrift_eField = recombination, link_vdrift_eField
        self.electronics, self.model = electronics, MODELS[electronics]
        self.accuracy, self.memory = checks.check_accuracy(accuracy), bytes_of(memory)
        voltages = {"pedestals": pedestals, "v_ref": v_ref, "v_cm": v_cm}
        self.channels = channel_maps(self.detector, thresholds, gains, bad_channels, **voltages)
        checks.check_model(self.model, self.detector.electronics, self.channels)
        response = self.detector.response
        sampling = response.sampling(self.detector.electronics.clock)
        self.physics = Physics(recombination, link_vdrift_eField, response.distance, sampling)
        self._respond = cache(self._response_on_device)
        self.runner = Runner(self.backend, self.detector, self.channels, electronics, chain, self.physics)

    def prepare(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, vary: Iterable[str] | None = None
    ) -> Batch:
        """Plan a batch of segments for all values of the parameters within bounds, and put it on the device.

        `vary` names the parameters that will change (default: all but the shifts); the others stay at `parameters`
        (default: the detector's), and the plan is smaller for it.
        """
        segments = checks.checked_segments(segments)
        nominal, _ = checks.checked_parameters(parameters, None, self)
        limits = checks.limits_of_plan(nominal, vary, self)
        ranges = checks.ranges_of_plan(limits, self.physics, self.accuracy)

        def record(pixels: Any) -> Any:
            return recorder_of(pixels, self.channels, self.detector)

        return make_batch(segments, self.detector, ranges, self._respond, record, self.backend, self.memory, limits)

    def charge(self, batch: Batch, parameters: Parameters | None = None) -> Waveforms:
        """What each pixel sees, tick by tick: the charge is differentiable."""
        event, plane, ix, iy, start, _, burst = batch.all_pixels()
        charge = self.runner.charge(batch, self.checked(parameters, batch.fixed.limits))
        return Waveforms(event, plane, ix, iy, start, self.physics.sampling.tick, charge, burst)

    def hits(self, batch: Batch, parameters: Parameters | None = None, seed: int | None = None) -> Hits:
        """What the electronics record. With a `seed` they are noisy: same seed, same noise of each event and pixel."""
        if self.model.predicts and seed is not None:
            must = f"be left out with electronics {self.electronics}, which integrate all noise over"
            raise ArgumentError("seed", must, f"it is {seed}", "Use electronics clocked for noise of a seed.")
        if parameters is not None:
            checks.check_derived(parameters, self, noisy=seed is not None)
        columns = self.runner.hits(batch, self.checked(parameters, batch.fixed.limits), seed)
        return Hits(**batch.fixed.slots._asdict(), **columns)

    def expected_hits(self, batch: Batch, parameters: Parameters | None = None) -> Any:
        """How many hits each pixel has on average, with electronics expected. Axis: (pixel,), as that of `charge`."""
        if not self.model.predicts:
            remedy = "Make the simulator with electronics='expected'."
            raise ArgumentError("electronics", "be expected", f"they are {self.electronics}", remedy)
        probability = self.hits(batch, parameters).probability
        return self.backend.sums(probability, self.detector.electronics.max_hits)

    def log_likelihood(self, batch: Batch, hits: Any, parameters: Parameters | None = None) -> Any:
        """The logarithm of the probability of what each pixel recorded, noise integrated over: see `likelihood`.

        `hits`, whole ticks and ADC words as in `Hits.numpy()`, may come from a file. Pixels of the batch without hits
        count as silent; hits of other pixels are left out. Axis: (pixel,), as in `charge`; differentiable. Several
        tables of hits, in a tuple, share the waveforms, and give a tuple.
        """
        several = isinstance(hits, tuple | list) and not isinstance(hits, Hits)
        tables, pixels = hits if several else (hits,), batch.all_pixels()
        p = self.checked(parameters, batch.fixed.limits)
        settings = settings_now(self.detector.electronics, p, self.backend)
        behind = chips_of(pixels, self.channels, self.detector, settings)
        recorded = [recorded_of(as_table(each), pixels, *behind, settings) for each in tables]
        found = tuple(self.runner.log_likelihood(batch, recorded, p))
        return found if several else found[0]

    def truth(self, batch: Batch, hits: Hits | np.ndarray, parameters: Parameters | None = None) -> Truth:
        """Which segments made each hit, with fractions that sum to one."""
        return truth_fractions(self, batch, parameters, hits)

    def __call__(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, seed: int | None = None
    ) -> Hits:
        """`prepare` and `hits` for these parameters alone."""
        return self.hits(self.prepare(segments, parameters, vary=()), parameters, seed)

    def footprint(self, batch: Batch) -> Footprint:
        """The memory that a batch takes, bytes: an estimate, made beforehand."""
        return footprint(batch, self.backend, self.physics.sampling)

    def checked(self, parameters: Parameters | None, limits: Any) -> Parameters:
        """Parameters within the limits of a plan."""
        return checks.within_limits(parameters, limits, self)

    def _response_on_device(self, pitch: float, resolution: Resolution) -> Folded:
        folded = kept_response(self.detector.response, pitch, resolution, self.physics.sampling, self.accuracy)
        return self.backend.put(folded)
