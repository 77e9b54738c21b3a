"""What the values of options mean: numbers and ranges of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError

DIGITS = 20  # more than any number here has


def parameters_of(nominal: Any, values: dict[str, Any], bounds: Mapping[str, Any]) -> Any:
    """The nominal parameters with the given values, each within reason."""
    from ..detector.checks import as_number
    from ..detector.parameters import check_name
    from ..engine.checks import check_range, check_value

    for name, value in values.items():
        check_name(str(name), "set")
        number = as_number(name, value, "--set")
        check_value(name, number)
        check_range(name, number, bounds[name])
    return nominal._replace(**{name: float(value) for name, value in values.items()})


def assignment(text: str) -> tuple[str, str]:
    """NAME=VALUE -> both."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentError("set", "be NAME=VALUE", f"it is {text!r}", "Write it without spaces, such as Ab=0.81.")
    return name, value


def seed_of(options: dict[str, Any]) -> int | None:
    """The seed of the noise; None without noise, and where it is integrated over."""
    from ..electronics.models import MODELS

    noise, seed, model = options["noise"], options["seed"], MODELS[options["electronics"]]
    for name in ("seed", "noise"):
        if model.predicts and options[name] is not None:
            must = f"be left out with electronics {model.name}, which integrate all noise over"
            raise ArgumentError(name, must, "it is given", f"Drop --{'no-' * (options[name] is False)}{name}.")
    if noise is False and seed is not None:
        raise ArgumentError("seed", "be given with noise alone", "there is none", "Drop --seed or --no-noise.")
    if noise is None:
        noise = seed is not None or model.noisy
    return whole("seed", 0 if seed is None else seed) if noise else None


def whole(name: str, value: Any) -> int:
    """A whole number that a signed integer of 64 bits holds."""
    text = str(value).strip()
    if not text.isdecimal() or len(text) > DIGITS or int(text) >= 2**63:
        but = f"it is {text[:DIGITS]!r}" + (", and goes on" if len(text) > DIGITS else "")
        raise ArgumentError(name, "be a whole number from 0 to 2**63 - 1", but)
    return int(text)


def number_of(name: str, value: Any) -> float:
    """A number, as the command line or a configuration file gives it."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ArgumentError(name, "be a number", f"it is {value!r}") from None


def events_of(text: Any) -> tuple[int, int] | None:
    """FIRST:END, or the number of one event."""
    if text is None:
        return None
    first, colon, end = str(text).partition(":")
    try:
        if not (colon or first):
            raise ValueError("neither a range nor a number")
        begin = int(first or 0)
        return begin, (int(end) if end else 2**63 - 1) if colon else begin + 1
    except ValueError:
        but = f"it is {text!r}"
        raise ArgumentError("events", "be FIRST:END or the number of an event", but, "Write 0:100.") from None
