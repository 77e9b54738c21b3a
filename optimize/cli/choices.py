"""Settings on the command line: one flag per field, and a YAML file that may hold any of them."""

from __future__ import annotations

import argparse
from typing import Any

from larndsim.detector.checks import read_yaml
from larndsim.errors import ArgumentError

from ..cuts import OPEN
from ..settings import KEYS


def add_choices(parser: argparse.ArgumentParser, leave_out: tuple[str, ...] = ()) -> None:
    """A flag for every field of the settings; its default is not to be given."""
    parser.add_argument("--config", metavar="YAML", help="file with any of the options below; flags override it")
    for name, item in KEYS.items():
        if name not in leave_out:
            flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
            parser.add_argument(*flags, dest=name, default=None, help=_help(item), **_kind(item.metadata))


def choices_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The choices that were made: those of the file, overridden by the flags."""
    stored = {} if arguments.config is None else read_yaml(arguments.config, "config")
    values = {str(key).replace("-", "_"): value for key, value in stored.items()}
    given = {name: getattr(arguments, name, None) for name in KEYS}
    for name, value in given.items():
        if value is not None:
            values[name] = _value(name, value)
    return values


def taken_out(arguments: argparse.Namespace, choices: dict[str, Any], needed: bool = True) -> Any:
    """The folder to write to, of the flag or else of the file; it is no choice of a fit, so it is taken out of them.

    None where there is none, and none is needed.
    """
    stored = choices.pop("out", None)
    folder = stored if arguments.out is None else arguments.out
    if folder is None and not needed:
        return None
    if not isinstance(folder, str) or not folder:
        but = "it is not" if folder is None else f"it is {folder!r}"
        raise ArgumentError("--out", "be given", but, "Name a folder, here or in the file of --config.")
    return folder


def _value(name: str, value: Any) -> Any:
    kind = KEYS[name].metadata["kind"]
    if kind in ("values", "options"):
        opened = name == "cuts" and value[0] == "none"  # none, or none but those that follow
        return {**OPEN, **_pairs(name, value[1:])} if opened else _pairs(name, value)
    if kind == "numbers":
        return tuple(value)
    if kind == "files":
        return value[0] if len(value) == 1 else value
    return value


def _pairs(name: str, words: list[str]) -> dict[str, Any]:
    """NAME=VALUE words -> values by name: numbers, where they look like it."""
    pairs: dict[str, Any] = {}
    flag = f"--{name.replace('_', '-')}"
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ArgumentError(flag, "be given as NAME=VALUE", f"it is {word!r}", "Such as Ab=0.83.")
        if key in pairs:
            raise ArgumentError(flag, "give each value once", f"{key} is given again")
        pairs[key] = _number(text)
        if isinstance(pairs[key], str) and KEYS[name].metadata["kind"] == "values":
            raise ArgumentError(flag, "give numbers", f"{key} is {text!r}")
    return pairs


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _kind(metadata: Any) -> dict[str, Any]:
    kind, metavar = metadata["kind"], metadata["metavar"]
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind in ("names", "values", "options", "files"):
        return {"nargs": "+", "metavar": metavar}
    if kind == "numbers":
        return {"nargs": "+", "type": int, "metavar": metavar}
    return {"type": str if kind in ("file", "path") else kind, "metavar": metavar}


def _help(item: Any) -> str:
    text, default = item.metadata["help"], item.default
    shown = isinstance(default, str | int | float) and not isinstance(default, bool)
    return (f"{text} (default: {default})" if shown else text).replace("%", "%%")
