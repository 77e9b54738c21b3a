"""What users simulate with: a detector on a backend. What is computed is in `chain`, how in `engine`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from .backend import DEFAULT, get_backend
from .chain import Physics, chain
from .data.batch import Batch
from .data.hits import Hits, as_table
from .data.segments import Segments
from .data.waveforms import Waveforms
from .detector import Detector, Parameters, channel_maps, load_detector
from .electronics.models import MODELS
from .engine import checks
from .engine.batch import make_batch
from .engine.footprint import Footprint, bytes_of, footprint
from .engine.kept import responses_on
from .engine.recording import recorder_of
from .engine.runner import Runner
from .errors import check_choice
from .quenching import RECOMBINATION
from .truth import Truth, truth_fractions


class Simulator:
    """A detector on a backend.

    `recombination` is one of birks, box, ellipsoid. With `link_vdrift_eField` the drift velocity follows from the
    field and the temperature instead of the parameter `vdrift`. `electronics` is one of clocked, relaxed, expected;
    arrays of `thresholds` (electrons), `gains` (mV per electron), `pedestals`, `v_ref`, `v_cm` (mV) and `bad_channels`
    (true or false), with axes (plane, ix, iy), replace what the detector says: `channels` is what stands behind every
    pixel. `accuracy` is that of each waveform at every tick, relative to its pixel's total (totals are some ten times
    as accurate): looser is faster. `memory` is for hits and their gradient, beside the libraries: more goes by parts.
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
        self.physics = Physics.of(self.detector, recombination, link_vdrift_eField)
        self.respond = responses_on(self.backend, self.detector.response, self.physics.sampling, self.accuracy)
        self.runner = Runner(self.backend, self.detector, self.channels, electronics, chain, self.physics)

    def prepare(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, vary: Iterable[str] | None = None
    ) -> Batch:
        """Plan a batch of segments for all values of the parameters within bounds, and put it on the device.

        `vary` names the parameters that will change (default: all but the shifts); the others stay at `parameters`
        (default: the detector's), and the plan is smaller for it.
        """
        segments, limits = checks.checked_segments(segments), checks.limits_of_plan(parameters, vary, self)
        ranges = checks.ranges_of_plan(limits, self.physics, self.accuracy)
        record = partial(recorder_of, channels=self.channels, detector=self.detector)
        return make_batch(segments, self.detector, ranges, self.respond, record, self.backend, self.memory, limits)

    def charge(self, batch: Batch, parameters: Parameters | None = None) -> Waveforms:
        """What each pixel sees, tick by tick: the charge is differentiable."""
        event, plane, ix, iy, start, _, burst = batch.all_pixels()
        charge = self.runner.charge(batch, self.checked(parameters, batch.fixed.limits))
        return Waveforms(event, plane, ix, iy, start, self.physics.sampling.tick, charge, burst)

    def hits(self, batch: Batch, parameters: Parameters | None = None, seed: int | None = None) -> Hits:
        """What the electronics record. With a `seed` they are noisy: same seed, same noise of each event and pixel."""
        checks.check_seed(seed, parameters, self)
        columns = self.runner.hits(batch, self.checked(parameters, batch.fixed.limits), seed)
        return Hits(**batch.fixed.slots._asdict(), **columns)

    def expected_hits(self, batch: Batch, parameters: Parameters | None = None) -> Any:
        """How many hits each pixel has on average, with electronics expected. Axis: (pixel,), as that of `charge`."""
        checks.check_predicts(self)
        return self.backend.sums(self.hits(batch, parameters).probability, self.detector.electronics.max_hits)

    def log_likelihood(self, batch: Batch, hits: Any, parameters: Parameters | None = None) -> Any:
        """The logarithm of the probability of what each pixel recorded, noise integrated over: see `likelihood`.

        `hits`, whole ticks and ADC words as in `Hits.numpy()`, may come from a file. Pixels of the batch without hits
        count as silent; hits of other pixels are left out. Axis: (pixel,), as in `charge`; differentiable. Several
        tables of hits, in a tuple, share the waveforms, and give a tuple.
        """
        several = isinstance(hits, tuple | list) and not isinstance(hits, Hits)
        tables = [as_table(each) for each in (hits if several else (hits,))]
        found = self.runner.log_likelihood(batch, tables, self.checked(parameters, batch.fixed.limits))
        return found if several else found[0]

    def truth(self, batch: Batch, hits: Hits | np.ndarray, parameters: Parameters | None = None) -> Truth:
        """Which segments made each hit, with fractions that sum to one."""
        return truth_fractions(self, batch, parameters, hits)

    def __call__(self, segments: Any, parameters: Parameters | None = None, seed: int | None = None) -> Hits:
        """`prepare` and `hits` for these parameters alone."""
        return self.hits(self.prepare(segments, parameters, vary=()), parameters, seed)

    def footprint(self, batch: Batch) -> Footprint:
        """The memory that a batch takes, bytes: an estimate, made beforehand."""
        return footprint(batch, self.backend, self.physics.sampling)

    def checked(self, parameters: Parameters | None, limits: Any) -> Parameters:
        """Parameters within the limits of a plan."""
        return checks.within_limits(parameters, limits, self)
