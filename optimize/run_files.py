"""Reading back the files of a run: what is damaged, or comes from elsewhere, is one sentence."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from larndsim.detector import Parameters
from larndsim.errors import ArgumentError, as_argument
from larndsim.io.hdf5 import opened

from .history import COLUMNS, WIDE
from .residuals import Residuals

# What a file that is damaged, or another than it should be, makes its readers raise.
BROKEN = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
NUMBER: Any = int | float
# What pages and pictures show of a result.
RESULT: dict[str, Any] = {
    "status": str, "message": str, "dataset": str, "iterations": int, "wall_s": NUMBER, "at_bound": list,
    "parameters": dict, "correlation": list,
}  # fmt: skip


@contextmanager
def readable(argument: str, must: str, path: Path, remedy: str) -> Iterator[None]:
    """A file that cannot be read, or does not hold what it should, is one sentence."""
    try:
        yield
    except BROKEN as error:
        raise ArgumentError(argument, must, f"{path} cannot be read", remedy) from error


def read_history(path: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The names of the parameters of a run, and its history by column."""
    with as_argument("run"), opened(path, "the history of a fit") as file:
        names = tuple(str(name) for name in np.atleast_1d(file.attrs.get("parameters", ())))
        columns = {name: np.asarray(file[name]) for name in COLUMNS if name in file}
    rows = np.size(columns.get("iteration", ()))
    if not rows:  # it failed at its start
        columns |= {name: np.zeros((0, len(names))) for name in WIDE}
    shapes = {name: (rows, len(names)) if name in WIDE else (rows,) for name in COLUMNS}
    numbers = all(column.dtype.kind in "iuf" for column in columns.values())
    if not (_known(names) and numbers and {name: column.shape for name, column in columns.items()} == shapes):
        raise _not_ours(path, "the history of a fit")
    return names, columns


def read_result(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The result of a run that has fitted these parameters; empty while it goes on."""
    if not path.exists():
        return {}
    with readable("run", "hold a whole result", path, "Resume the run, which writes it again."):
        result = json.loads(path.read_text(encoding="utf-8"))
    if result != {} and not _is_result(result, names):
        raise _not_ours(path, f"the result of a fit of {', '.join(names)}")
    return result


def read_residuals(path: Path) -> Residuals | None:
    """The data and simulated ones at the end of a fit of a likelihood; None where there are none."""
    if not path.exists():
        return None
    with (
        readable("run", "hold whole residuals", path, "Resume the run, which writes them again."),
        np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file,
    ):
        return Residuals(**{name: file[name] for name in Residuals._fields})


def _is_result(result: Any, names: tuple[str, ...]) -> bool:
    """Whether it has all that is shown of a result, for these parameters."""
    if not isinstance(result, dict) or not all(isinstance(result.get(key), kind) for key, kind in RESULT.items()):
        return False
    if set(result["parameters"]) != set(names) or not _are_numbers(result["correlation"], (len(names),) * 2):
        return False
    if not isinstance(result.get("remarks"), list | None) or not isinstance(result.get("p_value"), NUMBER | None):
        return False
    return all(map(_is_parameter, result["parameters"].values()))


def _is_parameter(found: Any) -> bool:
    """Whether it is what a result says of a parameter."""
    if not isinstance(found, dict) or not all(isinstance(found.get(key), NUMBER) for key in ("init", "value")):
        return False
    known = all(isinstance(found.get(key), NUMBER | None) for key in ("error", "target", "pull"))
    return known and (found.get("interval") is None or _are_numbers(found["interval"], (2,)))


def _are_numbers(table: Any, shape: tuple[int, ...]) -> bool:
    """Whether lists hold numbers, or None where one is not known, in this shape."""
    try:
        return np.array(table, dtype=np.float64).shape == shape
    except (TypeError, ValueError):
        return False


def _known(names: tuple[str, ...]) -> bool:
    return bool(names) and set(names) <= set(Parameters._fields)


def _not_ours(path: Path, what: str) -> ArgumentError:
    return ArgumentError("run", f"hold {what}", f"{path} holds something else", "Check the path.")
