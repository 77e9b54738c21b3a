"""What EagerPy lacks, for PyTorch."""

from __future__ import annotations

from typing import Any

import torch

batched_matmul = torch.bmm
matmul = torch.matmul


def take(values: Any, index: Any) -> Any:
    return values.index_select(0, index.reshape(-1)).reshape(index.shape + values.shape[1:])


def take_along(values: Any, index: Any) -> Any:
    return torch.gather(values, 1, index.long())


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
