"""PyTorch, on the CPU or on CUDA."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from ..errors import ArgumentError
from .base import Backend, Cost
from .tree import leaves, map_leaves, with_leaves


class TorchBackend(Backend):
    """PyTorch; gradients by its autograd, also through `torch.func`."""

    name = "torch"
    hits_cost = Cost(8e6, ticks=10.0)
    gradient_cost = Cost(17.5e6, rows=1800.0, seen=1.9)

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(device, dtype)
        self._device = _device(device)
        self._dtype = getattr(torch, dtype)

    def asarray(self, value: Any) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            return value.to(self._device, self._dtype if value.dtype.is_floating_point else value.dtype)
        array = np.asarray(value)
        return torch.as_tensor(np.asarray(array, dtype=self._dtype_of(array)), device=self._device)

    def numpy(self, value: Any) -> np.ndarray:
        return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)

    def is_concrete(self, value: Any) -> bool:
        return not (isinstance(value, torch.Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value))

    def chained(self, function: Callable[..., Any], keep: bool) -> Callable[..., Any]:
        def held(*trees: Any) -> Any:
            return checkpoint(function, *trees, use_reentrant=False, preserve_rng_state=False)

        def needs_gradient(leaf: Any) -> bool:
            return isinstance(leaf, torch.Tensor) and leaf.requires_grad

        return (
            function if keep else lambda *trees: (held if any(map(needs_gradient, leaves(trees))) else function)(*trees)
        )

    def value_and_grad(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        inputs = {name: self.asarray(value).detach().clone().requires_grad_(True) for name, value in values.items()}
        value = function(inputs)
        gradients = torch.autograd.grad(value, list(inputs.values()), allow_unused=True, materialize_grads=True)
        return value.detach(), dict(zip(inputs, gradients, strict=True))

    def jacobian(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        primals = {name: self.asarray(value).detach() for name, value in values.items()}
        value = map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, function(primals))
        smooth = [isinstance(leaf, torch.Tensor) and leaf.is_floating_point() for leaf in leaves(value)]

        def push(tangents: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            moved = torch.func.jvp(lambda p: list(compress(leaves(function(p)), smooth)), (primals,), (tangents,))[1]
            return moved

        unit = torch.eye(len(primals), device=self._device, dtype=self._dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, at its first forward derivative
            moved = torch.func.vmap(push)(dict(zip(primals, unit.T, strict=True)))
        return value, {name: self._tree_of_tangents(value, smooth, moved, i) for i, name in enumerate(primals)}

    def _tree_of_tangents(self, value: Any, smooth: list[bool], moved: list[torch.Tensor], column: int) -> Any:
        """One column of a Jacobian, shaped like the value; what is not a real number does not move."""
        tangents = iter(moved)
        pairs = zip(leaves(value), smooth, strict=True)
        return with_leaves(
            value, [next(tangents)[column] if real else np.zeros(np.shape(leaf)) for leaf, real in pairs]
        )

    def synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _device(name: str) -> torch.device:
    """The device of that name, refused where it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArgumentError("device", "be cpu, cuda or cuda:N", f"it is {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError("device", "be there", f"torch finds no {name!r}", "Use device='cpu', or install CUDA.")
    if device.type not in ("cpu", "cuda"):
        raise ArgumentError("device", "be cpu, cuda or cuda:N", f"it is {name!r}")
    return device


def widest_dtype() -> str:
    """Always at hand."""
    return "float64"
