"""How a fit says where it is: one bar on a terminal, plain lines in the log otherwise."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .methods import State
from .scaling import Scaling

SLOW = 1.0  # s

logger = logging.getLogger(__name__)


class Teller(Protocol):
    """What is called after each iteration."""

    def __call__(self, state: State) -> None: ...


@contextmanager
def telling(scaling: Scaling, first: int, last: int, every: int) -> Iterator[Teller]:
    """A function to call after each iteration, from `first` to at most `last`; lines come `every` so many."""
    if not sys.stderr.isatty() or not logger.isEnabledFor(logging.INFO):
        yield _lines(scaling, last, every)
        return
    from tqdm import tqdm

    with tqdm(total=last, initial=first, unit="step", dynamic_ncols=True) as bar:

        def show(state: State) -> None:
            bar.update(state.iteration - bar.n)
            bar.set_postfix_str(_text(scaling, state))

        yield show


def _lines(scaling: Scaling, last: int, every: int) -> Teller:
    """A line for every so many steps, for the last, and where steps are slow."""
    told = time.monotonic()

    def tell(state: State) -> None:
        nonlocal told
        now = time.monotonic()
        if state.iteration % every == 0 or state.status != "running" or now > told + SLOW:
            told = now
            logger.info("step %d of at most %d: %s", state.iteration, last, _text(scaling, state))

    return tell


def _text(scaling: Scaling, state: State) -> str:
    values = " ".join(f"{name}={value:.5g}" for name, value in scaling.values(state.u).items())
    return f"loss={state.loss:.4g} {values}" + (f" rejected={state.rejected}" if state.rejected else "")
