"""Simulate a file of segments: what the pixels record, as hits or as LArPix packets.

Events do not know of each other; some are simulated at once, within the given memory. All options may also stand in a
YAML file, without the dashes, one per line: `backend: jax`, `set: {Ab: 0.81}`, `noise: false`. Options of the command
line override it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import Any

from ..backend import DEFAULT
from ..engine.footprint import bytes_of
from ..errors import ArgumentError, check_choice, did_you_mean
from .values import assignment, events_of, number_of, parameters_of, seed_of

EXAMPLE = "larndsim simulate muons.h5 hits.h5 --detector module0 --electronics clocked --seed 1 --set Ab=0.81"

# What says something of channels.
MAPS = ("thresholds", "gains", "pedestals", "references", "unique-id", "fill-channels", "bad-channels")

# Every option with its default; those of the command line are None until they are given.
DEFAULTS: dict[str, Any] = {
    "detector": "module0",
    "layout": None,
    "backend": DEFAULT,
    "device": "cpu",
    "dtype": "float32",
    "electronics": "clocked",
    "recombination": "birks",
    "accuracy": 1e-3,
    "link-vdrift-eField": False,
    "noise": None,
    "seed": None,
    "set": {},
    "memory": "2GB",
    "events": None,
    "thresholds": None,
    "gains": None,
    "pedestals": None,
    "references": None,
    "unique-id": None,
    "fill-channels": False,
    "bad-channels": None,
    "format": "hits",
    "truth": True,
}
TEXT = {
    "detector": ("DETECTOR", "name or YAML file"),
    "backend": ("NAME", "torch, jax or numpy"),
    "device": ("NAME", "cpu, cuda or cuda:N"),
    "dtype": ("NAME", "float32 or float64"),
    "electronics": ("NAME", "clocked (tick by tick, as the hardware), relaxed (smooth), expected (probabilities)"),
    "recombination": ("NAME", "birks, box or ellipsoid"),
    "accuracy": ("X", "of each waveform, relative to its pixel's total"),
    "memory": ("SIZE", "what may be used, such as 500MB or 2GB"),
    "format": ("NAME", "hits or packets"),
    "events": ("FIRST:END", "only events with numbers from FIRST up to, not including, END"),
    "thresholds": ("NPZ", "thresholds of the channels"),
    "gains": ("NPZ", "gains of the channels"),
    "pedestals": ("FILE", "pedestals of the channels: npz by key, or JSON by unique id"),
    "references": ("JSON", "v_ref and v_cm of the channels, by unique id"),
    "unique-id": ("NAME", "second number of the unique ids: tile (default) or io_channel"),
    "bad-channels": ("JSON", "channels that are off"),
    "seed": ("N", "same seed, same noise; 0 where there is noise and none is given; not with expected"),
}
SWITCHES = {
    "noise": "noise of the electronics (default: with clocked, or where a seed is given)",
    "truth": "write which segments are behind each hit (default: yes)",
    "fill-channels": "channels that a file leaves out keep the detector's values (default: no)",
    "link-vdrift-eField": "the drift velocity follows from the field (default: no)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files, and the options."""
    parser.add_argument("input", metavar="IN.h5", help="file of segments")
    parser.add_argument("output", metavar="OUT.h5", help="the file to write")
    parser.add_argument("--config", metavar="YAML", help="file with any of the options below")
    for name, (metavar, text) in TEXT.items():
        default = "" if DEFAULTS[name] is None else f" (default: {DEFAULTS[name]})"
        parser.add_argument(f"--{name}", metavar=metavar, help=text + default)
    parser.add_argument("--layout", nargs="+", metavar="YAML", help="file of the pixel layout, or one per module")
    parser.add_argument("--set", nargs="+", action="extend", metavar="NAME=VALUE", help="values of parameters")
    for name, text in SWITCHES.items():
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)


def run(arguments: argparse.Namespace) -> None:
    """Simulate, and say what came out."""
    from .streaming import simulate_file

    options = merged(arguments)
    simulator = make_simulator(options)
    notes = {
        "detector_source": _found_from_anywhere(str(options["detector"])),
        "layout_source": _found_from_anywhere(options["layout"]),
        "channel_maps": {name: _found_from_anywhere(options[name]) for name in MAPS},
        "command": command_line(arguments),
    }
    summary = simulate_file(simulator, arguments.input, arguments.output, make_run(options, simulator), notes)
    seconds = max(summary.seconds, 1e-9)
    print(
        f"{arguments.output}: {summary.events} events, {summary.segments} segments ({summary.length:.0f} cm), "
        f"{summary.pixels} pixels, {summary.hits - summary.left_out} hits, "
        f"{summary.seconds:.1f} s, {summary.length / seconds:.0f} cm/s"
    )
    if summary.left_out:
        print(f"larndsim: {summary.left_out} hits are left out: no channel reads their pixels", file=sys.stderr)


def _found_from_anywhere(path: Any) -> Any:
    """A file's whole path, or each of several; what is no file (a built-in detector, nothing) as it is."""
    if isinstance(path, list):
        return [_found_from_anywhere(each) for each in path]
    return os.path.abspath(path) if isinstance(path, str) and os.path.isfile(path) else path


def merged(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options: of the command line, else of the configuration, else the defaults."""
    given = {name: getattr(arguments, name.replace("-", "_")) for name in DEFAULTS}
    given = {name: value for name, value in given.items() if value is not None}
    if "set" in given:
        given["set"] = dict(assignment(text) for text in given["set"])
    config = read_config(arguments.config) if arguments.config else {}
    both = {**config.get("set", {}), **given.get("set", {})}
    return {**DEFAULTS, **config, **given, "set": both}


def read_config(path: str) -> dict[str, Any]:
    """The options of a YAML file, under the names of `DEFAULTS`."""
    from ..detector.checks import read_yaml

    config = {str(key).replace("_", "-"): value for key, value in read_yaml(path, "config").items()}
    config = {
        "link-vdrift-eField" if key.lower() == "link-vdrift-efield" else key: value for key, value in config.items()
    }
    for name, value in config.items():
        if name not in DEFAULTS:
            known = ", ".join(DEFAULTS)
            raise ArgumentError(
                "config", f"have keys among {known}", f"{path} has {name!r}", did_you_mean(name, DEFAULTS)
            )
        _check_entry(name, value, path)
    return {name: value for name, value in config.items() if value is not None}


def _check_entry(name: str, value: Any, path: str) -> None:
    """Refuse a value of the wrong kind."""
    kinds: tuple[type, ...] = (str, int, float)
    if name in SWITCHES:
        kinds = (bool,)
    elif name == "set":
        kinds = (dict,)
    elif name == "layout":
        kinds = (str, list)
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise ArgumentError(name, "list names of files", f"it is {value!r} in {path}")
    if not isinstance(value, (*kinds, type(None))) or (isinstance(value, bool) and bool not in kinds):
        what = {bool: "true or false", dict: "a mapping of names to values", str: "text or a number"}[kinds[0]]
        raise ArgumentError(name, f"be {what}", f"it is {value!r} in {path}")


def make_simulator(options: dict[str, Any]) -> Any:
    """The simulator that the options describe."""
    import larndsim

    from ..detector import load_channel_maps
    from .streaming import BASE, LEAST

    detector = larndsim.load_detector(options["detector"], layout=options["layout"])
    maps = load_channel_maps({name.replace("-", "_"): options[name] for name in MAPS}, detector)
    names = ("backend", "device", "dtype", "electronics", "recombination")
    return larndsim.Simulator(
        detector, **{name: options[name] for name in names}, **maps,
        link_vdrift_eField=options["link-vdrift-eField"], accuracy=number_of("accuracy", options["accuracy"]),
        memory=max(bytes_of(options["memory"]) - BASE, LEAST),
    )  # fmt: skip


def make_run(options: dict[str, Any], simulator: Any) -> Any:
    """What to simulate, and how."""
    from .streaming import FORMATS, Run

    check_choice("format", options["format"], FORMATS)
    return Run(
        parameters=parameters_of(simulator.detector.parameters, options["set"], simulator.detector.bounds),
        seed=seed_of(options),
        events=events_of(options["events"]),
        format=options["format"],
        truth=options["truth"],
        memory=bytes_of(options["memory"]),
    )


def command_line(arguments: argparse.Namespace) -> str:
    """The command that does the same again."""
    words = ["larndsim", "simulate", arguments.input, arguments.output]
    for name in ("config", *DEFAULTS):
        value = getattr(arguments, name.replace("-", "_"))
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    return shlex.join(words)
