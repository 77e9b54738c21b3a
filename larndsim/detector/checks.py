"""What every value of a detector must satisfy, and reading YAML files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import ArgumentError, did_you_mean

PathLike = str | os.PathLike[str]

# What no detector reaches: numbers would overflow, or maps of pixels and waveforms take all memory.
FURTHEST = 1e6  # cm, of any place from the origin
LONGEST_DRIFT = 1e4  # cm
DEEPEST = 20  # lists and mappings within each other: files that are meant have four at most

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML (with the C parser where there is one: ten times faster), but `1:40` is text.

    To YAML 1.1 it is the number 100, in base 60. What is nested deeply is refused: the parser calls itself for each
    level, until the process dies.
    """

    depth = 0

    def descend_resolver(self, *place: Any) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"lists and mappings are nested more than {DEEPEST} deep")
        super().descend_resolver(*place)

    def ascend_resolver(self) -> None:
        self.depth -= 1
        super().ascend_resolver()


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile(f"(?!.*:)(?:{pattern.pattern})", pattern.flags) if tag in _NUMBERS else pattern)
        for tag, pattern in resolvers
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def as_number(name: str, value: Any, where: str) -> float:
    """A finite float; YAML reads `5.0e3` as a string, so strings that spell a number are numbers."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ArgumentError(name, "be a number", f"it is {value!r} in {where}", "Write a number such as 0.5 or 2.2e3.")
    return number


def check_sign(name: str, value: Any, where: str = "", zero: bool = False) -> None:
    """Refuse a value (or any of several) that is negative, or zero unless `zero` is allowed."""
    bad = np.asarray(value) < 0 if zero else np.asarray(value) <= 0
    if np.any(bad):
        must = "be zero or positive" if zero else "be positive"
        place = f" in {where}" if where else ""
        raise ArgumentError(name, must, f"it is {value}{place}", "Correct its sign or its value.")


def check_within(name: str, value: Any, limits: tuple[float, float], unit: str, where: str) -> None:
    """Refuse a value (or any of several) that no detector has."""
    low, high = limits
    values = np.atleast_1d(value)
    if len(wrong := values[~((values >= low) & (values <= high))]):
        must, but = f"lie within {low:g} and {high:g} {unit}", f"it is {wrong[0]:g} in {where}"
        raise ArgumentError(name, must, but, "Correct it.")


def read_text(path: PathLike, argument: str) -> str:
    """The text of a file, or one sentence that says why there is none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        remedy = "Check the path."
        raise ArgumentError(argument, "be a file that can be read", f"{path}: {reason}", remedy) from error


def read_yaml(path: PathLike, argument: str) -> dict[Any, Any]:
    """The mapping that a YAML file holds."""
    text = read_text(path, argument)
    try:
        content = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError) as error:  # all but the first of `!!int x` and such
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = f"{path} is not{line} ({getattr(error, 'problem', None) or 'unreadable'})"
        raise ArgumentError(argument, "be a YAML file", problem, "Correct that line.") from error
    if not isinstance(content, dict):
        remedy = "Write one `key: value` per line."
        kind = type(content).__name__
        raise ArgumentError(argument, "be a YAML file of keys and values", f"{path} holds a {kind}", remedy)
    return content


def describe_unknown(unknown: Iterable[str], known: Iterable[str], where: PathLike) -> str:
    """One sentence that names each unknown key of a file, with the remedy."""
    known = list(known)
    names = []
    for key in unknown:
        hint = did_you_mean(key, known)
        names += [f"`{key}` ({hint[0].lower()}{hint[1:]})" if hint else f"`{key}`"]
    return f"Unknown keys in {where} are not used: {', '.join(names)}. Correct or remove them."
