"""The one error that users meet, and the grammar of its sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ArgumentError(ValueError):
    """A value given by the user cannot be used: *Argument `x` must ..., but ...*"""

    def __init__(self, name: str, must: str, but: str, remedy: str = "") -> None:
        sentence = f"Argument `{name}` must {must}, but {but}."
        super().__init__(f"{sentence} {remedy}".rstrip())
        self.name = name
        self._given = (name, must, but, remedy)

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[str, ...]]:
        """So that it arrives whole from another process."""
        return type(self), self._given

    def renamed(self, name: str) -> ArgumentError:
        """The same of an argument that goes by another name where the user gave it."""
        return ArgumentError(name, *self._given[1:])


@contextmanager
def as_argument(name: str) -> Iterator[None]:
    """Errors of an argument `path` name the one that the path was given as."""
    try:
        yield
    except ArgumentError as error:
        if error.name != "path":
            raise
        raise error.renamed(name) from error


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a `value` that is not among `choices`, and list them."""
    known = sorted(choices)
    if value not in known:
        raise ArgumentError(name, f"be one of {', '.join(known)}", f"it is {value!r}", did_you_mean(str(value), known))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else ""
