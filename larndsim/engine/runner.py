"""A simulator's functions, compiled, and how they run over the chunks of a batch, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..backend import Backend
from ..charge import Signal, segment_lines
from ..data.batch import Batch, Members, Part
from ..data.hits import RECORDED
from ..detector import Channel, Detector, Parameters
from ..electronics.chip import Blocks, Cycle
from ..electronics.likelihood import Likelihood
from ..electronics.models import MODELS
from ..electronics.tuning import separated, settings_now, tuned
from .recorded import Recorded, chips_of, known_signals, likelihood_of, log_probabilities, recorded_of
from .recording import blocks_of, noise_of, recorded, settings_of, widths_of
from .windows import on_windows


class Runner:
    """Runs `chain`, the segments of a chunk -> its `Signal`, and what follows, on a backend."""

    def __init__(
        self,
        backend: Backend,
        detector: Detector,
        channels: Channel,
        model: str,
        chain: Callable[..., Signal],
        physics: Any,
    ) -> None:
        self.backend, self.detector, self.channels, self.model = backend, detector, channels, MODELS[model]
        self.settings = settings_of(detector, channels)
        self.sampling = physics.sampling
        self._signal = backend.compile(chain, (3,), physics=physics)
        self._tune = backend.compile(tuned)

    def charge(self, batch: Batch, parameters: Parameters) -> Any:
        """The waveforms on their windows. Axes: (pixel, tick)."""
        found = [*self._each_part(partial(self._charge_of_part, batch.fixed.ticks), batch, parameters)]
        return self._joined(found)

    def hits(self, batch: Batch, parameters: Parameters, seed: int | None) -> dict[str, Any]:
        """The columns of hits that are not known beforehand, by name."""
        names = RECORDED if self.model.predicts else RECORDED[:5]
        parts = [*self._each_part(partial(self._hits_of_part, seed), batch, parameters)]
        columns = [self._joined([*column]) for column in zip(*parts, strict=True)] or [self._joined([])] * len(names)
        found = dict(zip(names, columns, strict=True))
        return found | {"mask": self.backend.as_mask(found["mask"])}

    def log_likelihood(self, batch: Batch, tables: list[np.ndarray], parameters: Parameters) -> tuple[Any, ...]:
        """The logarithm of the probability of each table of hits. Axis: (pixel,)."""
        pixels, settings = batch.all_pixels(), self._settings(parameters)
        behind = chips_of(pixels, self.channels, self.detector, settings)
        recorded = [recorded_of(each, pixels, *behind, settings) for each in tables]
        parts = self._each_part(partial(self._likelihood_of_part, recorded), batch, parameters)
        return tuple(self._joined([*column]) for column in zip(*parts, strict=True)) or (self._joined([]),) * len(
            tables
        )

    def _joined(self, parts: list[Any]) -> Any:
        if not parts:
            return self.backend.asarray(np.zeros(0))
        return parts[0] if len(parts) == 1 else self.backend.rows(parts, [np.arange(len(part)) for part in parts])

    def _each_part(self, function: Any, batch: Batch, parameters: Parameters) -> Iterator[Any]:
        """What a function makes of each part. Of several, what a gradient needs is computed again, part by part."""
        shifts = parameters.shift_x, parameters.shift_y, parameters.shift_z
        lines = self.backend.lines(segment_lines, batch.deposits, batch.frame, shifts)
        for members, part in zip(batch.fixed.members, batch.parts, strict=True):
            run = self.backend.chained(partial(function, members), keep=len(batch.parts) == 1)
            yield run(part, lines, parameters)

    def signals(self, part: Part, lines: Any, parameters: Parameters) -> list[Signal]:
        """What the pixels of each chunk of a part see."""
        functions = [partial(self._seen, part, number) for number in range(len(part.chunks))]
        return self.backend.each(functions, lines, separated(parameters)[0])

    def _seen(self, part: Part, number: int, lines: Any, physical: Any) -> Signal:
        chunk = part.chunks[number]
        return self._signal(self.backend.gathered(lines, chunk.line), chunk, part.responses[number], physical)

    def _charge_of_part(self, ticks: int, members: Members, part: Part, lines: Any, parameters: Parameters) -> Any:
        def of_chunk(number: int, lines: Any, physical: Any) -> Any:
            signal, member = self._seen(part, number, lines, physical), members.chunks[number]
            begins = np.rint(member.pixels.start / self.sampling.tick) - member.pixels.reference
            blocks = member.blocks.first[member.slot], member.blocks.ticks[member.slot]
            places = signal.start, member.slot.astype(np.int32), begins.astype(np.int32), *blocks
            return self.backend.derived(on_windows(ticks), signal.charge, *places)

        functions = [partial(of_chunk, number) for number in range(len(part.chunks))]
        return self._joined(self.backend.each(functions, lines, separated(parameters)[0]))

    def _hits_of_part(self, seed: int | None, members: Members, part: Part, lines: Any, parameters: Parameters) -> Any:
        physical, electronic = separated(parameters)
        record = self._recorder(seed, members, part, parameters)

        def of_chunk(number: int, lines: Any, physical: Any, electronic: Any) -> Any:
            return record(number, self._seen(part, number, lines, physical), electronic)

        functions = [partial(of_chunk, number) for number in range(len(part.chunks))]
        return self.backend.columns(self.backend.each(functions, lines, physical, electronic), members.slots)

    def hits_of_signals(
        self, seed: int | None, members: Members, part: Part, signals: list[Signal], parameters: Parameters
    ) -> tuple[Any, ...]:
        """The columns of the hits of the pixels of a part that see these signals."""
        record, electronic = self._recorder(seed, members, part, parameters), separated(parameters)[1]
        found = [record(number, signal, electronic) for number, signal in enumerate(signals)]
        return self.backend.columns(found, members.slots)

    def _recorder(
        self, seed: int | None, members: Members, part: Part, parameters: Parameters
    ) -> Callable[[int, Signal, Any], Any]:
        """What the pixels of a chunk record, by its number, their signals and the parameters of the electronics."""
        settings = self._settings(parameters)

        def record(number: int, signal: Signal, electronic: Any) -> Any:
            member = members.chunks[number]
            noise = self._noise(seed, member.padded, member.blocks, settings)
            choices = {"settings": self.settings, "model": self.model.name, "columns": self._columns(member.blocks)}
            run = self.backend.compile(recorded, (0,), small_loops=True, **choices)
            return run(signal, blocks_of(part.chunks[number]), part.recorders[number], noise, electronic)

        return record

    def _columns(self, blocks: Blocks) -> int:
        """Columns of the waveforms that a model that predicts goes through: few lengths, where shapes are compiled."""
        if not self.model.predicts:
            return 0
        most = int(blocks.ticks.max())
        return 2 ** int(np.ceil(np.log2(most))) if self.backend.compiles_shapes else most

    def _noise(self, seed: int | None, pixels: Any, blocks: Blocks, settings: Any) -> Any:
        """The noise of the pixels of a chunk, or its widths where it is not drawn; None without a seed."""
        module = self.detector.geometry.module
        if self.model.predicts:
            return self.backend.put(widths_of(pixels, module, settings))
        if seed is None:
            return None
        return self.backend.put(noise_of(seed, pixels, blocks, self.sampling.block, module, settings))

    def _likelihood_of_part(
        self, tables: list[Recorded], members: Members, part: Part, lines: Any, parameters: Parameters
    ) -> Any:
        signals = self.signals(part, lines, parameters)
        return self.likelihood_of_signals(tables, members, part, signals, parameters)

    def likelihood_of_signals(
        self, tables: list[Recorded], members: Members, part: Part, signals: list[Signal], parameters: Parameters
    ) -> tuple[Any, ...]:
        """The logarithm of the probability of each table of hits, of the pixels of a part that see these signals."""
        electronic, backend = separated(parameters)[1], self.backend
        chips = [electronic and self._tune(electronic, recorder.tuner) for recorder in part.recorders]
        known = known_signals(signals, members.chunks, backend)  # of all chunks together: attempts are computed at once
        places, found = np.cumsum([0, *map(len, members.slots)]), []
        for table in tables:
            own = table.rows(members.first, places[-1])
            likely, rows = likelihood_of(known, own, Cycle.of(self.detector.electronics), backend), []
            for signal, member, chip, first in zip(signals, members.chunks, chips, places, strict=False):
                count = len(member.slot)
                of_chunk = Likelihood(*(values[first : first + count] for values in likely))
                rows.append(log_probabilities(signal, member, chip, of_chunk, own.rows(first, count), backend))
            found.append(backend.rows(rows, members.slots))
        return tuple(found)

    def _settings(self, parameters: Parameters) -> Any:
        """The electronics as the parameters have them now."""
        return settings_now(self.detector.electronics, parameters, self.backend)
