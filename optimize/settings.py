"""Every choice of a fit, in one immutable value: what the library takes as keywords, the command line as flags, and a
run's `config.yaml` as keys.

A choice that would be ignored is refused. None means that the choice is left to its default.
"""

# ruff: noqa: RUF009 - `choice` is `dataclasses.field`

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from larndsim.backend import DEFAULT, DIFFERENTIABLE
from larndsim.detector.parameters import check_name
from larndsim.errors import ArgumentError, check_choice, did_you_mean
from larndsim.quenching import RECOMBINATION

from .dataset import Cuts
from .losses import LOSSES, get_loss
from .methods import METHODS, SCHEDULES
from .objective import MODES

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FITTABLE = ("relaxed",)  # electronics with a gradient
FILES = ("input", "input_target", "data", "detector", "layout")
LINKED = "the drift velocity follows from the field"


def choice(default: Any, text: str, metavar: str = "", kind: Any = str) -> Any:
    """A field with what the command line says about it."""
    factory = {"default_factory": dict} if default == {} else {"default": default}
    return field(**factory, metadata={"help": text, "metavar": metavar, "kind": kind})


@dataclass(frozen=True)
class Settings:
    """See the help of each field; `larndsim-optimize fit --help` lists them."""

    input: Any = choice(None, "file of segments to simulate", "IN.h5")
    params: tuple[str, ...] = choice((), "parameters to fit, or one YAML file of name: learning rate", "NAME", "names")
    input_target: Any = choice(None, "another file of segments for the target, matched by event and track", "IN.h5")
    data: Any = choice(None, "fit to this file of hits instead of a simulated target", "HITS.h5")
    events: tuple[int, ...] | None = choice(None, "use only these events", "N", "numbers")
    swap_xz: bool = choice(True, "files have their drift along x", kind=bool)
    cuts: dict[str, float] = choice(
        {}, "values of cuts on tracks, such as z_outer=30; none lifts the others", "NAME=VALUE", "values"
    )
    max_batch_len: float | None = choice(None, "most track length per batch, cm", "CM", float)
    batch_tracks: int | None = choice(None, "tracks per batch", "N", int)
    max_batches: int | None = choice(None, "use the first batches only", "N", int)
    seed_data: int = choice(0, "of the order of the tracks", "N", int)

    set_target: dict[str, float] = choice({}, "values in the target (default: random)", "NAME=VALUE", "values")
    shift_no_fit: tuple[str, ...] = choice((), "parameters that the target has shifted, too", "NAME", "names")
    noise: bool = choice(False, "simulate the target with clocked electronics and all noise", kind=bool)
    seed: int = choice(0, "of random targets, of noise, and of the order of batches", "N", int)
    set_init: dict[str, float] = choice({}, "initial values (default: nominal)", "NAME=VALUE", "values")
    vary_init: bool = choice(False, "initial values not given are random within bounds", kind=bool)
    seed_init: int | None = choice(None, "of random initial values (default: 0)", "N", int)

    loss: str = choice("hits", ", ".join(LOSSES), "NAME")
    loss_options: dict[str, Any] = choice({}, "options of the loss", "NAME=VALUE", "options")
    method: str = choice("gauss-newton", ", ".join(METHODS), "NAME")
    mode: str | None = choice(None, f"how to differentiate: {', '.join(MODES)} (default: the method's)", "NAME")
    iterations: int | None = choice(None, "most steps (default: 100 with method gauss-newton, else 500)", "N", int)
    tolerance: float | None = choice(None, "shortest step that counts, in half ranges of parameters", "X", float)
    optimizer: str | None = choice(None, "of torch.optim or optax, for method gradient (default: adam)", "NAME")
    lr: Any = choice(None, "learning rate, in half ranges of parameters (default: 0.02)", "RATE", float)
    schedule: str | None = choice(None, f"of the learning rate: {', '.join(SCHEDULES)}", "NAME")
    clip: float | None = choice(None, "longest gradient, by scaled parameters", "X", float)
    batches_per_step: int | None = choice(None, "batches per step of method gradient (default: all)", "N", int)
    errors: bool = choice(True, "compute the covariance at the end", kind=bool)

    detector: Any = choice("module0", "name or YAML file", "DETECTOR")
    layout: Any = choice(None, "file of the pixel layout, or one per module", "YAML", "files")
    electronics: str | None = choice(None, f"of the prediction: {', '.join(FITTABLE)}", "NAME")
    recombination: str = choice("birks", ", ".join(RECOMBINATION), "NAME")
    link_vdrift_eField: bool = choice(False, LINKED, kind=bool)
    backend: str = choice(DEFAULT, " or ".join(DIFFERENTIABLE), "NAME")
    device: str = choice("cpu", "cpu, cuda or cuda:N", "NAME")
    dtype: str = choice("float32", "float32 or float64", "NAME")
    save_freq: int = choice(10, "steps between checkpoints", "N", int)

    def __post_init__(self) -> None:
        _check_values(self)
        _check_target(self)
        _check_method(self)
        _check_physics(self)

    @property
    def most_iterations(self) -> int:
        """The number of steps after which the fit ends in any case."""
        return self.iterations if self.iterations is not None else 100 if self.method == "gauss-newton" else 500

    @property
    def chosen_cuts(self) -> Cuts:
        """The cuts on tracks."""
        return make_cuts(self.cuts)

    def plain(self) -> dict[str, Any]:
        """The same as values that YAML can hold."""
        return {name: _plain(value) for name, value in asdict(self).items()}


KEYS = {item.name: item for item in fields(Settings)}


def make_settings(choices: Mapping[str, Any]) -> Settings:
    """Settings from names and values; unknown names are refused, and files of `params` are read."""
    values = {str(key).replace("-", "_"): value for key, value in choices.items()}
    for name in values:
        if name not in KEYS:
            remedy = did_you_mean(name, KEYS) or "See larndsim-optimize fit --help."
            raise ArgumentError(name, "be a choice of a fit", "it is not", remedy)
    for name in ("events", "shift_no_fit"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    if values.get("cuts") == "none":
        values["cuts"] = dict(OPEN)
    for name in FILES:  # a run goes on from any folder
        if isinstance(values.get(name), str | os.PathLike) and os.path.exists(values[name]):
            values[name] = str(Path(values[name]).resolve())
    return Settings(**_with_rates(values))


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A YAML file of names and values."""
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = "cannot be read" if isinstance(error, OSError) else "is not YAML"
        raise ArgumentError("config", "be a YAML file", f"{path} {reason}", "Check the path.") from error
    if not isinstance(content, dict):
        raise ArgumentError("config", "hold lines of `name: value`", f"{path} does not")
    return content


OPEN = {"segment_length": 0.0, "z_inner": 0.0, "z_outer": math.inf, "track_length": 0.0, "cos_theta": math.inf}


def make_cuts(values: Mapping[str, float]) -> Cuts:
    """The default cuts with some of them changed."""
    for name in values:
        if name not in OPEN:
            raise ArgumentError("cuts", f"be some of {', '.join(OPEN)}", f"{name!r} is none", did_you_mean(name, OPEN))
    return replace(Cuts(), **values)


def _with_rates(values: dict[str, Any]) -> dict[str, Any]:
    """`params` as names; where they come with learning rates, these as `lr`."""
    params = values.get("params", ())
    if isinstance(params, str):
        params = [params]
    if not isinstance(params, Mapping) and len(params) == 1 and str(params[0]).endswith((".yaml", ".yml")):
        params = read_yaml(params[0])
    if isinstance(params, Mapping):
        if values.get("lr") is not None:
            raise ArgumentError("lr", "be given once", "params come with learning rates", "Remove one of them.")
        values = {**values, "lr": dict(params)}
    return {**values, "params": tuple(params)}


def _check_values(s: Settings) -> None:
    """Refuse what is of no known name or kind."""
    if s.input is None:
        raise ArgumentError("input", "be given", "it is not", "Name a file of segments.")
    if not s.params:
        raise ArgumentError("params", "name at least one parameter", "it names none", "Such as: Ab kb lifetime.")
    for argument in ("params", "shift_no_fit", "set_target", "set_init"):
        for name in (names := tuple(getattr(s, argument))):
            check_name(name, argument)
            if names.count(name) > 1:
                raise ArgumentError(argument, "name each parameter once", f"it names {name} again")
    for name in ("set_target", "set_init", "cuts"):
        for key, value in getattr(s, name).items():
            check_number(f"{name}.{key}", value, finite=name != "cuts")
    for name, item in KEYS.items():
        value, kind = getattr(s, name), item.metadata["kind"]
        if kind in (int, float) and value is not None and name != "lr":
            check_number(name, value, whole=kind is int)
            low = 0 if name.startswith("seed") else 1 if kind is int else math.ulp(0.0)
            if value < low:
                raise ArgumentError(name, f"be {'greater than 0' if low else '0 or more'}", f"it is {value}")
        if kind is bool and not isinstance(value, bool):
            raise ArgumentError(name, "be true or false", f"it is {value!r}")
    make_cuts(s.cuts)


def _check_target(s: Settings) -> None:
    """Refuse choices of the target, or of the start, that have no effect together."""
    if s.data is not None:
        for name in ("input_target", "set_target", "shift_no_fit", "noise"):
            if getattr(s, name):
                raise ArgumentError(name, "be left out with `data`", "it is given", "It is for simulated targets.")
    for name in s.shift_no_fit:
        if name in s.params:
            raise ArgumentError("shift_no_fit", "name parameters that are not fitted", f"{name} is among `params`")
    _check_among("set_target", s.set_target, (*s.params, *s.shift_no_fit), "Name it in `shift_no_fit` to shift it.")
    _check_among("set_init", s.set_init, s.params, "Name it in `params` to fit it.")
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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
