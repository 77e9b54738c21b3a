"""What EagerPy lacks, for PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import Any

import eagerpy as ep
import torch
from torch.autograd.forward_ad import make_dual, unpack_dual

from ..tree import map_leaves

batched_matmul = torch.bmm
matmul = torch.matmul
cos, sin, erfc = torch.cos, torch.sin, torch.erfc
expm1, log1p = torch.expm1, torch.log1p


def take(values: Any, index: Any) -> Any:
    return values.index_select(0, index.reshape(-1)).reshape(index.shape + values.shape[1:])


def cut(values: Any, first: int, count: int) -> Any:
    return values.narrow(0, first, count)


def take_along(values: Any, index: Any) -> Any:
    return torch.gather(values, 1, index.long())


def add_along(values: Any, index: Any, columns: int) -> Any:
    return values.new_zeros((len(values), columns)).scatter_add(1, index.long(), values)


def laid_out(parts: list[Any], firsts: tuple[int, ...], rows: int) -> Any:
    ends = [*firsts[1:], firsts[-1] + len(parts[-1])]
    seen = [part[: end - first] for part, first, end in zip(parts, firsts, ends, strict=True)]
    return torch.cat([*seen, parts[0].new_zeros((rows - ends[-1], *parts[0].shape[1:]))])


def add_windows(values: Any, first: Any, size: int) -> Any:
    rows = (first[:, None] + torch.arange(values.shape[1], device=first.device)).reshape(-1)
    return values.new_zeros((size, values.shape[2])).index_add(0, rows, values.reshape(-1, values.shape[2]))


def windows(values: Any, first: Any, width: int) -> Any:
    rows = (first[:, None] + torch.arange(width, device=first.device)).reshape(-1)
    return values.index_select(0, rows).reshape(len(first), width, values.shape[1])


def held_outside(values: Any, first: Any, last: Any, after: Any) -> Any:
    column = torch.arange(values.shape[1], device=values.device)[None, :, None]
    return torch.where(
        column >= last[:, None, None], after[:, None], torch.where(column >= first[:, None, None], values, 0)
    )


def least(values: Any, owner: Any, count: int, otherwise: float) -> Any:
    found = torch.full((count,), otherwise, dtype=values.dtype, device=values.device)
    return found.scatter_reduce(0, owner.long(), values.detach(), "amin")


def sums_so_far(values: Any, owner: Any, backwards: bool) -> Any:
    if backwards:
        return sums_so_far(values.flip(0), owner.flip(0), False).flip(0)
    row = torch.arange(len(owner), device=owner.device)
    first = torch.where(owner != owner.roll(1), row, 0).cummax(0).values
    sums = values.double().cumsum(0)  # over all owners: in single precision the later ones would suffer
    return (sums - (sums - values).index_select(0, first)).to(values.dtype)


def bell(x: Any, far: float) -> Any:
    return x.square().clamp_(max=far).neg_().exp_()


def not_held(bells: Any, held: float) -> Any:
    return torch.nn.functional.threshold(bells, held, 0.0)


def cleared(values: Any, least: float) -> Any:
    return torch.nn.functional.threshold(values, least, 0.0)


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


def running_maximum(values: Any) -> Any:
    return torch.cummax(values.detach(), dim=1).values


def first_true(mask: Any) -> Any:
    found, index = mask.to(torch.uint8).max(dim=1)
    return torch.where(found > 0, index, mask.shape[1]).to(torch.int32)


def rounded(values: Any) -> Any:
    return torch.round(values.detach())


def if_any(values: Any, function: Callable[[Any, Any], Any], otherwise: Any) -> Any:
    return function(otherwise, values) if values.device.type != "cpu" or values.any() else otherwise


def with_derivative(derived: Any, *arrays: Any) -> Any:
    still, steps = zip(*map(unpack_dual, arrays), strict=True)
    if all(step is None for step in steps[: derived.movers]):
        return _WithDerivative.apply(derived, *arrays[: derived.movers], *still[derived.movers :])[0]
    value, moved = _with_jvp(derived, still, steps)
    return make_dual(value, moved)


class _WithDerivative(torch.autograd.Function):
    """A function with its derivative: the value, then what is kept for it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(derived: Any, *arrays: Any) -> Any:
        value, kept = derived.value(*map(ep.astensor, arrays))
        return value.raw, *(leaf.raw for leaf in kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, outputs: Any) -> None:
        ctx.derived, ctx.count = inputs[0], len(inputs) - 1
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.save_for_backward(*inputs[1:], *outputs[1:])
        ctx.save_for_forward(*inputs[1:], *outputs[1:])

    @staticmethod
    def jvp(ctx: Any, _: Any, *steps: Any) -> Any:
        """How a value moves of which a gradient is taken; without a gradient, `with_derivative` does so by itself."""
        saved = ctx.saved_tensors
        return _with_jvp(ctx.derived, saved[: ctx.count], steps)[1], *(None,) * (len(saved) - ctx.count)

    @staticmethod
    def backward(ctx: Any, slope: Any, *_: Any) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # once: each look may compute it again
        arrays, kept = map_leaves(ep.astensor, (saved[: ctx.count], saved[ctx.count :]))
        if torch.is_grad_enabled():  # for second derivatives, which need to know where it comes from
            kept = ctx.derived.value(*arrays)[1]
        movers = ctx.derived.movers
        found = ctx.derived.vjp(arrays, tuple(kept), ep.astensor(slope), ctx.needs_input_grad[1 : 1 + movers])
        return None, *(None if slope is None else slope.raw for slope in found), *(None,) * (ctx.count - movers)


def _with_jvp(derived: Any, arrays: tuple[Any, ...], steps: tuple[Any, ...]) -> tuple[Any, Any]:
    """The value, and how it moves; steps are None where nothing does."""
    moving = [step is not None for step in steps[: derived.movers]]
    given = (step[None] for step in compress(steps, moving))
    value, moved = _Jvp.apply(derived, moving, len(arrays), *arrays, *given)
    return value, moved.squeeze(0)


class _Jvp(torch.autograd.Function):
    """A value, and how it moves, direction by direction: many of them are one more axis of the steps.

    No gradient of either passes through.
    """

    @staticmethod
    def forward(derived: Any, moving: list[bool], count: int, *tensors: Any) -> tuple[Any, Any]:
        arrays, steps = tuple(map(ep.astensor, tensors[:count])), iter(tensors[count:])
        value, kept = derived.value(*arrays)
        moved = derived.jvp(arrays, tuple(kept), *(ep.astensor(next(steps)) if moves else None for moves in moving))
        return value.raw, moved.raw

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, axes: Any, derived: Any, moving: list[bool], count: int, *tensors: Any) -> tuple[Any, Any]:
        if any(axis is not None for axis in axes[3 : 3 + count]):
            raise NotImplementedError("derivatives at many places at once: take them one after the other")
        many = [
            step.expand(info.batch_size, *step.shape) if axis is None else step.movedim(axis, 0)
            for step, axis in zip(tensors[count:], axes[3 + count :], strict=True)
        ]
        value, moved = _Jvp.apply(derived, moving, count, *tensors[:count], *(step.squeeze(1) for step in many))
        return (value, moved.unsqueeze(1)), (None, 0)
