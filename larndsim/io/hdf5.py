"""What all HDF5 files have in common: opening them with one sentence if they cannot be, growing tables, attributes."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from ..errors import ArgumentError
from .atomic import replacing

PathLike = str | os.PathLike[str]
_ROWS_PER_CHUNK = 4096


class Output(io.FileIO):
    """A file that HDF5 writes through: `h5py.File(Output(path, "w+"), "w")`.

    HDF5 does not survive a full disk, neither when it closes a file nor when the process ends. So it is told that all
    is well, and the error is raised by `check`, and when this file closes.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the error that there was."""
        if self.error is not None:
            raise self.error

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self.check()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Interrupts wait until the block is done: HDF5 cannot close a file after an exception within `Output.write`.

    (Signals reach Python in the main thread alone.)
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    numbers = signal.SIGINT, signal.SIGTERM
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


@contextmanager
def new_file(path: PathLike) -> Iterator[h5py.File]:
    """An HDF5 file to write to, which takes the place of `path` when the block succeeds."""
    with (
        replacing(path) as temporary,
        uninterrupted(),
        Output(temporary, "w+") as output,
        h5py.File(output, "w") as file,
    ):
        yield file


@contextmanager
def opened(path: PathLike, kind: str) -> Iterator[h5py.File]:
    """An HDF5 file to read from; `kind` says what it should hold, such as "hits".

    Whatever HDF5 complains about becomes one sentence.
    """
    must = f"be an HDF5 file of {kind}"
    if not os.path.isfile(path):
        reason = "is a folder" if os.path.isdir(path) else "does not exist"
        raise ArgumentError("path", must, f"{path} {reason}", "Check the path.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except Exception as error:
        if not isinstance(error, OSError) and not _by_hdf5(error):
            raise
        remedy = "Check the path, and copy the file again if it is not complete."
        raise ArgumentError("path", must, f"{path} {_reason(path, error)}", remedy) from error


def _by_hdf5(error: BaseException) -> bool:
    """Whether h5py raised an error: in a damaged file it may be of any type."""
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return "h5py" in frames[-1]


def _reason(path: PathLike, error: Exception) -> str:
    """What is wrong with a file that HDF5 cannot open or read."""
    if isinstance(error, PermissionError):
        return "may not be read"
    if "truncated" in str(error):
        return "is truncated"
    try:
        with open(path, "rb") as file:
            signed = h5py.is_hdf5(path) or file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return "cannot be read"
    return "is damaged" if signed else "is not an HDF5 file"


def table_of(file: h5py.File, name: str, fields: np.dtype, must: str) -> h5py.Dataset:
    """The structured dataset `name`, with all `fields`; refuses a file of another kind."""
    table = file.get(name)
    names = table.dtype.names if isinstance(table, h5py.Dataset) else None
    if names is None or table.ndim != 1 or not set(fields.names or ()) <= set(names):
        held = ", ".join(f"`{key}`" for key in file) or "nothing"
        raise ArgumentError("path", must, f"{file.filename} holds {held}", "Give a file of that kind.")
    return table


def growing(file: h5py.File, name: str, dtype: Any) -> h5py.Dataset:
    """An empty table that rows can be appended to."""
    return file.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(_ROWS_PER_CHUNK,))


def append(table: h5py.Dataset, rows: np.ndarray) -> None:
    """Add rows at the end of a table."""
    if len(rows):
        table.resize(len(table) + len(rows), axis=0)
        table[len(table) - len(rows) :] = rows


def write_attributes(file: h5py.File, values: Mapping[str, Any]) -> None:
    """Attributes: numbers and text as they are, dicts and lists as JSON, None as an empty one."""
    for name, value in values.items():
        if value is None:
            value = h5py.Empty("f8")
        elif not isinstance(value, str | int | float):
            value = json.dumps(value)
        file.attrs[name] = value


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """The attributes that `write_attributes` wrote, as Python values."""
    return {name: _plain(value) for name, value in file.attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value.item() if isinstance(value, np.generic) else value
