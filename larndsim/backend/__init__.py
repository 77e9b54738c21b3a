"""The frameworks: the only place that names torch or jax.

A `Backend` owns what differs between frameworks at the door: devices, dtypes, conversion, compilation, derivatives.
`operations` holds the array functions that EagerPy lacks. Nothing is imported before a backend is chosen.
"""

from __future__ import annotations

import importlib
import importlib.util

from ..errors import ArgumentError, check_choice
from .base import Backend, Sizes, cache_folder
from .tree import leaves, map_leaves, static

__all__ = [
    "DEFAULT",
    "DIFFERENTIABLE",
    "Backend",
    "Sizes",
    "cache_folder",
    "get_backend",
    "installed",
    "leaves",
    "map_leaves",
    "static",
    "widest_dtype",
]

_CLASSES = {"numpy": "NumPyBackend", "torch": "TorchBackend", "jax": "JAXBackend"}
DIFFERENTIABLE = ("torch", "jax")
DEFAULT = "torch"
DTYPES = ("float32", "float64")


def installed() -> list[str]:
    """Names of the backends that this Python can import."""
    return [name for name in _CLASSES if importlib.util.find_spec(name) is not None]


def get_backend(name: str = DEFAULT, device: str = "cpu", dtype: str = "float32") -> Backend:
    """The backend of that name, on that device, computing in that precision."""
    check_choice("backend", name, _CLASSES)
    check_choice("dtype", dtype, DTYPES)
    if name not in installed():
        raise ArgumentError(
            "backend", "be installed", f"{name} is not", f"Install it with: pip install 'larndsim[{name}]'."
        )
    module = importlib.import_module(f".{name}.backend", __name__)
    return getattr(module, _CLASSES[name])(device, dtype)


def widest_dtype(name: str) -> str:
    """The widest precision of a framework as it is set now (JAX computes in float64 only where that is enabled)."""
    return importlib.import_module(f".{name}.backend", __name__).widest_dtype()
