"""Every choice of a fit, in one immutable value: what the library takes as keywords, the command line as flags, and a
run's `config.yaml` as keys.

A choice that would be ignored is refused. None means that the choice is left to its default.
"""

# ruff: noqa: RUF009 - `choice` is `dataclasses.field`

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from larndsim.backend import DEFAULT, DIFFERENTIABLE
from larndsim.detector.checks import read_yaml
from larndsim.errors import ArgumentError, did_you_mean
from larndsim.io.packet_hits import EVENTS, TIMES
from larndsim.quenching import RECOMBINATION

from .cuts import OPEN, Cuts, make_cuts
from .losses import LOSSES
from .methods import METHODS, SCHEDULES
from .objective import MODES
from .refusals import FITTABLE, check_settings

MAPS = ("thresholds", "gains", "pedestals", "references", "bad_channels")  # files of channels
FILES = ("input", "input_target", "data", "detector", "layout", *MAPS)
LARGE_STEPS = ("fisher", "gauss-newton")
LINKED = "the drift velocity follows from the field"


def choice(default: Any, text: str, metavar: str = "", kind: Any = str) -> Any:
    """A field with what the command line says about it."""
    factory = {"default_factory": dict} if default == {} else {"default": default}
    return field(**factory, metadata={"help": text, "metavar": metavar, "kind": kind})


@dataclass(frozen=True)
class Settings:
    """See the help of each field; `larndsim-optimize fit --help` lists them."""

    input: Any = choice(None, "file of segments to simulate", "IN.h5", "file")
    params: tuple[str, ...] = choice((), "parameters to fit, or one YAML file of name: learning rate", "NAME", "names")
    input_target: Any = choice(
        None, "another file of segments for the target, matched by event and track", "IN.h5", "file"
    )
    data: Any = choice(
        None, "fit to this file of hits or of LArPix packets instead of a simulated target", "FILE.h5", "file"
    )
    data_events: str | None = choice(
        None, f"what tells the events of packets: {', '.join(EVENTS)} (default: associations, where there are)", "NAME"
    )
    data_time: str | None = choice(
        None,
        f"how the packets' time is that of the segments: {', '.join(TIMES)} (default: clock; by triggers: deposit)",
        "NAME",
    )
    events: tuple[int, ...] | None = choice(None, "use only these events", "N", "numbers")
    swap_xz: bool = choice(True, "files have their drift along x", kind=bool)
    cuts: dict[str, float] = choice(
        {},
        "values of cuts on tracks, such as z_outer=30; none lifts the others (default with data: none)",
        "NAME=VALUE",
        "values",
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

    constraints: dict[str, float] = choice(
        {}, "widths of what is known of parameters: of the target, with noise, or of the initial values with data",
        "NAME=WIDTH", "values",
    )  # fmt: skip
    loss: str = choice(
        None, f"{', '.join(LOSSES)} (default: likelihood where the target is noisy or measured, else hits)", "NAME"
    )
    loss_options: dict[str, Any] = choice({}, "options of the loss", "NAME=VALUE", "options")
    method: str = choice(
        None, f"{', '.join(METHODS)} (default: fisher with loss likelihood, else gauss-newton)", "NAME"
    )
    mode: str | None = choice(None, f"how to differentiate: {', '.join(MODES)} (default: the method's)", "NAME")
    iterations: int | None = choice(
        None, "most steps (default: 100 with methods fisher and gauss-newton, else 500)", "N", int
    )
    tolerance: float | None = choice(
        None, "shortest step that counts, in half ranges of parameters; of method fisher in errors", "X", float
    )
    optimizer: str | None = choice(
        None, "by its name in the backend's library, for method gradient (default: adam)", "NAME"
    )
    lr: Any = choice(None, "learning rate, in half ranges of parameters (default: 0.02)", "RATE", float)
    schedule: str | None = choice(None, f"of the learning rate: {', '.join(SCHEDULES)}", "NAME")
    clip: float | None = choice(None, "longest gradient, by scaled parameters", "X", float)
    batches_per_step: int | None = choice(None, "batches per step of method gradient (default: all)", "N", int)
    errors: bool = choice(True, "compute the covariance at the end", kind=bool)
    toys: int = choice(12, "data sets simulated at the end of a likelihood fit, for its errors and p-value", "N", int)

    detector: Any = choice("module0", "name or YAML file", "DETECTOR", "file")
    layout: Any = choice(None, "file of the pixel layout, or one per module", "YAML", "files")
    thresholds: Any = choice(None, "thresholds of the channels", "NPZ", "file")
    gains: Any = choice(None, "gains of the channels", "NPZ", "file")
    pedestals: Any = choice(None, "pedestals of the channels: npz by key, or JSON by unique id", "FILE", "file")
    references: Any = choice(None, "v_ref and v_cm of the channels, by unique id", "JSON", "path")
    bad_channels: Any = choice(None, "channels that are off", "JSON", "file")
    unique_id: str | None = choice(None, "second number of the unique ids: tile (default) or io_channel", "NAME")
    fill_channels: bool = choice(False, "channels that a file leaves out keep the detector's values", kind=bool)
    electronics: str | None = choice(None, f"of the prediction: {', '.join(FITTABLE)}", "NAME")
    recombination: str = choice("birks", ", ".join(RECOMBINATION), "NAME")
    link_vdrift_eField: bool = choice(False, LINKED, kind=bool)
    accuracy: float = choice(1e-3, "of each waveform, relative to its pixel's total", "X", float)
    memory: Any = choice("2GB", "what a step may use, beside the libraries, such as 500MB", "SIZE")
    backend: str = choice(DEFAULT, " or ".join(DIFFERENTIABLE), "NAME")
    device: str = choice("cpu", "cpu, cuda or cuda:N", "NAME")
    dtype: str = choice("float32", "float32 or float64", "NAME")
    save_freq: int = choice(10, "steps between checkpoints", "N", int)

    def __post_init__(self) -> None:
        for name, value in default_names(self).items():
            object.__setattr__(self, name, value)
        check_settings(self)

    @property
    def most_iterations(self) -> int:
        """The number of steps after which the fit ends in any case."""
        return self.iterations if self.iterations is not None else 100 if self.method in LARGE_STEPS else 500

    @property
    def chosen_cuts(self) -> Cuts:
        """The cuts on tracks; by default none where data are given, which know nothing of cuts."""
        return make_cuts(self.cuts, None if self.data is None else Cuts(**OPEN))

    def plain(self) -> dict[str, Any]:
        """The same as values that YAML can hold."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def default_names(s: Settings) -> dict[str, str]:
    """Loss and method, where they are left to their defaults: those that are right for noisy data, or for others."""
    noisy = s.data is not None or s.noise is True
    loss, method = s.loss, s.method
    if loss is None:
        loss = "likelihood" if method == "fisher" or (noisy and method != "gauss-newton") else "hits"
    if method is None:
        method = "fisher" if loss == "likelihood" else "gauss-newton"
    return {"loss": loss, "method": method}


KEYS = {item.name: item for item in fields(Settings)}


def make_settings(choices: Mapping[str, Any]) -> Settings:
    """Settings from names and values; unknown names are refused, and files of `params` are read."""
    values = {str(key).replace("-", "_"): value for key, value in choices.items()}
    for name in values:
        if name not in KEYS:
            remedy = did_you_mean(name, KEYS) or "See larndsim-optimize fit --help."
            raise ArgumentError(name, "be a choice of a fit", "it is not", remedy)
    for name in FILES:  # a run goes on from any folder
        if isinstance(values.get(name), str | os.PathLike) and os.path.exists(values[name]):
            values[name] = str(Path(values[name]).resolve())
    values = {name: value for name, value in values.items() if value is not None}
    return Settings(**{name: _of_kind(name, value) for name, value in _with_rates(values).items()})


def _of_kind(name: str, value: Any) -> Any:
    """Lists as tuples, one name or number as a tuple of one, and the word `none` as cuts that are open."""
    if name == "cuts" and value == "none":
        return dict(OPEN)
    one = {"names": str, "numbers": int}.get(KEYS[name].metadata["kind"])
    if one is None or isinstance(value, bool):
        return value
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, one) else value


def _with_rates(values: dict[str, Any]) -> dict[str, Any]:
    """`params` as names; where they come with learning rates, these as `lr`."""
    params = values.get("params")
    named = params if isinstance(params, list | tuple) and len(params) == 1 else [params]
    if isinstance(named[0], str | os.PathLike) and str(named[0]).endswith((".yaml", ".yml")):
        params = read_yaml(named[0], "params")
    if not isinstance(params, Mapping):
        return values
    if values.get("lr") is not None:
        raise ArgumentError("lr", "be given once", "params come with learning rates", "Remove one of them.")
    return {**values, "params": tuple(params), "lr": dict(params)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
