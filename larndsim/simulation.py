"""The whole chain on one screen: energy deposits in, what the pixels record out.

segments -> quench -> drift -> pixelize (the plan) -> charge -> electronics
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from . import charge as stage4
from .backend import DEFAULT, get_backend
from .backend.operations import recomputed
from .data.batch import Batch, Fixed, Group, Members, Part
from .data.hits import RECORDED, Hits, as_table
from .data.segments import Segments
from .data.waveforms import Waveforms
from .detector import Detector, Electronics, Parameters, channel_maps, load_detector
from .detector.mobility import drift_velocity
from .electronics.chip import Cycle
from .electronics.likelihood import Likelihood
from .electronics.models import MODELS
from .electronics.tuning import separated, settings_now, tuned
from .engine import checks, recording
from .engine.batch import make_batch
from .engine.footprint import Footprint, bytes_of, footprint
from .engine.kept import kept_response
from .engine.recorded import Recorded, chips_of, known_signals, likelihood_of, log_probabilities, recorded_of
from .errors import ArgumentError, check_choice
from .induction import Cloud
from .quenching import RECOMBINATION
from .response import TICK, Response
from .truth import Truth, truth_fractions


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
        self.recombination = recombination
        self.link_vdrift_eField = link_vdrift_eField
        self.electronics = electronics
        self.model = MODELS[electronics]
        self.accuracy = checks.check_accuracy(accuracy)
        self.memory = bytes_of(memory)
        self._room = self.backend.room(self.memory)
        voltages = {"pedestals": pedestals, "v_ref": v_ref, "v_cm": v_cm}
        self.channels = channel_maps(self.detector, thresholds, gains, bad_channels, **voltages)
        checks.check_model(self.model, self.detector.electronics, self.channels)
        self._respond = cache(self._response_on_device)
        compiled = self.backend.compile
        self._held = compiled(checks.held_within)
        self._velocity = compiled(drift_velocity)
        self._lines = compiled(stage4.lines_in_boxes)
        self._points = compiled(stage4.points_of)
        self._arrivals = compiled(partial(_arrivals, model=recombination), (1,))
        self._signals = compiled(stage4.pixel_signals, (2,))
        self._merge = compiled(recording.merged, (0,))
        self._window = compiled(stage4.on_window)
        settings = recording.settings_of(self.detector, self.channels)
        record = partial(recording.recorded, settings=settings, model=electronics)
        self._record = compiled(record, (0,), small_loops=True)
        self._retune = compiled(recording.retuned)
        self._tune = compiled(tuned)
        self._join = cache(lambda counts: compiled(partial(stage4.joined_rows, counts=counts)))
        self._flat = cache(lambda counts: compiled(partial(recording.flat, counts=counts), (0,)))
        self._per_pixel = compiled(partial(recording.sums_of_pixels, orders=settings.max_hits), (0,))

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
        ranges = checks.ranges_of_plan(limits, self.link_vdrift_eField, self.accuracy)
        deposits, frame, planned, ticks, padding = make_batch(
            segments, self.detector.geometry, ranges, self._respond, self.backend, self.memory, self._room
        )
        parts = [self._with_recorders(*pair, ticks) for pair in planned]
        members = recording.numbered(members for _, members in parts)
        pixels = recording.pixels_of(members)
        slots = recording.slots_of(pixels, self.detector)
        for column in (*pixels, *slots):
            column.flags.writeable = False  # all results share them
        return Batch(deposits, frame, tuple(part for part, _ in parts), Fixed(members, limits, padding, pixels, slots))

    def charge(self, batch: Batch, parameters: Parameters | None = None) -> Waveforms:
        """What each pixel sees, tick by tick: the charge is differentiable."""
        event, plane, ix, iy, start, _, burst = batch.all_pixels()
        charge = self._joined(tuple(self._each_part(self._charge_of_part, batch, parameters)), np.zeros((0, 0)))
        return Waveforms(event, plane, ix, iy, start, TICK, charge, burst)

    def hits(self, batch: Batch, parameters: Parameters | None = None, seed: int | None = None) -> Hits:
        """What the electronics record. With a `seed` they are noisy: same seed, same noise of each event and pixel."""
        if self.model.predicts and seed is not None:
            must = f"be left out with electronics {self.electronics}, which integrate all noise over"
            raise ArgumentError("seed", must, f"it is {seed}", "Use electronics clocked for noise of a seed.")
        if parameters is not None:
            checks.check_derived(parameters, self, noisy=seed is not None)
        parts = self._each_part(partial(self._hits_of_part, seed), batch, parameters)
        names = RECORDED if self.model.predicts else RECORDED[:5]
        columns = tuple(self._joined(column, np.zeros(0)) for column in zip(*parts, strict=True))
        columns = columns or (self._joined((), np.zeros(0)),) * len(names)
        return Hits(**batch.fixed.slots._asdict(), **dict(zip(names, columns, strict=True)))

    def expected_hits(self, batch: Batch, parameters: Parameters | None = None) -> Any:
        """How many hits each pixel has on average, with electronics expected. Axis: (pixel,), as that of `charge`."""
        if not self.model.predicts:
            remedy = "Make the simulator with electronics='expected'."
            raise ArgumentError("electronics", "be expected", f"they are {self.electronics}", remedy)
        return self._per_pixel(self.hits(batch, parameters).probability)

    def log_likelihood(self, batch: Batch, hits: Any, parameters: Parameters | None = None) -> Any:
        """The logarithm of the probability of what each pixel recorded, noise integrated over: see `likelihood`.

        `hits`, whole ticks and ADC words as in `Hits.numpy()`, may come from a file. Pixels of the batch without hits
        count as silent; hits of other pixels are left out. Axis: (pixel,), as in `charge`; differentiable. Several
        tables of hits, in a tuple, share the waveforms, and give a tuple.
        """
        several = isinstance(hits, tuple | list) and not isinstance(hits, Hits)
        tables = hits if several else (hits,)
        pixels = batch.all_pixels()
        settings = self._settings(self.checked(parameters, None))
        behind = chips_of(pixels, self.channels, self.detector, settings)
        recorded = [recorded_of(as_table(each), pixels, *behind, settings) for each in tables]
        if not len(pixels.ix):
            found = tuple(self.backend.asarray(np.zeros(0)) for _ in tables)
        else:
            parts = list(self._each_part(partial(self._log_likelihood_of_part, recorded), batch, parameters))
            found = tuple(self._joined(column, np.zeros(0)) for column in zip(*parts, strict=True))
        return found if several else found[0]

    def _log_likelihood_of_part(self, recorded: list[Recorded], members: Members, part: Part, *inputs: Any) -> Any:
        """Of the pixels of a part, for each table of hits."""
        signals = self._signals_of_groups(members, part, *inputs)
        return self._log_likelihood_of_signals(recorded, members, part, signals, separated(inputs[-1])[1])

    def _log_likelihood_of_signals(
        self, recorded: list[Recorded], members: Members, part: Part, signals: Any, electronic: Any
    ) -> Any:
        """The same of known signals, and parameters of the electronics or None."""
        cycle = Cycle.of(self.detector.electronics)
        chips = [electronic and self._tune(electronic, recorder.tuner) for recorder in part.recorders]
        sizes = [group.size for group in members.groups]
        known, places = known_signals(signals, sizes, self.backend), np.cumsum([0, *sizes])
        found = []
        for table in recorded:
            own = table.rows(members.first, places[-1])
            likely, rows = likelihood_of(known, own, cycle, self.backend), []
            for signal, chip, first, size in zip(signals, chips, places, sizes, strict=False):
                of_group = Likelihood(*(values[first : first + size] for values in likely))
                rows.append(log_probabilities(signal, chip, of_group, own.rows(first, size), self.backend))
            found.append(self._joined_rows(rows, members))
        return tuple(found)

    def _joined_rows(self, rows: list[Any], members: Members) -> Any:
        parts, counts = self._few(rows, members)
        return parts[0] if (len(parts[0]),) == counts else self._join(counts)(parts)

    def _each_part(self, function: Any, batch: Batch, parameters: Parameters | None) -> Iterator[Any]:
        """What a function makes of each part. Of several, what a gradient needs is computed again, part by part."""
        checked = self.checked(parameters, batch.fixed.limits)
        for members, part in zip(batch.fixed.members, batch.parts, strict=True):
            run = self.backend.chained(partial(function, members), keep=len(batch.parts) == 1)
            yield run(part, batch.deposits, batch.frame, checked)

    def checked(self, parameters: Parameters | None, limits: Any) -> Parameters:
        """Parameters within the limits of a plan; `vdrift` is the drift velocity, wherever it comes from."""
        p, unknown = checks.checked_parameters(parameters, limits, self)
        if unknown:
            limits = self.backend.asarray(np.array([*unknown.values()]))
            held = self._held(tuple(getattr(p, name) for name in unknown), limits)
            p = p._replace(**dict(zip(unknown, held, strict=True)))
        if not self.link_vdrift_eField:
            return p
        return p._replace(vdrift=self.backend.asarray(self._velocity(p.eField, p.temperature)))

    def _charge_of_part(self, members: Members, part: Part, *inputs: Any) -> Any:
        """The waveforms of the pixels of a part, on their windows."""
        signals = self._signals_of_groups(members, part, *inputs)
        return self._joined_rows([self._window(*pair) for pair in zip(signals, part.windows, strict=True)], members)

    def _hits_of_part(self, seed: int | None, members: Members, part: Part, *inputs: Any) -> tuple[Any, ...]:
        """The columns of the hits of the pixels of a part."""
        signals = self._signals_of_groups(members, part, *inputs)
        electronic, settings, recorded = separated(inputs[-1])[1], self._settings(inputs[-1]), []
        for signal, recorder, group in zip(signals, part.recorders, members.groups, strict=True):
            noise = self._noise(seed, group, signal.charge.shape[1], settings)
            chips = recorder if electronic is None else self._retune(recorder, electronic)
            recorded.append(self._record(signal, chips, noise))
        parts, counts = self._few(recorded, members)
        return self._flat(counts)(parts)

    def _settings(self, parameters: Parameters) -> Electronics:
        """The electronics as the parameters have them now."""
        return settings_now(self.detector.electronics, parameters, self.backend)

    def _few(self, parts: list[Any], members: Members) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """Arrays of the rows of each group, and how many of these are pixels; one array, where there are many."""
        counts = tuple(group.size for group in members.groups)
        if len(parts) > self.backend.at_once:
            return (self.backend.joined(parts, counts),), (sum(counts),)
        return tuple(parts), counts

    def _signals_of_groups(self, members: Members, part: Part, *inputs: Any) -> tuple[stage4.Signal, ...]:
        """The signals of the pixels of each group."""
        signals = self._signals_of_classes(members, part, *inputs)
        groups = zip(members.groups, part.recorders, strict=True)
        return tuple(self._merged([signals[index] for index in group.classes], group, own) for group, own in groups)

    def _merged(self, signals: list[stage4.Signal], group: Group, recorder: recording.Recorder) -> stage4.Signal:
        """The signals of the classes of a group."""
        if len(signals) == 1 and signals[0].start.shape == recorder.anode.shape:
            return signals[0]
        return self._merge(tuple(signals), group.firsts, recorder.anode)

    def _signals_of_classes(
        self, members: Members, part: Part, deposits: Any, frame: Any, parameters: Parameters
    ) -> tuple[stage4.Signal, ...]:
        """The signals of the pixels of each size class."""
        parameters = separated(parameters)[0]
        lines = self._lines(deposits, frame, stage4.shifts_of(parameters))
        clouds = []
        for bunch in part.bunches:
            points = self._points(bunch, lines, frame.module)
            clouds.append(Cloud(points.x, points.y, *self._arrivals(points, parameters)))
        classes = zip(part.classes, part.responses, members.places, strict=True)
        return tuple(self._signals(*pair, clouds[place.bunch], place.first) for *pair, place in classes)

    def _joined(self, parts: tuple[Any, ...], nothing: np.ndarray) -> Any:
        """Native arrays, one after the other; `nothing` where there are none."""
        if len(parts) > 1:
            return self._join(tuple(map(len, parts)))(parts)
        return parts[0] if parts else self.backend.asarray(nothing)

    def _with_recorders(self, part: Part, members: Members, window: int) -> tuple[Part, Members]:
        """The part with what stands behind its pixels, and how they are recorded; `window` in ticks."""
        rows = [size.weight.shape[0] for size in part.classes]
        ticks = [stage4.ticks_of(size, response) for size, response in zip(part.classes, part.responses, strict=True)]
        alone = len(rows) > self.backend.at_once
        groups = recording.groups_of(members.pixels, rows, ticks, self._room.rows, alone)
        windows = tuple(recording.window_of(group, window) for group in groups)
        recorders = tuple(recording.recorder_of(group, self.channels, self.detector) for group in groups)
        windows, recorders = self.backend.put((windows, recorders))
        return part._replace(windows=windows, recorders=recorders), members._replace(groups=groups)

    def footprint(self, batch: Batch) -> Footprint:
        """The memory that a batch takes, bytes: an estimate, made beforehand."""
        return footprint(batch, self.backend)

    def __call__(
        self, segments: Segments | np.ndarray, parameters: Parameters | None = None, seed: int | None = None
    ) -> Hits:
        """`prepare` and `hits` for these parameters alone."""
        return self.hits(self.prepare(segments, parameters, vary=()), parameters, seed)

    def truth(self, batch: Batch, hits: Hits | np.ndarray, parameters: Parameters | None = None) -> Truth:
        """Which segments made each hit, with fractions that sum to one."""
        parameters = self.detector.parameters if parameters is None else parameters
        return truth_fractions(self, batch, parameters, hits)

    def _noise(self, seed: int | None, group: Group, ticks: int, settings: Electronics) -> Any:
        """The noise of the rows of a group, on the device, or its widths where it is not drawn; None without a seed."""
        module = self.detector.geometry.module
        if self.model.predicts:
            return self.backend.put(recording.widths_of(group.pixels, module, settings))
        return (
            None if seed is None else self.backend.put(recording.noise_of(seed, group.pixels, ticks, module, settings))
        )

    def _response_on_device(self, *key: Any) -> Response:
        return self.backend.put(kept_response(*key, self.accuracy))


def _arrivals(points: Any, parameters: Any, model: str) -> Any:
    """`arrivals_of`, computed again on the way back rather than kept."""
    return recomputed(partial(stage4.arrivals_of, model=model), points, parameters)
