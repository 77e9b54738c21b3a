"""Folded responses, kept in the user's cache folder: they take seconds to fold, and are the same in every process."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import response
from ..backend import Backend, cache_folder
from ..charge import Folded
from ..response import FieldResponse, Sampling
from . import folding
from .folding import Resolution, folded_response

# What a file that is damaged, or is another than it should be, makes its reader raise.
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def responses_on(
    backend: Backend, response: FieldResponse, sampling: Sampling, accuracy: float
) -> Callable[[float, Resolution], Folded]:
    """The response folded for a pitch and a resolution, on the device: once for each."""

    @cache
    def folded(pitch: float, resolution: Resolution) -> Folded:
        return backend.put(kept_response(response, pitch, resolution, sampling, accuracy))

    return folded


@lru_cache(maxsize=32)
def kept_response(of: FieldResponse, *key: Any) -> Folded:
    """What `folded_response` makes of the same arguments: read, if it has been kept, else folded and kept.

    What a user's own function makes is not: nobody knows when it changes.
    """
    folder, identity = cache_folder("RESPONSE_CACHE", "responses"), of.identity()
    if folder is None or identity is None:
        return folded_response(of, *key)
    # what is folded by other code, or with another NumPy, goes by another name
    name = hashlib.sha256(repr((_source(), np.__version__, identity, key)).encode()).hexdigest()[:32]
    path = Path(folder, f"{name}.npz")
    found = _read(path)
    if found is None:
        found = folded_response(of, *key)
        _write(path, found)
    return found


def _source() -> str:
    """The code that folds, as a number."""
    return hashlib.sha256(b"".join(inspect.getsource(each).encode() for each in (response, folding))).hexdigest()


def _read(path: Path) -> Folded | None:
    """What a file holds, or None where there is none, or it is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return Folded(**{name: file[name] for name in Folded._fields})
    except DAMAGED:
        return None


def _write(path: Path, folded: Folded) -> None:
    """All at once, whoever else does so; not at all where the folder cannot be written to: nothing depends on it."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.savez(temporary, **folded._asdict())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError:
        return
