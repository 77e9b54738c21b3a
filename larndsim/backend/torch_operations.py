"""What EagerPy lacks, for PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eagerpy as ep
import torch

batched_matmul = torch.bmm
matmul = torch.matmul


def take(values: Any, index: Any) -> Any:
    return values.index_select(0, index.reshape(-1)).reshape(index.shape + values.shape[1:])


def take_along(values: Any, index: Any) -> Any:
    return torch.gather(values, 1, index.long())


def bell(x: Any, far: float) -> Any:
    return x.square().clamp_(max=far).neg_().exp_()


def part_of(values: Any, first: Any, length: int) -> Any:
    return values.narrow(0, int(first), length)


def floor(values: Any) -> Any:
    return torch.floor(values.detach())


def to_integer(values: Any) -> Any:
    return values.detach().to(torch.int32)


def to_real(values: Any, like: Any) -> Any:
    return values.to(like.dtype)


def log_sum_exp(values: Any, axis: int) -> Any:
    return torch.logsumexp(values, dim=axis)


def constant(values: Any) -> Any:
    return values.detach()


def first_true(mask: Any) -> Any:
    found, index = mask.to(torch.uint8).max(dim=1)
    return torch.where(found > 0, index, mask.shape[1]).to(torch.int32)


def rounded(values: Any) -> Any:
    return torch.round(values.detach())


def with_derivative(function: Callable[..., tuple[Any, Any]], *arrays: Any) -> Any:
    return _WithDerivative.apply(function, *arrays)


class _WithDerivative(torch.autograd.Function):
    """A function with its derivative in forward mode; backwards it is the transposed of that."""

    generate_vmap_rule = True

    @staticmethod
    def forward(function: Any, *arrays: Any) -> Any:
        return function(*map(ep.astensor, arrays))[0].raw

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.function = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def jvp(ctx: Any, _: Any, *steps: Any) -> Any:
        push = ctx.function(*map(ep.astensor, ctx.saved_tensors))[1]
        return push(*(None if step is None else ep.astensor(step) for step in steps)).raw

    @staticmethod
    def backward(ctx: Any, slope: Any) -> tuple[Any, ...]:
        arrays = ctx.saved_tensors
        push = ctx.function(*map(ep.astensor, arrays))[1]
        moving = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]

        def along(*steps: Any) -> Any:
            directions: list[Any] = [None] * len(arrays)
            for i, step in zip(moving, steps, strict=True):
                directions[i] = ep.astensor(step)
            return push(*directions).raw

        pull: Any = torch.func.vjp(along, *(torch.zeros_like(arrays[i]) for i in moving))[1]
        slopes = dict(zip(moving, pull(slope), strict=True))
        return None, *(slopes.get(i) for i in range(len(arrays)))
