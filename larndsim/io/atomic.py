"""Output files that are whole or not there at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ArgumentError

_REMEDY = "Choose a file in a folder that you can write to."
_FULL, _FULL_REMEDY = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room, or choose a file on another disk."


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `path`, with its suffix, whose file takes the place of `path` when the block succeeds.

    If the block fails, or is interrupted, the temporary file is removed and `path` stays as it was.
    """
    target = _checked_target(path)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        temporary.touch(exist_ok=False)  # an unwritable folder is noticed before any work is done
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = _FULL_REMEDY if error.errno in _FULL else _REMEDY
        raise ArgumentError("path", "be a file that can be written", f"{path}: {reason}", remedy) from error


def _checked_target(path: str | os.PathLike[str]) -> Path:
    """The file that `path` means, behind any links: a regular file, or a new one in an existing folder."""
    target = Path(path).resolve()
    if not os.path.isdir(target.parent):
        raise ArgumentError("path", "lie in an existing folder", f"{target.parent} is not one", "Create it first.")
    # Replacing a device or a folder would destroy it. (`os.path` says no where `Path` may raise.)
    if os.path.exists(target) and not os.path.isfile(target):
        raise ArgumentError("path", "be a file that can be written", f"{path} is a folder or a device", _REMEDY)
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise ArgumentError("path", "be a file that can be written", f"{path} is read-only", _REMEDY)
    return target
