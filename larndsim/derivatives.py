"""Derivatives of anything that a simulator predicts, on every differentiable backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .backend import DEFAULT, DIFFERENTIABLE, Backend, get_backend, widest_dtype
from .errors import ArgumentError, check_choice, did_you_mean


def value_and_grad(
    function: Callable[[Any], Any], parameters: Any, wrt: Iterable[str] | None = None, backend: str | Backend = DEFAULT
) -> tuple[Any, dict[str, Any]]:
    """Value and gradient of a scalar function of a named tuple: `Parameters`, or the segments of a batch.

    `wrt` names the fields to differentiate with respect to (default: all that are not None). The gradients come as a
    dict of native arrays.

    >>> import larndsim
    >>> value, gradient = larndsim.value_and_grad(lambda p: p.Ab * p.kb, larndsim.Parameters(Ab=2.0, kb=3.0), ("Ab",))
    >>> float(value), float(gradient["Ab"])
    (6.0, 3.0)
    """
    chosen, values, fixed = _arguments(parameters, wrt, backend)
    return chosen.value_and_grad(lambda varied: function(fixed._replace(**varied)), values)


def jacobian(
    function: Callable[[Any], Any], parameters: Any, wrt: Iterable[str] | None = None, backend: str | Backend = DEFAULT
) -> tuple[Any, dict[str, Any]]:
    """Value of a function with any arrays as value, and its derivative by each named field, in forward mode.

    For few parameters and many outputs this costs a handful of evaluations.
    """
    chosen, values, fixed = _arguments(parameters, wrt, backend)
    for name, value in values.items():
        if len(getattr(value, "shape", ())):
            remedy = "Use value_and_grad."
            raise ArgumentError("wrt", "name single numbers", f"{name} has the shape {tuple(value.shape)}", remedy)
    return chosen.jacobian(lambda varied: function(fixed._replace(**varied)), values)


def _arguments(parameters: Any, wrt: Iterable[str] | None, backend: str | Backend) -> tuple[Backend, dict, Any]:
    """The backend, the values to differentiate with respect to, and the tuple that holds the others."""
    fields = getattr(parameters, "_fields", ())
    given = tuple(name for name in fields if getattr(parameters, name) is not None)
    names = given if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for name in names:
        if name in fields and name not in given:
            raise ArgumentError("wrt", "name fields that are numbers", f"{name} is None", "Take Detector.nominal.")
        if name not in fields:
            remedy = did_you_mean(name, fields)
            raise ArgumentError("wrt", f"name fields of {type(parameters).__name__}", f"{name!r} is none", remedy)
    if isinstance(backend, str):
        check_choice("backend", backend, DIFFERENTIABLE)
        backend = get_backend(backend, dtype=widest_dtype(backend))
    if backend.name not in DIFFERENTIABLE:
        raise ArgumentError("backend", f"be one of {', '.join(DIFFERENTIABLE)}", f"it is {backend.name!r}")
    return backend, {name: getattr(parameters, name) for name in names}, parameters
