"""Whose a checkpoint is: all that decides the steps of a run, so that nobody goes on with the steps of another."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import larndsim

from .settings import FILES

WITHOUT_EFFECT = ("iterations", "save_freq", "errors", "toys")  # on the steps
CONTENT = "sha256 "
CHUNK = 2**20  # bytes


def identity_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The version, and plain settings (`Settings.plain`), with the content of each file in the place of its path."""
    deciding = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
    contents = {name: _content(deciding[name]) for name in FILES}
    return {"version": larndsim.__version__, **deciding, **contents}


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two identities, in words; empty where nothing does."""
    words = {name: [json.dumps(one.get(name), sort_keys=True) for one in (was, now)] for name in {**was, **now}}
    return ", ".join(_difference(name, *pair) for name, pair in words.items() if pair[0] != pair[1])


def _difference(name: str, was: str, now: str) -> str:
    if CONTENT in was and CONTENT in now:
        return f"the content of `{name}` was another"
    was, now = ("a file" if CONTENT in word else word for word in (was, now))
    return f"`{name}` was {was} and is {now}"


def _content(value: Any) -> Any:
    """A digest of the file at a path, or of each; what is no file (a built-in detector, nothing) as it is."""
    if isinstance(value, list):
        return [_content(each) for each in value]
    if not isinstance(value, str) or not os.path.isfile(value):
        return value
    digest = hashlib.sha256()
    with open(value, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return CONTENT + digest.hexdigest()
