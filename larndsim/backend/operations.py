"""Array functions that EagerPy lacks, on EagerPy tensors: one per framework, chosen by the tensor."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import eagerpy as ep
import numpy as np

_MODULES = {"NumPyTensor": "numpy_operations", "PyTorchTensor": "torch_operations", "JAXTensor": "jax_operations"}


def _native(tensor: Any) -> ModuleType:
    return importlib.import_module(f".{_MODULES[type(tensor).__name__]}", __package__)


def batched_matmul(a: Any, b: Any) -> Any:
    """(batch, m, k) times (batch, k, n) -> (batch, m, n)."""
    return ep.astensor(_native(a).batched_matmul(a.raw, b.raw))


def matmul(a: Any, b: Any) -> Any:
    """(..., k) times (k, n) -> (..., n), in full precision."""
    return ep.astensor(_native(a).matmul(a.raw, b.raw))


def take(values: Any, index: Any) -> Any:
    """Elements of `values` (n, ...) at integer `index` (any shape) -> index.shape + (...)."""
    return ep.astensor(_native(values).take(values.raw, index.raw))


def take_along(values: Any, index: Any) -> Any:
    """Elements of `values` (rows, n) at `index` (rows, m) -> (rows, m)."""
    return ep.astensor(_native(values).take_along(values.raw, index.raw))


def floor(values: Any) -> Any:
    """The integer below, as a real number without gradient."""
    return ep.astensor(_native(values).floor(values.raw))


def to_integer(values: Any) -> Any:
    """Whole real numbers -> 32-bit integers, without gradient."""
    return ep.astensor(_native(values).to_integer(values.raw))


def to_real(values: Any, like: Any) -> Any:
    """Integers -> real numbers of the precision of `like`."""
    return ep.astensor(_native(like).to_real(values.raw, like.raw))


def constant(tensor: Any) -> Any:
    """The same values, without their gradient."""
    return ep.astensor(_native(tensor).constant(tensor.raw))


def to_numpy(tensor: Any) -> np.ndarray:
    """EagerPy tensor -> NumPy array."""
    return tensor.numpy()
