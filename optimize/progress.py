"""How a fit says where it is: one bar on a terminal, plain lines in the log otherwise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .methods import State
from .scaling import Scaling

logger = logging.getLogger(__name__)


class Teller(Protocol):
    """What is called after each iteration."""

    def __call__(self, state: State) -> None: ...


@contextmanager
def telling(scaling: Scaling, first: int, last: int, every: int) -> Iterator[Teller]:
    """A function to call after each iteration, from `first` to at most `last`; lines come `every` so many."""
    if not sys.stderr.isatty() or not logger.isEnabledFor(logging.INFO):
        yield lambda state: _line(scaling, state, last, every)
        return
    from tqdm import tqdm

    with tqdm(total=last, initial=first, unit="step", dynamic_ncols=True) as bar:

        def show(state: State) -> None:
            bar.update(state.iteration - bar.n)
            bar.set_postfix_str(_text(scaling, state))

        yield show


def _line(scaling: Scaling, state: State, last: int, every: int) -> None:
    if state.iteration % every == 0 or state.status != "running":
        logger.info("step %d of at most %d: %s", state.iteration, last, _text(scaling, state))


def _text(scaling: Scaling, state: State) -> str:
    values = " ".join(f"{name}={value:.5g}" for name, value in scaling.values(state.u).items())
    return f"loss={state.loss:.4g} {values}" + (f" rejected={state.rejected}" if state.rejected else "")
