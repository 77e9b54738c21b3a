"""From settings to a problem that a method can solve: data, targets, objective, start."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import larndsim
from larndsim import Parameters, Segments, Simulator
from larndsim.backend import DIFFERENTIABLE
from larndsim.data.waveforms import Waveforms
from larndsim.detector import Detector, load_channel_maps
from larndsim.detector.parameters import MAY_BE_ZERO
from larndsim.engine.recorded import placed
from larndsim.errors import ArgumentError, check_choice
from larndsim.io import PacketTimes, kinds_of

from .constraints import Constraints
from .dataset import Dataset, load_dataset
from .gradients import get_update
from .losses import get_loss
from .methods import METHODS, Gradient, Method, Near
from .objective import Objective
from .scaling import Scaling, make_scaling
from .settings import MAPS, Settings
from .targets import data_targets, matching_segments

logger = logging.getLogger(__name__)

TARGET, INIT, CENTRES = 0, 1, 2  # streams of random numbers


@dataclass(frozen=True)
class Problem:
    """All that a fit needs. `init` and `target` are values by name; `target` is None for data."""

    objective: Objective
    method: Method
    init: dict[str, float]
    target: dict[str, float] | None
    report: Any  # of the dataset


def make_problem(settings: Settings) -> Problem:
    """Read the data, plan it, and make or read its targets."""
    s = settings
    method, simulator = make_method(s), make_simulator(s)
    scaling = make_scaling(s.params, simulator.detector)
    target = None if s.data is not None else target_values(s, simulator.detector)
    init = initial_values(s, simulator.detector)
    for name, value in init.items():
        if value == 0.0 and name in MAY_BE_ZERO and name not in s.set_init:
            raise ArgumentError("set_init", f"give {name} a start", "the detector has none", f"Such as {name}=100.")
    scaling.check_inside("set_init", init)
    dataset = load_dataset(
        s.input, s.chosen_cuts, s.max_batch_len, s.batch_tracks, s.seed_data, s.events, s.swap_xz, s.max_batches
    )
    logger.info("%s", dataset.report)
    parts = _planned(dataset, simulator, (*s.params, *s.shift_no_fit))
    objective = Objective(
        simulator, tuple(batch for _, batch in parts), (), make_loss(s, simulator.detector), scaling,
        simulator.detector.nominal, s.mode or mode_within_memory(s.method, simulator, [batch for _, batch in parts]),
    )  # fmt: skip
    targets = _targets(s, objective, ([segments for segments, _ in parts], dataset.starts), target)
    if not any(_size(one) for one in targets):
        remedy = "Check the thresholds, the events and the cuts."
        raise ArgumentError("data" if s.data else "input", "give a target with hits", "it has none", remedy)
    shown = None if target is None else {name: target[name] for name in s.params}
    if objective.is_likelihood:
        for target_of_batch, batch in zip(targets, objective.batches, strict=True):
            placed(target_of_batch, batch.all_pixels(), simulator.detector.electronics, "data")
        constraints = make_constraints(s, scaling, target or init) if s.constraints else None
        objective = replace(objective, source=make_simulator(s, "clocked"), constraints=constraints)
    return Problem(replace(objective, targets=targets), method, init, shown, dataset.report)


def mode_within_memory(method: str, simulator: Simulator, batches: list[Any]) -> str:
    """The usual mode of the method; or one that holds one batch at a time, where the memory does not take all."""
    usual, *others = METHODS[method].modes
    needed = sum(simulator.footprint(batch).gradient for batch in batches)
    return "checkpointed" if "checkpointed" in others and needed > simulator.memory else usual


def make_simulator(s: Settings, electronics: str | None = None) -> Simulator:
    """The simulator of the settings."""
    check_choice("backend", s.backend, DIFFERENTIABLE)
    detector = s.detector if isinstance(s.detector, Detector) else larndsim.load_detector(s.detector, layout=s.layout)
    return Simulator(
        detector, s.backend, s.device, s.dtype, electronics or s.electronics or "relaxed", s.recombination,
        s.link_vdrift_eField, accuracy=s.accuracy, memory=s.memory, **_channels_of(s, detector),
    )  # fmt: skip


def _channels_of(s: Settings, detector: Detector) -> dict[str, Any]:
    """What is known of the channels. Where data are packets, pixels that none reads are off: packets cannot tell."""
    files = {name: getattr(s, name) for name in (*MAPS, "unique_id", "fill_channels")}
    maps = load_channel_maps(files, detector)
    if isinstance(s.data, str | os.PathLike) and "packets" in kinds_of(s.data):
        unread = detector.readout.chip < 0
        maps["bad_channels"] = np.asarray(maps.get("bad_channels", False), dtype=bool) | unread
    return maps


def make_constraints(s: Settings, scaling: Scaling, values: Mapping[str, float]) -> Constraints:
    """About these values, each measured with the noise of its width where the target is simulated."""
    centres = dict(values)
    for name, width in s.constraints.items():
        if s.data is None:
            key = np.random.SeedSequence(s.seed, spawn_key=(CENTRES, Parameters._fields.index(name)))
            centres[name] += width * np.random.default_rng(key).normal()
    return Constraints.of(scaling, s.constraints, centres)


def make_loss(s: Settings, detector: Detector) -> Any:
    """The loss of the settings; its threshold is that of the detector, below which no hit is predicted.

    Where channels have thresholds of their own, it is left to the loss: the smallest charge in the target.
    """
    loss = get_loss(s.loss, **s.loss_options)
    threshold = detector.electronics.threshold
    one = np.ndim(threshold) == 0 and s.thresholds is None
    if hasattr(loss, "threshold") and "threshold" not in s.loss_options and one:
        return get_loss(s.loss, **s.loss_options, threshold=float(threshold))
    return loss


def make_method(s: Settings) -> Method:
    """The method of the settings; a likelihood is come near to first."""
    return Near(_method_alone(s)) if s.loss == "likelihood" else _method_alone(s)


def _method_alone(s: Settings) -> Method:
    options: dict[str, Any] = {} if s.tolerance is None else {"tolerance": s.tolerance}
    if s.method == "fisher":
        options["seed"] = s.seed
    if s.method != "gradient":
        return METHODS[s.method](**options)
    for name in ("optimizer", "schedule", "clip", "batches_per_step"):
        if getattr(s, name) is not None:
            options[name] = getattr(s, name)
    get_update(options.get("optimizer", Gradient.optimizer), s.backend)  # refused before anything takes time
    rates = s.lr if isinstance(s.lr, Mapping) else dict.fromkeys(s.params, 0.02 if s.lr is None else s.lr)
    column = np.array([rates[name] for name in s.params], dtype=np.float64)
    return Gradient(column, iterations=s.most_iterations, seed=s.seed, **options)


def target_values(s: Settings, detector: Detector) -> dict[str, float]:
    """Values in a simulated target: as given, the others nominal; or, if none is given, random within bounds."""
    names = (*s.params, *s.shift_no_fit)
    nominal = {name: getattr(detector.nominal, name) for name in names}
    values = {**nominal, **s.set_target} if s.set_target else _drawn(names, detector, s.seed, TARGET)
    make_scaling(names, detector).check_inside("set_target", values)
    return values


def initial_values(s: Settings, detector: Detector) -> dict[str, float]:
    """Where the fit starts: as given; the others nominal, or random within bounds."""
    nominal = {name: float(getattr(detector.nominal, name)) for name in s.params}
    random = _drawn(s.params, detector, s.seed_init or 0, INIT) if s.vary_init else {}
    return {**nominal, **random, **s.set_init}


def _drawn(names: tuple[str, ...], detector: Detector, seed: int, stream: int) -> dict[str, float]:
    """A random value within the bounds of each parameter; it does not depend on what the others are."""
    values = {}
    for name in names:
        key = np.random.SeedSequence(seed, spawn_key=(stream, Parameters._fields.index(name)))
        bound = detector.bounds[name]
        values[name] = float(np.random.default_rng(key).uniform(bound.down, bound.up))
    return values


def _planned(dataset: Dataset, simulator: Simulator, vary: tuple[str, ...]) -> list[tuple[Segments, Any]]:
    """Segments and plan of each batch that any pixel can see."""
    parts = [(segments, simulator.prepare(segments, vary=vary)) for segments in dataset.batches]
    seen = [(segments, batch) for segments, batch in parts if batch.all_pixels().ix.size]
    if not seen:
        raise ArgumentError("input", "hold segments that a pixel can see", "no pixel sees any", "Check `swap_xz`.")
    if len(seen) < len(parts):
        logger.warning("%d of %d batches reach no pixel and are left out", len(parts) - len(seen), len(parts))
    return seen


def _targets(
    s: Settings, objective: Objective, read: tuple[list[Segments], dict[int, float]], values: dict[str, float] | None
) -> tuple[Any, ...]:
    """What the predictions of each batch are compared with, in NumPy. `read` are segments, and the starts of events."""
    simulator, (parts, starts) = objective.simulator, read
    if s.data is not None or values is None:
        times = PacketTimes(s.data_events, s.data_time)
        return data_targets(s.data, simulator.detector, objective.batches, simulator.channels, starts, times)
    parameters = simulator.detector.nominal._replace(**values)
    batches = objective.batches
    if s.input_target is not None:
        others = matching_segments(s.input_target, parts, s)
        batches = tuple(simulator.prepare(segments, parameters, vary=()) for segments in others)
    if objective.loss.observable == "waveform":
        return tuple(_numpy(simulator.charge(batch, parameters), simulator) for batch in batches)
    source, seed = (make_simulator(s, "clocked"), s.seed) if s.noise else (simulator, None)
    return tuple(source.hits(batch, parameters, seed).numpy() for batch in batches)


def _size(target: Any) -> int:
    return len(target.charge) if isinstance(target, Waveforms) else len(target)


def _numpy(waveforms: Waveforms, simulator: Simulator) -> Waveforms:
    return waveforms._replace(charge=simulator.backend.numpy(waveforms.charge))
