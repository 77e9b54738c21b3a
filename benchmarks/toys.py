"""Many noisy fits in one folder: what they have in common, one JSON file for each, and the flags of the commands.

settings.json    what all fits of the folder share; a command with other settings is refused
NAME.json        one fit: status, message, loss, steps, seconds, init, target, values, errors, covariance, p_value
log.txt          what the processes say: warnings, tracebacks
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.closure import PARAMETERS
from benchmarks.measure import machine
from larndsim.errors import ArgumentError, did_you_mean
from larndsim.io.atomic import replacing
from optimize.records import finite, make_folder
from optimize.settings import KEYS, make_settings

SETTINGS, LOG = "settings.json", "log.txt"
MUONS, PROTONS = 200.0, 50.0  # cm
FLAGS = ("params", "backend", "device", "dtype", "detector", "layout")  # choices of a fit that are flags here
DEFAULTS: dict[str, Any] = {
    "params": list(PARAMETERS), "backend": "torch", "device": "cpu", "dtype": "float32", "detector": "module0",
    "layout": None, "input": None, "muons": None, "protons": None, "choices": "{}", "data": "{}",
    "processes": None,
}  # fmt: skip
FILES = ("input", "detector", "layout")
KEPT = ("status", "message", "loss", "init", "values", "errors", "covariance", "target", "at_bound")


class Job(NamedTuple):
    """A fit: the name of its file, and its own choices of `optimize.fit`."""

    name: str
    choices: dict[str, Any]


class Plan(NamedTuple):
    """What all fits share: choices of `optimize.fit`, and cm of generated muons and protons (None with a file).

    `data` are other choices for the simulation of the data, such as another detector: those of the fit are then wrong.
    """

    choices: dict[str, Any]
    sample: tuple[float, float] | None
    data: dict[str, Any] | None = None


def add_arguments(p: argparse.ArgumentParser, out: str) -> None:
    """Flags of every command that makes many fits."""
    p.add_argument("--params", nargs="+", metavar="NAME", help="default: the six of `closure`")
    p.add_argument("--backend", choices=("torch", "jax"), help="default: torch")
    p.add_argument("--device", help="default: cpu")
    p.add_argument("--dtype", choices=("float32", "float64"), help="default: float32")
    p.add_argument("--detector", help="name or YAML file (default: module0)")
    p.add_argument("--layout", nargs="+", metavar="YAML", help="file of the pixel layout, or one per module")
    p.add_argument("--input", metavar="FILE.h5", help="file of segments, instead of a generated sample")
    p.add_argument("--muons", type=float, metavar="CM", help=f"of the sample (default: {MUONS:g})")
    p.add_argument("--protons", type=float, metavar="CM", help=f"of the sample (default: {PROTONS:g})")
    p.add_argument("--choices", metavar="JSON", help="further choices of the fits; they override those made here")
    p.add_argument("--data", metavar="JSON", help='other choices for the data alone, such as {"accuracy": 1e-4}')
    p.add_argument("--processes", type=int, metavar="N", help="at once (default: one per core; on a GPU one)")
    p.add_argument("--out", type=Path, default=Path(out), help="folder of the fits and tables (default: %(default)s)")
    p.add_argument("--report-only", action="store_true", help="make the tables again, from the fits in the folder")
    p.set_defaults(**DEFAULTS)


def check_report_only(arguments: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Refuse flags of the fits where none is made."""
    for name, default in defaults.items():
        if getattr(arguments, name) != default:
            raise ArgumentError(name, "be left out with `report-only`", "it is given", "The fits are there already.")


def plan_of(arguments: argparse.Namespace, own: tuple[str, ...]) -> Plan:
    """What the flags ask for. The choices `own` are those of each fit alone."""
    common = {"cuts": "none", "link_vdrift_eField": True, "noise": True}
    common |= {name: getattr(arguments, name) for name in FLAGS if getattr(arguments, name) is not None}
    common |= _further("choices", arguments.choices, own, FLAGS)
    data = _further("data", arguments.data, own, ())
    for choices in (common, data):
        for name in ("detector", "layout"):  # the processes run in another folder
            if choices.get(name) is not None:
                choices[name] = _absolute(choices[name])
    if arguments.input is None:
        lengths = (arguments.muons, arguments.protons)
        muons, protons = (b if a is None else a for a, b in zip(lengths, (MUONS, PROTONS), strict=True))
        return Plan(common, (muons, protons), data)
    for name in ("muons", "protons"):
        if getattr(arguments, name) is not None:
            raise ArgumentError(name, "be left out with `input`", "it is given", "It is for generated samples.")
    if not os.path.isfile(arguments.input):
        raise ArgumentError("input", "be a file of segments", f"{arguments.input} is none", "Check the path.")
    return Plan({**common, "input": _absolute(arguments.input)}, None, data)


def _further(argument: str, text: str, own: tuple[str, ...], flags: tuple[str, ...]) -> dict[str, Any]:
    """The choices that are given as JSON; those that have a flag, or are each fit's own, are refused."""
    try:
        choices = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentError(argument, "be JSON", f"{text!r} is not: {error}") from error
    if not isinstance(choices, dict):
        raise ArgumentError(argument, 'be names and values, such as {"method": "lbfgs"}', f"it is {text}")
    choices = {name.replace("-", "_"): value for name, value in choices.items()}
    for name in choices:
        if name in (*flags, "input"):
            raise ArgumentError(argument, "leave out what is a flag", f"it has {name}", f"Give --{name}.")
        if name in (*own, "data"):
            raise ArgumentError(argument, "leave out what each fit sets for itself", f"it has {name}")
        if name not in KEYS:
            raise ArgumentError(argument, "be choices of a fit", f"{name} is none", did_you_mean(name, KEYS))
    return choices


def _absolute(value: Any) -> Any:
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    return str(Path(value).resolve()) if os.path.exists(value) else value


def settings_of(plan: Plan, benchmark: str) -> dict[str, Any]:
    """What must not change within a folder: all choices of the fits, defaults too, and the contents of files."""
    fit = make_settings({"input": "generated", **plan.choices}).plain()
    files: dict[str, Any] = {}
    for name in FILES:
        paths = fit[name] if isinstance(fit[name], list) else [fit[name]]
        files[name] = [_digest(path) for path in paths if path is not None and os.path.isfile(path)]
        fit[name] = [Path(path).name for path in paths if path is not None]
    data = {name: Path(value).name if name == "detector" else value for name, value in (plan.data or {}).items()}
    return finite({"benchmark": benchmark, "sample": plan.sample, **fit, "other_data": data, "sha256": files})


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def open_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder; or refuse one whose fits have other settings. Without fits it may get new ones."""
    make_folder("out", folder)
    others = {path.name for path in folder.glob("*.json")}
    if SETTINGS not in others and others:
        but = f"{folder} has other files and no {SETTINGS}"
        raise ArgumentError("out", "be a new folder or one of these fits", but, "Choose another folder.")
    if not others - {SETTINGS}:
        write(folder / SETTINGS, {"machine": machine(), "settings": settings})
    known = read_settings(folder)
    for name in sorted(known.keys() | settings.keys()):
        if known.get(name) != settings.get(name):
            but = f"{folder} has fits with {name} {known.get(name)}, not {settings.get(name)}"
            raise ArgumentError("out", "be a folder of fits with the same settings", but, "Choose another folder.")


def read_settings(folder: Path) -> dict[str, Any]:
    """Of the fits in the folder."""
    try:
        return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise ArgumentError("out", "be a folder of fits", f"{folder} has no {SETTINGS} that can be read") from error


def read(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """The fits in the folder whose file has such a name, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{pattern}.json"))]


def write(path: Path, content: dict[str, Any]) -> None:
    """The content as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(finite(content), indent=1) + "\n", encoding="utf-8")


def fitted(segments: Any, choices: dict[str, Any], data: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is kept of a fit. One that raises has status `error`, and the sentence as its message.

    `data` are other choices for the simulation of the data.
    """
    import optimize

    start = time.perf_counter()
    try:
        result = _fitted_to_other(segments, choices, data) if data else optimize.fit(segments, **choices)
    except Exception as error:
        traceback.print_exc()
        sentence = str(error) if isinstance(error, ArgumentError) else f"{type(error).__name__}: {error}"
        return {"status": "error", "message": sentence, "seconds": time.perf_counter() - start}
    record = {name: getattr(result, name) for name in KEPT}
    record |= {"steps": result.iterations, "p_value": getattr(result, "p_value", None)}
    return record | {"seconds": time.perf_counter() - start}


def _fitted_to_other(segments: Any, choices: dict[str, Any], data: dict[str, Any]) -> Any:
    """A fit to data that were simulated with other choices; its target is that of the parameters which both have."""
    import optimize
    from larndsim.io import HitsWriter
    from optimize.problem import make_problem

    simulated = make_problem(make_settings({**choices, **data, "input": segments}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hits.h5"
        with HitsWriter(path) as writer:
            writer.append(np.concatenate(simulated.objective.targets))
        mine = {name: value for name, value in choices.items() if name not in ("noise", "set_target", "shift_no_fit")}
        result = optimize.fit(segments, data=path, **mine)
    return result._replace(target={name: simulated.target.get(name) for name in result.values})
