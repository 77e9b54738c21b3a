"""Array functions that EagerPy lacks, on EagerPy tensors: one per framework, chosen by the tensor."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from operator import itemgetter
from types import ModuleType
from typing import Any, NamedTuple

import eagerpy as ep

from .tree import leaves, map_leaves, with_leaves

_MODULES = {"NumPyTensor": "numpy", "PyTorchTensor": "torch", "JAXTensor": "jax"}

FAR_OFF = 1e9  # more than anything that is compared with it
FAR = 30.0  # square of the distance from which on a bell is held
HELD = 1.0001 * math.exp(-FAR)  # what it is there, and no more


_loaded: dict[type, ModuleType] = {}


def _native(tensor: Any) -> ModuleType:
    kind = type(tensor)
    if kind not in _loaded:
        _loaded[kind] = importlib.import_module(f".{_MODULES[kind.__name__]}.operations", __package__)
    return _loaded[kind]


def batched_matmul(a: Any, b: Any) -> Any:
    """(batch, m, k) times (batch, k, n) -> (batch, m, n)."""
    return ep.astensor(_native(a).batched_matmul(a.raw, b.raw))


def matmul(a: Any, b: Any) -> Any:
    """(..., k) times (k, n) -> (..., n), in full precision."""
    return ep.astensor(_native(a).matmul(a.raw, b.raw))


def take(values: Any, index: Any) -> Any:
    """Elements of `values` (n, ...) at integer `index` (any shape) -> index.shape + (...)."""
    return ep.astensor(_native(values).take(values.raw, index.raw))


def cut(values: Any, first: Any, count: int) -> Any:
    """So many elements of `values` (n,), from the integer `first` on."""
    first = first.raw if isinstance(first, ep.Tensor) else first
    return ep.astensor(_native(values).cut(values.raw, first, count))


def take_along(values: Any, index: Any) -> Any:
    """Elements of `values` (rows, n) at `index` (rows, m) -> (rows, m)."""
    return ep.astensor(_native(values).take_along(values.raw, index.raw))


def add_along(values: Any, index: Any, columns: int) -> Any:
    """The transposed of `take_along`: `values` (rows, m) added up at their `index` (rows, m) -> (rows, columns).

    For derivatives, which NumPy has none of.
    """
    return ep.astensor(_native(values).add_along(values.raw, index.raw, columns))


def laid_out(parts: list[Any], firsts: tuple[Any, ...], rows: int) -> Any:
    """Arrays (m, ...) as one (rows, ...), each from its integer `first` on, over the end of the one before; then zeros.

    The first one begins at row 0.
    """
    firsts = tuple(first.raw if isinstance(first, ep.Tensor) else first for first in firsts)
    return ep.astensor(_native(parts[0]).laid_out([part.raw for part in parts], firsts, rows))


def add_windows(values: Any, first: Any, size: int) -> Any:
    """Windows (n, width, columns) added up where each begins, `first` (n,), in an array of zeros (size, columns)."""
    return ep.astensor(_native(values).add_windows(values.raw, first.raw, size))


def windows(values: Any, first: Any, width: int) -> Any:
    """The transposed of `add_windows`: rows of `values` (size, columns) from `first` (n,) on -> (n, width, columns)."""
    return ep.astensor(_native(values).windows(values.raw, first.raw, width))


def held_outside(values: Any, first: Any, last: Any, after: Any) -> Any:
    """Windows (n, width, columns) that are zero before column `first` (n,), and `after` (n, columns) from `last` on."""
    return ep.astensor(_native(values).held_outside(values.raw, first.raw, last.raw, after.raw))


def least(values: Any, owner: Any, count: int) -> Any:
    """The least of the `values` (n,) of each `owner` (n,), of which there are `count`; FAR_OFF where there is none.

    Without gradient.
    """
    return ep.astensor(_native(values).least(values.raw, owner.raw, count, FAR_OFF))


def most(values: Any, owner: Any, count: int) -> Any:
    """The largest of them, likewise; -FAR_OFF where there is none."""
    return -1.0 * least(-1.0 * values, owner, count)


def sums_so_far(values: Any, owner: Any, backwards: bool = False) -> Any:
    """The sum of each row of `values` (n, m) and those before it, or after it, of the same `owner` (n,).

    Rows of an owner lie one after the other. For derivatives that are written down: none passes through.
    """
    return ep.astensor(_native(values).sums_so_far(values.raw, owner.raw, backwards))


def bell(x: Any) -> Any:
    """exp(-x^2), held at exp(-FAR) far out: denormal numbers would slow everything that follows a hundredfold."""
    return ep.astensor(_native(x).bell(x.raw, FAR))


def not_held(bells: Any) -> Any:
    """Bells, or zero where they are held: there their slope is zero, too."""
    return ep.astensor(_native(bells).not_held(bells.raw, HELD))


def cleared(values: Any, least: float) -> Any:
    """The same values, but zero where they are not above the `least`."""
    return ep.astensor(_native(values).cleared(values.raw, least))


def cos(values: Any) -> Any:
    """Cosine of each value."""
    return ep.astensor(_native(values).cos(values.raw))


def sin(values: Any) -> Any:
    """Sine of each value."""
    return ep.astensor(_native(values).sin(values.raw))


def erfc(values: Any) -> Any:
    """The complementary error function of each value."""
    return ep.astensor(_native(values).erfc(values.raw))


def expm1(values: Any) -> Any:
    """exp(x) - 1 of each value, exact near zero."""
    return ep.astensor(_native(values).expm1(values.raw))


def log1p(values: Any) -> Any:
    """log(1 + x) of each value, exact near zero."""
    return ep.astensor(_native(values).log1p(values.raw))


def floor(values: Any) -> Any:
    """The integer below, as a real number without gradient."""
    return ep.astensor(_native(values).floor(values.raw))


def to_integer(values: Any) -> Any:
    """Whole real numbers -> 32-bit integers, without gradient."""
    return ep.astensor(_native(values).to_integer(values.raw))


def to_real(values: Any, like: Any) -> Any:
    """Integers -> real numbers of the precision of `like`."""
    return ep.astensor(_native(like).to_real(values.raw, like.raw))


def rounded(values: Any) -> Any:
    """The nearest integer (of two, the even one), as a real number without gradient."""
    return ep.astensor(_native(values).rounded(values.raw))


def running_maximum(values: Any) -> Any:
    """The largest value so far, along each row of `values` (rows, n), without gradient."""
    return ep.astensor(_native(values).running_maximum(values.raw))


def first_true(mask: Any) -> Any:
    """Index of the first true element of each row of `mask` (rows, n), or n where there is none -> (rows,)."""
    return ep.astensor(_native(mask).first_true(mask.raw))


def constant(tensor: Any) -> Any:
    """The same values, without their gradient."""
    return ep.astensor(_native(tensor).constant(tensor.raw))


def computed_once(tree: Any) -> Any:
    """The same tensors: a compiler does not compute them again wherever they are used, to save memory."""
    native = _native(next(leaves(tree)))
    return native.computed_once(tree) if hasattr(native, "computed_once") else tree


def log_sum_exp(values: Any, axis: int) -> Any:
    """The logarithm of the sum of the exponentials along an axis; no finite value overflows."""
    return ep.astensor(_native(values).log_sum_exp(values.raw, axis))


class Derived(NamedTuple):
    """A function of tensors and its derivative, in both modes; written once, for all frameworks.

    The first few tensors move the value, the others never do. Steps and slopes are those of these few; None, where
    something does not move or is not wanted.
    """

    value: Callable[..., tuple[Any, tuple]]  # (*tensors) -> a tensor, and tensors that are kept for the derivative
    jvp: Callable[..., Any]  # (tensors, kept, *steps) -> how the value moves; directions come first in the axes
    vjp: Callable[..., tuple]  # (tensors, kept, slope, wanted) -> slopes by the tensors; the transposed of `jvp`
    movers: int  # how many those few are
    again: bool = True  # whether `jvp` and `vjp` look at the tensors, or need only what is kept


def with_derivative(derived: Derived, *tensors: Any) -> Any:
    """The value, with the derivative that is written down."""
    return ep.astensor(_native(tensors[0]).with_derivative(derived, *(tensor.raw for tensor in tensors)))


def if_any(values: Any, function: Callable[[Any, Any], Any], otherwise: Any) -> Any:
    """function(otherwise, values), which changes nothing where all values are zero: a processor then leaves it out."""
    native = _native(values)
    return ep.astensor(native.if_any(values.raw, lambda *both: function(*map(ep.astensor, both)).raw, otherwise.raw))


def recomputed(function: Callable[..., Any], *trees: Any) -> Any:
    """A function of trees of tensors; where a framework compiles, its gradient computes it again, and keeps nothing."""
    native = _native(next(leaves(trees)))
    return native.recomputed(function, *trees) if hasattr(native, "recomputed") else function(*trees)


def scan(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any) -> tuple:
    """Apply `step(carry, row) -> carry, output` to the rows of `inputs`: the last carry, and the outputs stacked.

    All are trees of tensors; those of `carry` keep their shapes, an output may be None. Compiled once where that pays.
    """
    native = _native(next(leaves(inputs)))
    return native.scan(step, carry, inputs) if hasattr(native, "scan") else _scan(step, carry, inputs, lambda _: True)


def scan_while(step: Callable[[Any, Any], tuple], going: Callable[[Any], Any], carry: Any, inputs: Any) -> Any:
    """The outputs of `scan`, as long as `going(output)` holds, a boolean tensor ().

    Where it does not, nothing may change any more: the outputs of later rows are left out, or are that of the last.
    """
    native = _native(next(leaves(inputs)))
    scan_here = getattr(native, "scan_while", None)
    return scan_here(step, going, carry, inputs) if scan_here else _scan(step, carry, inputs, going)[1]


def each_layer(function: Callable[[Any], Any], inputs: Any, wanted: Any) -> Any:
    """What a function gives of each layer of `inputs`, a tree of tensors (layer, ...), stacked likewise.

    What it gives of layers that are not `wanted` (layer,) does not matter, and may be zero. For derivatives that are
    written down: none passes through.
    """
    if wanted.shape[0] == 1:
        outputs = function(map_leaves(itemgetter(0), inputs))
        return map_leaves(lambda leaf: ep.expand_dims(leaf, 0), outputs)
    native = _native(wanted)
    if hasattr(native, "each_layer"):
        return native.each_layer(function, inputs, wanted)
    return _scan(lambda _, row: (None, function(row)), None, inputs, lambda _: True)[1]


def scan_where(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any, wanted: Any, nothing: Any) -> tuple:
    """The same as `scan`, but for rows that are not `wanted` (rows,): they change nothing, and give `nothing`.

    For derivatives that are written down: none passes through.
    """
    scan_here = getattr(_native(wanted), "scan_where", _scan_where)
    return scan_here(step, carry, inputs, wanted, nothing)


def _scan_where(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any, wanted: Any, nothing: Any) -> tuple:
    """Row by row, in Python."""
    outputs = []
    for number in range(wanted.shape[0]):
        output = nothing
        if wanted[number]:
            carry, output = step(carry, map_leaves(itemgetter(number), inputs))
        outputs.append(output)
    columns = zip(*map(leaves, outputs), strict=True)
    return carry, with_leaves(nothing, [ep.stack(column) for column in columns])


def _scan(step: Callable[[Any, Any], tuple], carry: Any, inputs: Any, going: Callable[[Any], Any]) -> tuple:
    """Row by row, in Python."""
    outputs = []
    for number in range(next(leaves(inputs)).shape[0]):
        carry, output = step(carry, map_leaves(itemgetter(number), inputs))
        outputs.append(output)
        if not going(output):
            break
    columns = zip(*map(leaves, outputs), strict=True)
    return carry, with_leaves(outputs[0], [ep.stack(column) for column in columns])
