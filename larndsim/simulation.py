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
from .data.batch import Batch, Fixed, Group, SizeClass
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
        self._signals = self.backend.compile(stages)
        self._charge = self.backend.compile(partial(_charge, stages))
        self._merge = cache(lambda rows: self.backend.compile(partial(recording.merged, rows=rows)))
        self._record = self.backend.compile(partial(_record, self.detector.electronics, electronics))

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
        rows = [size.segment.shape[0] for size in batch.classes]
        ticks = [stage4.ticks_of(size, response) for size, response in zip(batch.classes, batch.responses, strict=True)]
        groups = recording.groups_of(batch.fixed.pixels, rows, ticks)
        channels = (self._to_device(recording.channels_of(self._channels, group.pixels)) for group in groups)
        return batch._replace(channels=tuple(channels), fixed=Fixed(batch.fixed.pixels, groups, limits))

    def charge(self, batch: Batch, parameters: Parameters | None = None) -> Waveforms:
        """What each pixel sees, tick by tick: the charge is differentiable."""
        values = checks.checked_parameters(parameters, batch.fixed.limits, self)
        rows = self._rows(batch.deposits, batch.frame, values)
        charge = [
            self._charge(size, response, rows, batch.frame, values)[: pixels.ix.shape[0]]
            for size, response, pixels in zip(batch.classes, batch.responses, batch.fixed.pixels, strict=True)
        ]
        event, plane, ix, iy, start, _ = batch.all_pixels()
        return Waveforms(event, plane, ix, iy, start, TICK, concatenate(charge, self.backend))

    def hits(self, batch: Batch, parameters: Parameters | None = None, seed: int | None = None) -> Hits:
        """What the electronics record. With a `seed` they are noisy: same seed, same noise of each event and pixel."""
        values = checks.checked_parameters(parameters, batch.fixed.limits, self)
        rows = self._rows(batch.deposits, batch.frame, values)
        signals = [
            self._signals(size, response, rows, batch.frame, values)
            for size, response in zip(batch.classes, batch.responses, strict=True)
        ]
        parts = []
        for group, channel in zip(batch.fixed.groups, batch.channels, strict=True):
            signal = self._merge(group.rows)(tuple(signals[index] for index in group.classes))
            parts.append(self._record(signal, channel, self._noise(seed, group, signal.charge.shape[1])))
        return recording.assembled(parts, batch, self.detector, self.backend)

    def __call__(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, seed: int | None = None
    ) -> Hits:
        """`prepare` and `hits` for these parameters alone."""
        return self.hits(self.prepare(segments, parameters, vary=()), parameters, seed)

    def truth(self, batch: Batch, hits: Hits | np.ndarray, parameters: Parameters | None = None) -> Truth:
        """Which segments made each hit, with fractions that sum to one."""
        parameters = self.detector.parameters if parameters is None else parameters
        return truth_fractions(self, batch, parameters, hits)

    def _noise(self, seed: int | None, group: Group, ticks: int) -> Any:
        """The noise of the rows of a group, on the device; None without a seed."""
        return None if seed is None else self._to_device(recording.noise_of(seed, group.pixels, ticks, self.detector))

    def _response_on_device(self, *key: Any) -> Response:
        return self._to_device(folded_response(*key))

    def _to_device(self, tree: Any) -> Any:
        return map_leaves(self.backend.asarray, tree)


def _charge(stages: Callable[..., stage4.Signal], size: SizeClass, *arrays: Any) -> ep.Tensor:
    return stage4.on_window(stages(size, *arrays), size)


def _record(
    settings: Electronics, model: str, signal: stage4.Signal, channel: Channel, noise: Noise | None
) -> ep.Tensor:
    """Tick from the event's reference time, charge, adc and mask. Axes: (row, hit, 4)."""
    hits = digitize(signal.charge, signal.end, channel, noise, settings, model)
    tick = hits.tick + ep.expand_dims(signal.start, 1)
    return ep.stack([tick, hits.charge, hits.adc, to_real(hits.mask, tick)], axis=-1)
