"""PyTorch, on the CPU or on CUDA."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils.checkpoint import checkpoint

from ...errors import ArgumentError
from ..base import Backend, Cost, Sizes
from ..tree import leaves, map_leaves

ROOMY = 1e9  # bytes: with less memory a GPU, too, has chunks as small as a processor


class TorchBackend(Backend):
    """PyTorch; gradients by its autograd, also through `torch.func`."""

    name = "torch"
    hits_cost = Cost(ticks=2.0, kept=0.6, bells=1.0)
    gradient_cost = Cost(ticks=4.0, kept=2.9, bells=1.0)

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

    def known(self, value: Any) -> np.ndarray:
        while isinstance(value, torch.Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value):
            value = torch._C._functorch.get_unwrapped(value)
        with self.underived():
            return self.numpy(value)

    @contextmanager
    def underived(self) -> Iterator[None]:
        with torch.no_grad(), temporarily_clear_interpreter_stack():
            yield

    def is_concrete(self, value: Any) -> bool:
        return not (isinstance(value, torch.Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value))

    def moves(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and (value.requires_grad or not self.is_concrete(value))

    def alone(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*trees: Any) -> Any:
            if any(isinstance(leaf, torch.Tensor) and leaf.requires_grad for leaf in leaves(trees)):
                return checkpoint(function, *trees, use_reentrant=False, preserve_rng_state=False)
            return function(*trees)

        return run

    def value_and_grad(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        inputs = {name: self.asarray(value).detach().clone().requires_grad_(True) for name, value in values.items()}
        value = function(inputs)
        gradients = torch.autograd.grad(value, list(inputs.values()), allow_unused=True, materialize_grads=True)
        return value.detach(), dict(zip(inputs, gradients, strict=True))

    def jacobian(self, function: Callable[[dict[str, Any]], Any], values: dict[str, Any]) -> tuple[Any, dict]:
        primals = {name: self.asarray(value).detach() for name, value in values.items()}
        found: list[Any] = []  # the value; its tensors are stand-ins that are good for nothing outside

        def tensors(primals: dict[str, Any]) -> tuple[list[Any], list[Any]]:
            found[:] = [function(primals)]
            return list(filter(_is_smooth, leaves(found[0]))), list(filter(_is_rough, leaves(found[0])))

        def push(step: dict[str, Any]) -> Any:
            return torch.func.jvp(tensors, (primals,), (step,), has_aux=True)

        unit, axes = torch.eye(len(primals), device=self._device, dtype=self._dtype), (None, 0, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, at its first forward derivative
            many: Any = torch.func.vmap(push, out_dims=axes)  # type: ignore[arg-type]
            smooth, moved, rough = many(dict(zip(primals, unit.T, strict=True)))

        def tree(real: Iterable[Any], other: Callable[[Any], Any]) -> Any:
            source = iter(real)
            return map_leaves(lambda leaf: next(source) if _is_smooth(leaf) else other(leaf), found[0])

        others = iter(rough)
        value = tree(smooth, lambda leaf: next(others) if _is_rough(leaf) else leaf)
        columns = {name: [step[row] for step in moved] for row, name in enumerate(primals)}
        return value, {name: tree(steps, lambda leaf: np.zeros(np.shape(leaf))) for name, steps in columns.items()}

    def sizes(self, memory: float) -> Sizes:
        """On a processor what is at work stays in its caches; a GPU waits for calls."""
        small = self._device.type == "cpu" or memory < ROOMY
        return Sizes().within(memory) if small else Sizes(tiles=2**14, chunk=2**16)

    def gathered(self, table: Any, index: Any) -> torch.Tensor:
        return table.index_select(0, index)

    def columns(self, parts: list[Any], rows: list[np.ndarray]) -> tuple[Any, ...]:
        whole = self.rows(parts, rows)
        return whole.reshape(-1, whole.shape[2]).unbind(1)

    def rows(self, parts: list[Any], rows: list[np.ndarray]) -> torch.Tensor:
        return torch.cat([self._some(*pair) for pair in zip(parts, rows, strict=True)])

    def _some(self, part: Any, rows: np.ndarray) -> torch.Tensor:
        return part if len(rows) == len(part) else part[self.asarray(rows)]

    def synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _is_smooth(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point()


def _is_rough(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and not leaf.is_floating_point()


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
