"""Tables of segments with the field names of edep-sim's dialects, as named columns.

Such tables have the drift along x; here it is along z. So x and z are exchanged, unless `swap_xz` is False.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from .segments import Segments

ENDS = ("x_start", "y_start", "z_start", "x_end", "y_end", "z_end")
# For each column its names in the dialects, the preferred one first.
IDENTIFIERS = {
    "event": ("eventID", "event_id"),
    "track": ("trackID", "traj_id", "track_id"),
    "segment": ("segment_id",),
    "pdg": ("pdgId", "pdg_id"),
}
QUANTITIES = {**{name: (name,) for name in (*ENDS, "dE", "dEdx")}, "t": ("t0", "t")}
REQUIRED = ("event", *ENDS, "dE", "dEdx")
# How large quantities may be, far beyond any detector: float64 still tells times within a fiftieth of a tick, and
# float32 holds the squares of all others.
LARGEST = {**dict.fromkeys(ENDS, (1e6, "cm")), "dE": (1e9, "MeV"), "dEdx": (1e15, "MeV/cm"), "t": (1e13, "us")}


class TableSource(NamedTuple):
    """Where a table comes from, for messages: the argument, and the file or "it"."""

    argument: str
    where: str


def segments_from_array(structured_array: np.ndarray, swap_xz: bool = True) -> Segments:
    """Segments from a structured array with the field names of edep-sim."""
    array = np.asarray(structured_array)
    source = TableSource("structured_array", "it")
    check_table(array, source)
    return segments_of(array, np.arange(len(array)), source, swap_xz)


def check_table(table: Any, source: TableSource) -> None:
    """Refuse what has no rows, lacks a field, or has one that does not hold numbers."""
    argument, where = source
    if table.dtype.names is None or table.ndim != 1:
        but = f"{where} has the type {table.dtype} and the shape {table.shape}"
        raise ArgumentError(argument, "hold a structured array with one row per segment", but)
    names = table.dtype.names
    known = {**IDENTIFIERS, **QUANTITIES}
    missing = [" or ".join(known[column]) for column in REQUIRED if field_of(names, column) is None]
    if missing:
        but = f"{where} lacks {', '.join(missing)} and has only {', '.join(names)}"
        raise ArgumentError(argument, "have the fields of edep-sim", but, "Rename or add what is missing.")
    for column in known:
        field = field_of(names, column)
        kinds, what = ("iu", "integers") if column in IDENTIFIERS else ("iuf", "real numbers")
        if field and table.dtype[field].kind not in kinds:
            but = f"in {where} it has the type {table.dtype[field]}"
            raise ArgumentError(argument, f"hold {what} in the field `{field}`", but, f"Store it as {what}.")


def field_of(names: Iterable[str], column: str) -> str | None:
    """What a table calls a column; None where it does not have it."""
    dialects = IDENTIFIERS.get(column) or QUANTITIES[column]
    return next((name for name in dialects if name in names), None)


def segments_of(table: np.ndarray, rows: np.ndarray, source: TableSource, swap_xz: bool) -> Segments:
    """Named columns of a table whose rows have the given numbers in the file."""
    columns = {}
    for column in Segments._fields:
        field = field_of(table.dtype.names or (), column)
        kind = np.int64 if column in IDENTIFIERS else np.float64
        if field is None:
            columns[column] = rows.astype(np.int64) if column == "segment" else np.zeros(len(rows), dtype=kind)
            continue
        values = columns[column] = (
            whole_numbers(table[field], source) if kind is np.int64 else table[field].astype(kind)
        )
        refuse(~np.isfinite(values), rows, source, f"have a finite `{field}` in every row")
        if column in ("dE", "dEdx"):
            refuse(values < 0, rows, source, f"have a `{field}` of zero or more in every row")
        if column in LARGEST:
            most, unit = LARGEST[column]
            refuse(np.abs(values) > most, rows, source, f"have a `{field}` within {most:g} {unit} of zero in every row")
    segments = Segments(**columns)
    return swapped(segments) if swap_xz else segments


def refuse(bad: np.ndarray, rows: np.ndarray, source: TableSource, must: str) -> None:
    """Raise if any value is bad; say how many, and where the first one is."""
    if bad.any():
        but = f"{source.where} has {bad.sum()} other rows, the first of them row {rows[bad.argmax()]}"
        raise ArgumentError(source.argument, must, but, "Remove or correct these rows.")


def swapped(segments: Segments) -> Segments:
    """The same segments with x and z exchanged."""
    s = segments
    return s._replace(x_start=s.z_start, z_start=s.x_start, x_end=s.z_end, z_end=s.x_end)


def whole_numbers(numbers: np.ndarray, source: TableSource) -> np.ndarray:
    """Identifiers as signed integers; what does not fit would come back as another number."""
    if numbers.dtype.kind == "u":
        refuse(numbers > np.iinfo(np.int64).max, np.arange(len(numbers)), source, "have identifiers below 2**63")
    return numbers.astype(np.int64)
