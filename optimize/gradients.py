"""The optimisers of torch.optim and optax, by name, on plain arrays: the only file here that names a framework.

An optimiser takes a point, the gradient there, a rate per parameter and its memory, and gives the next point and its
new memory. Its memory is a dict of NumPy arrays, empty at the start.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from larndsim.errors import ArgumentError, check_choice

Memory = dict[str, np.ndarray]
Update = Callable[[np.ndarray, np.ndarray, np.ndarray, Memory], tuple[np.ndarray, Memory]]

PLAIN = "plain:"  # marks what the framework holds as a number rather than as an array


@cache
def get_update(name: str, backend: str) -> Update:
    """The update of the optimiser of that name: from torch.optim on the torch backend, from optax on jax."""
    known = KNOWN[backend]()
    check_choice("optimizer", name.lower(), known)
    update = MAKERS[backend](known[name.lower()])
    try:
        update(np.array([0.1, 0.2]), np.array([1.0, -1.0]), np.array([0.1, 0.2]), {})
    except Exception as error:  # whatever it wants: closures, matrices, values
        remedy = "Choose one that takes the gradient alone, such as adam."
        reason = " ".join(str(error).split())[:80]
        raise ArgumentError(
            "optimizer", "step on a vector by its gradient", f"{name} says: {reason}", remedy
        ) from error
    return update


def torch_optimizers() -> dict[str, Any]:
    """The classes of torch.optim, by their names in small letters."""
    torch = importlib.import_module("torch")
    base = torch.optim.Optimizer
    classes = {k.lower(): v for k, v in vars(torch.optim).items() if inspect.isclass(v) and issubclass(v, base)}
    return {name: value for name, value in classes.items() if value is not base}


def optax_optimizers() -> dict[str, Any]:
    """The functions of optax that take a learning rate first, by name."""
    try:
        optax = importlib.import_module("optax")
    except ImportError as error:
        remedy = "Install it with: pip install 'larndsim[jax]'."
        raise ArgumentError("method", "be installed", "optax is not", remedy) from error
    public = {name: value for name, value in vars(optax).items() if not name.startswith(("_", "scale_by_"))}
    return {name: value for name, value in public.items() if _takes_a_rate(value)}


def _takes_a_rate(function: Any) -> bool:
    if not callable(function) or inspect.isclass(function):
        return False
    try:
        return next(iter(inspect.signature(function).parameters), "") == "learning_rate"
    except ValueError:  # it has no signature
        return False


def torch_update(cls: Any) -> Update:
    """Of a class of torch.optim. Each parameter is a group of its own."""
    torch = importlib.import_module("torch")

    def update(u: np.ndarray, gradient: np.ndarray, rates: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        points = [torch.tensor(float(x), dtype=torch.float64, requires_grad=True) for x in u]
        groups = [{"params": [x], "lr": float(rate)} for x, rate in zip(points, rates, strict=True)]
        optimizer = cls(groups, lr=1.0)
        for x, slope in zip(points, gradient, strict=True):
            x.grad = torch.tensor(float(slope), dtype=torch.float64)
        for key, value in memory.items():
            row, _, name = key.partition("/")
            plain = name.startswith(PLAIN)
            held = value.item() if plain else torch.as_tensor(value.copy())
            optimizer.state[points[int(row)]][name.removeprefix(PLAIN)] = held
        optimizer.step()
        states = [optimizer.state[x] for x in points]
        items = [(f"{row}/", name, value) for row, state in enumerate(states) for name, value in state.items()]
        new = {key + name: value.numpy().copy() for key, name, value in items if torch.is_tensor(value)}
        new |= {key + PLAIN + name: np.array(value) for key, name, value in items if isinstance(value, int | float)}
        return np.array([float(x.detach()) for x in points]), new

    return update


def optax_update(function: Any) -> Update:
    """Of a function of optax, made with rate one; its updates are then taken times the rates.

    In double precision whatever that of the simulation is: a step costs nothing, and neither backend rounds more.
    """
    jax = importlib.import_module("jax")
    tree, optimizer = jax.tree_util, function(1.0)

    def update(u: np.ndarray, gradient: np.ndarray, rates: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
        with jax.enable_x64(True):
            leaves, shape = tree.tree_flatten(optimizer.init(u))
            if memory:
                leaves = [memory[f"{row}"] for row in range(len(leaves))]
            steps, state = optimizer.update(gradient, tree.tree_unflatten(shape, leaves), u)
            held = {f"{row}": np.asarray(leaf) for row, leaf in enumerate(tree.tree_leaves(state))}
            return u + rates * np.asarray(steps, dtype=np.float64), held

    return update


KNOWN = {"torch": torch_optimizers, "jax": optax_optimizers}
MAKERS = {"torch": torch_update, "jax": optax_update}
