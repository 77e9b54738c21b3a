"""A differentiable simulator of liquid-argon time projection chambers that are read out on pixels.

The names below are loaded when first used: importing the package is light.
"""

from __future__ import annotations

import importlib
from typing import Any

from .generate import generate  # here, because its package bears the same name

__version__ = "0.1.0"

_HOMES = {
    "Detector": "detector",
    "Parameters": "detector",
    "load_detector": "detector",
    "Segments": "data.segments",
    "Waveforms": "data.waveforms",
    "Batch": "data.batch",
    "Simulator": "simulation",
    "Hits": "data.hits",
    "read_hits": "io",
    "read_segments": "io",
    "write_segments": "io",
    "value_and_grad": "derivatives",
    "jacobian": "derivatives",
    "ArgumentError": "errors",
}

__all__ = ["__version__", "generate", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
