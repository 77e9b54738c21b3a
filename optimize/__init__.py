"""Fits of a detector's parameters to data, on top of `larndsim`.

The names below are loaded when first used: importing the package is light.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "FitResult": "fitting",
    "fit": "fitting",
    "Cuts": "cuts",
    "load_dataset": "dataset",
    "LOSSES": "losses",
    "get_loss": "losses",
    "METHODS": "methods",
    "Settings": "settings",
    "Forecast": "forecasts",
    "forecast": "forecasts",
    "Profile": "profiles",
    "profile": "profiles",
    "scan": "scans",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
