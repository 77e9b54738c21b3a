"""The whole chain on one screen: energy deposits in, what the pixels record out.

segments -> quench -> drift -> pixelize (the plan) -> charge -> electronics
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import eagerpy as ep
import numpy as np

from . import charge as stage4
from . import checks, recording
from .backend import DEFAULT, concatenate, get_backend, map_leaves
from .backend.operations import to_real
from .batching import make_batch
from .data.batch import Batch, Frame, Pixels, SizeClass
from .data.hits import Hits
from .data.segments import Segments
from .data.waveforms import Waveforms
from .detector import Detector, Electronics, Parameters, load_detector
from .electronics import MODELS, Channel, digitize
from .errors import check_choice
from .noise import Noise
from .quenching import RECOMBINATION
from .response import TICK, Response, folded_response
from .truth import Truth, truth_fractions


class Simulator:
    """A detector on a backend.

    `recombination` is one of birks, box, ellipsoid. With `link_vdrift_eField` the drift velocity follows from the
    field and the temperature instead of the parameter `vdrift`. `electronics` is one of clocked, relaxed; arrays of
    `thresholds` (electrons), `gains` (mV per electron) and `bad_channels` (true or false), with axes (plane, ix, iy),
    replace what the detector says.
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
    ) -> None:
        check_choice("recombination", recombination, RECOMBINATION)
        check_choice("electronics", electronics, MODELS)
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.backend = get_backend(backend, device, dtype)
        self.recombination = recombination
        self.link_vdrift_eField = link_vdrift_eField
        self.electronics = electronics
        self._channels = recording.channel_maps(self.detector, thresholds, gains, bad_channels)
        self._respond = cache(self._response_on_device)
        stages = partial(stage4.pixel_signals, model=recombination, linked=link_vdrift_eField)
        self._rows = self.backend.compile(stage4.lines_in_boxes)
        self._charge = self.backend.compile(partial(_charge, stages))
        self._record = self.backend.compile(partial(_record, stages, self.detector.electronics, electronics))

    def prepare(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, vary: Iterable[str] | None = None
    ) -> Batch:
        """Plan a batch of segments for all values of the parameters within bounds, and put it on the device.

        `vary` names the parameters that will change (default: all of them); the others stay at `parameters`
        (default: the detector's), and the plan is smaller for it.
        """
        segments = checks.checked_segments(segments)
        nominal = checks.checked_parameters(parameters, None, self)
        limits = checks.limits_of_plan(nominal, vary, self)
        ranges = checks.ranges_of_plan(limits, self.link_vdrift_eField)
        batch = make_batch(segments, self.detector.geometry, ranges, self._respond, self.backend)
        return batch._replace(limits=limits)

    def charge(self, batch: Batch, parameters: Parameters | None = None) -> Waveforms:
        """What each pixel sees, tick by tick: the charge is differentiable."""
        values = checks.checked_parameters(parameters, batch.limits, self)
        rows = self._rows(batch.deposits, batch.frame, values)
        charge = [
            self._charge(size, response, rows, batch.frame, values)[: pixels.ix.shape[0]]
            for size, response, pixels in zip(batch.classes, batch.responses, batch.pixels, strict=True)
        ]
        event, plane, ix, iy, start, _ = batch.all_pixels()
        return Waveforms(event, plane, ix, iy, start, TICK, concatenate(charge, self.backend))

    def hits(self, batch: Batch, parameters: Parameters | None = None, seed: int | None = None) -> Hits:
        """What the electronics record. With a `seed` they are noisy: same seed, same noise of each event and pixel."""
        values = checks.checked_parameters(parameters, batch.limits, self)
        rows = self._rows(batch.deposits, batch.frame, values)
        parts = []
        for size, response, pixels in zip(batch.classes, batch.responses, batch.pixels, strict=True):
            channel, noise = self._electronics_behind(size, pixels, seed)
            arrays = (size, response, rows, batch.frame, values, channel, noise)
            parts.append(self._record(*arrays)[: pixels.ix.shape[0]])
        return recording.assembled(parts, batch.all_pixels(), self.detector, self.backend)

    def __call__(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, seed: int | None = None
    ) -> Hits:
        """`prepare` and `hits` for these parameters alone."""
        return self.hits(self.prepare(segments, parameters, vary=()), parameters, seed)

    def truth(self, batch: Batch, hits: Hits | np.ndarray, parameters: Parameters | None = None) -> Truth:
        """Which segments made each hit, with fractions that sum to one."""
        parameters = self.detector.parameters if parameters is None else parameters
        return truth_fractions(self, batch, parameters, hits)

    def _electronics_behind(self, size: SizeClass, pixels: Pixels, seed: int | None) -> tuple[Any, Any]:
        """Channels and noise (or None) of a class, on the device."""
        rows, ticks = size.segment.shape[0], stage4.ticks_of(size)
        channel = recording.channels_of(self._channels, pixels, rows)
        noise = None if seed is None else recording.noise_of(seed, pixels, rows, ticks, self.detector)
        return self._to_device(channel), self._to_device(noise)

    def _response_on_device(self, *key: Any) -> Response:
        return self._to_device(folded_response(*key))

    def _to_device(self, tree: Any) -> Any:
        return map_leaves(self.backend.asarray, tree)


def _charge(stages: Callable[..., stage4.Signal], size: SizeClass, *arrays: Any) -> ep.Tensor:
    return stage4.on_window(stages(size, *arrays), size)


def _record(
    stages: Callable[..., stage4.Signal], settings: Electronics, model: str, size: SizeClass, response: Response,
    rows: ep.Tensor, frame: Frame, parameters: Parameters, channel: Channel, noise: Noise | None,
) -> ep.Tensor:  # fmt: skip
    """Tick from the event's reference time, charge, adc and mask. Axes: (pixel, hit, 4)."""
    signal = stages(size, response, rows, frame, parameters)
    hits = digitize(signal.charge, signal.end, channel, noise, settings, model)
    tick = hits.tick + ep.expand_dims(signal.start, 1)
    return ep.stack([tick, hits.charge, hits.adc, to_real(hits.mask, tick)], axis=-1)
