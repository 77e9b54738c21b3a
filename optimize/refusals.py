"""What settings of a fit are refused: names and kinds that are unknown, and choices that would have no effect."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from larndsim import Segments
from larndsim.detector import Detector
from larndsim.detector.parameters import ELECTRONIC, check_name
from larndsim.electronics import MODELS
from larndsim.engine.checks import check_accuracy
from larndsim.engine.footprint import bytes_of
from larndsim.errors import ArgumentError, check_choice
from larndsim.io.packet_hits import EVENTS, TIMES
from larndsim.quenching import RECOMBINATION

from .cuts import OPEN, PARTS, make_cuts
from .losses import LOSSES, get_loss
from .methods import METHODS, SCHEDULES

if TYPE_CHECKING:
    from .settings import Settings

VALUES = (Segments, Detector, np.ndarray)  # what the library takes in place of a file
# electronics with a gradient; the losses know nothing of hits that are only more or less likely
FITTABLE = tuple(name for name, model in MODELS.items() if model.differentiable and not model.predicts)


def check_settings(s: Settings) -> None:
    """Refuse settings that are wrong, one by one or together."""
    for item in fields(s):
        check_kind(item.name, getattr(s, item.name), item.metadata["kind"])
    _check_values(s)
    _check_target(s)
    _check_method(s)
    _check_physics(s)


def check_kind(name: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not what its name promises: a configuration file may hold anything."""
    if value is None:
        return
    if kind in (int, float) and not (name == "lr" and isinstance(value, Mapping)):
        check_number(name, value, whole=kind is int)
        low = 0 if name.startswith("seed") else 1 if kind is int else math.ulp(0.0)
        if value < low:
            raise ArgumentError(name, f"be {'greater than 0' if low else '0 or more'}", f"it is {value}")
    elif kind in KINDS:
        must, test = KINDS[kind]
        if not test(value):
            raise ArgumentError(name, must, f"it is {value!r}")


def _all(kind: Any, values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(x, kind) and not isinstance(x, bool) for x in values)


def _named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


# For each kind of choice what it must be, and a test of it.
KINDS: dict[Any, tuple[str, Any]] = {
    str: ("be a word", lambda value: isinstance(value, str)),
    bool: ("be true or false", lambda value: isinstance(value, bool)),
    "names": ("be names of parameters", lambda value: _all(str, value)),
    "numbers": ("be whole numbers", lambda value: _all(int, value)),
    "values": ("be numbers by name", _named),
    "options": ("be values by name", _named),
    "file": ("be the name of a file", lambda value: _path(value) or isinstance(value, VALUES)),
    "path": ("be the name of a file", _path),
    "files": (
        "be names of files",
        lambda value: _path(value) or (isinstance(value, list | tuple) and bool(value) and all(map(_path, value))),
    ),
}


def _check_values(s: Settings) -> None:
    """Refuse what is missing, and what is of no known name."""
    if s.input is None:
        raise ArgumentError("input", "be given", "it is not", "Name a file of segments.")
    if not s.params:
        raise ArgumentError("params", "name at least one parameter", "it names none", "Such as: Ab kb lifetime.")
    for argument in ("params", "shift_no_fit", "set_target", "set_init", "constraints"):
        for name in (names := tuple(getattr(s, argument))):
            check_name(name, argument)
            if names.count(name) > 1:
                raise ArgumentError(argument, "name each parameter once", f"it names {name} again")
    for name, width in s.constraints.items():
        check_number(f"constraints.{name}", width)
        if width <= 0:
            raise ArgumentError(f"constraints.{name}", "be a width greater than 0", f"it is {width}")
    for name in ("set_target", "set_init", "cuts"):
        for key, value in getattr(s, name).items():
            check_number(f"{name}.{key}", value, finite=name != "cuts")
    make_cuts(s.cuts)


def _check_target(s: Settings) -> None:
    """Refuse choices of the target, or of the start, that have no effect together."""
    if s.data is not None:
        for name in ("input_target", "set_target", "shift_no_fit", "noise"):
            if getattr(s, name):
                raise ArgumentError(name, "be left out with `data`", "it is given", "It is for simulated targets.")
        for name in PARTS:
            if name in s.cuts and s.cuts[name] != OPEN[name]:
                but = f"{name}={s.cuts[name]:g} takes parts of them, whose charge is in the data"
                raise ArgumentError("cuts", "leave tracks whole with `data`", but, "Leave it out.")
    for name, known in (("data_events", EVENTS), ("data_time", TIMES)):
        if getattr(s, name) is not None:
            check_choice(name, getattr(s, name), known)
            if s.data is None:
                raise ArgumentError(name, "come with `data`", "there is none", "It says how packets are read.")
    for name in s.shift_no_fit:
        if name in s.params:
            raise ArgumentError("shift_no_fit", "name parameters that are not fitted", f"{name} is among `params`")
    _check_among("set_target", s.set_target, (*s.params, *s.shift_no_fit), "Name it in `shift_no_fit` to shift it.")
    _check_among("set_init", s.set_init, s.params, "Name it in `params` to fit it.")
    _check_among("constraints", s.constraints, s.params, "Name it in `params` to fit it.")
    if s.seed_init is not None and not s.vary_init:
        raise ArgumentError("seed_init", "be left out without `vary_init`", "it is given", "Set `vary_init`.")


def _check_method(s: Settings) -> None:
    """Refuse choices that the method or the loss does not take."""
    check_choice("method", s.method, METHODS)
    check_choice("loss", s.loss, LOSSES)
    method, loss = METHODS[s.method], get_loss(s.loss, **s.loss_options)
    for name in METHODS["gradient"].options:
        if getattr(s, name) is not None and name not in method.options:
            raise ArgumentError(name, "be left out with method " + s.method, "it is given", "It is for gradient.")
    if s.mode is not None:
        check_choice("mode", s.mode, method.modes)
    if s.method == "gauss-newton" and not hasattr(loss, "residuals"):
        names = [name for name, value in LOSSES.items() if hasattr(value, "residuals")]
        raise ArgumentError("loss", f"be one of {', '.join(names)} with method gauss-newton", f"it is {s.loss}")
    if s.method == "fisher" and s.loss != "likelihood":
        raise ArgumentError("loss", "be likelihood with method fisher", f"it is {s.loss}")
    if s.loss == "likelihood" and s.data is None and not s.noise:
        remedy = "Set `noise`, or use loss hits."
        raise ArgumentError("loss", "be another one where the target has no noise", "it is likelihood", remedy)
    if s.loss != "likelihood":
        electronic = [name for name in s.params if name in ELECTRONIC]
        if electronic or s.constraints:
            what = f"params name {electronic[0]}" if electronic else "there are constraints"
            raise ArgumentError("loss", "be likelihood where " + what, f"it is {s.loss}")
    if s.schedule is not None:
        check_choice("schedule", s.schedule, SCHEDULES)
    rates = s.lr if isinstance(s.lr, Mapping) else {"lr": s.lr}
    for name, rate in rates.items():
        if rate is not None:
            check_number(name, rate)
            if rate <= 0:
                raise ArgumentError(name, "have a learning rate greater than 0", f"it is {rate}")
    if isinstance(s.lr, Mapping):
        _check_among("lr", s.lr, s.params, "Name it in `params` to fit it.")
    if loss.observable == "waveform":
        for name in ("data", "noise", "input_target", "electronics"):
            if getattr(s, name):
                raise ArgumentError(name, "be left out with loss waveform", "it is given", "Use loss hits.")


def _check_physics(s: Settings) -> None:
    """Refuse parameters that the chosen physics does not use."""
    check_choice("recombination", s.recombination, RECOMBINATION)
    check_choice("electronics", s.electronics or "relaxed", FITTABLE)
    check_accuracy(s.accuracy)
    bytes_of(s.memory)
    of_models = {"birks": ("Ab", "kb"), "box": ("alpha", "beta"), "ellipsoid": ("alpha", "beta", "R_param")}
    idle = {name for names in of_models.values() for name in names} - set(of_models[s.recombination])
    idle.add("vdrift" if s.link_vdrift_eField else "temperature")
    for argument in ("params", "shift_no_fit"):
        for name in getattr(s, argument):
            if name in idle:
                linked = "linked" if s.link_vdrift_eField else "not linked"
                but = f"{name} has none with {s.recombination} and vdrift {linked} to eField"
                raise ArgumentError(argument, "name parameters with an effect", but, "Leave it out.")


def _check_among(argument: str, names: Any, known: tuple[str, ...], remedy: str) -> None:
    for name in names:
        if name not in known:
            raise ArgumentError(argument, f"be of {', '.join(known)}", f"{name} is none of them", remedy)


def check_number(name: str, value: Any, whole: bool = False, finite: bool = True) -> None:
    """Refuse what is not a number."""
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or (finite and not math.isfinite(value)):
        raise ArgumentError(name, "be a whole number" if whole else "be a number", f"it is {value!r}")
