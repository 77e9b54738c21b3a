"""The whole chain on one screen: energy deposits in, what the pixels record out.

segments -> quench -> drift -> pixelize (the plan) -> charge -> electronics
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import eagerpy as ep
import numpy as np

from . import charge as stage4
from . import checks
from .backend import DEFAULT, concatenate, get_backend, map_leaves
from .batching import make_batch
from .data.batch import Batch, Deposits, Frame, SizeClass
from .data.segments import Segments
from .data.waveforms import Waveforms
from .detector import Detector, Parameters, load_detector
from .errors import check_choice
from .quenching import RECOMBINATION
from .response import TICK, Response, folded_response


class Simulator:
    """A detector on a backend.

    `recombination` is one of birks, box, ellipsoid. With `link_vdrift_eField` the drift velocity follows from the
    field and the temperature instead of the parameter `vdrift`.
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
    ) -> None:
        check_choice("recombination", recombination, RECOMBINATION)
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.backend = get_backend(backend, device, dtype)
        self.recombination = recombination
        self.link_vdrift_eField = link_vdrift_eField
        self._respond = cache(self._response_on_device)
        self._charge = self.backend.compile(partial(_charge, model=recombination, linked=link_vdrift_eField))

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
        charge = [
            self._charge(size, response, batch.deposits, batch.frame, values)[: pixels.ix.shape[0]]
            for size, response, pixels in zip(batch.classes, batch.responses, batch.pixels, strict=True)
        ]
        event, plane, ix, iy, start = batch.all_pixels()
        return Waveforms(event, plane, ix, iy, start, TICK, concatenate(charge, self.backend))

    def _response_on_device(self, *key: Any) -> Response:
        return map_leaves(self.backend.asarray, folded_response(*key))


def _charge(
    size: SizeClass, response: Response, deposits: Deposits, frame: Frame, parameters: Parameters,
    *, model: str, linked: bool,
) -> ep.Tensor:  # fmt: skip
    signal = stage4.pixel_signals(size, response, deposits, frame, parameters, model, linked)
    return stage4.on_window(signal, size)
