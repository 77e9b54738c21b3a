"""The result of a fit as text: from what `result.json` holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from larndsim.detector.parameters import unit_of

TAIL = 1e-6  # of p-values
SMALLEST, LARGEST = -3, 5  # powers of ten that are written out


def table(result: Mapping[str, Any]) -> str:
    """A line per parameter: its initial value, the fitted one with its error, and the truth where it is known.

    With a noisy target, how many errors the value is above the truth; without noise, how many percent it is off. The
    interval of 68 % is shown where it has one side.
    """
    cells = rows(result)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in
                  enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The cells of the table, its header first. Columns that would be empty are left out."""
    names, parameters = list(result["parameters"]), result["parameters"]
    columns: dict[str, list[str]] = {
        "parameter": names,
        "unit": [unit_of(name) for name in names],
        "initial": [number(parameters[name]["init"]) for name in names],
        "fitted": [with_error(parameters[name]["value"], parameters[name].get("error")) for name in names],
        "68 % interval": [_one_sided(parameters[name]) if name in result["at_bound"] else "" for name in names],
        "truth": [number(parameters[name].get("target")) for name in names],
    }
    if result.get("noisy"):
        columns["pull"] = [_signed(parameters[name].get("pull")) for name in names]
    else:
        columns["off by"] = [_percent(parameters[name]) for name in names]
    kept = {head: cells for head, cells in columns.items() if any(cells)}
    return [list(kept), *(list(row) for row in zip(*kept.values(), strict=True))]


def with_error(value: float, error: float | None) -> str:
    """Value +- error, to two digits of the error; the value alone where none is known."""
    if error is None or not math.isfinite(error) or error <= 0.0:
        return number(value, 8)
    exponent = math.floor(math.log10(max(abs(value), error)))
    plain = SMALLEST <= exponent <= LARGEST
    scale = 1.0 if plain else 10.0**exponent
    decimals = max(1 - math.floor(math.log10(error / scale)), 0)
    text = f"{value / scale:.{decimals}f} ± {error / scale:.{decimals}f}"
    return text if plain else f"({text})e{exponent:+03d}"


def number(value: float | None, digits: int = 6) -> str:
    """Of so many significant digits; empty where it is not known."""
    return f"{value:.{digits}g}" if _known(value) else ""


def probability(p: float) -> str:
    """A p-value as a phrase: `p = 0.31`. Tails beyond one in a million are not told apart."""
    if p < TAIL:
        return f"p < {TAIL:.0e}"
    if p > 0.99:
        return f"p = 1 - {1.0 - p:.1g}" if p < 1.0 - TAIL else f"p > 1 - {TAIL:.0e}"
    return f"p = {p:.2g}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _one_sided(parameter: Mapping[str, Any]) -> str:
    low, high = parameter["interval"]
    return f"{number(low, 5)} .. {number(high, 5)}" if _known(low) and _known(high) else ""


def _signed(value: float | None) -> str:
    return f"{value:+.2f}" if _known(value) else ""


def _percent(parameter: Mapping[str, Any]) -> str:
    target = parameter.get("target")
    return f"{100 * abs(parameter['value'] / target - 1):.4f} %" if target else ""
