"""How a fit says where it is: one bar on a terminal, plain lines in the log otherwise."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .methods import State
from .methods.near import COARSE
from .scaling import Scaling

SLOW = 1.0  # s

logger = logging.getLogger(__name__)


class Teller(Protocol):
    """What is called after each iteration."""

    def __call__(self, state: State) -> None: ...


@contextmanager
def telling(scaling: Scaling, first: int, last: int, every: int, stage: str = "") -> Iterator[Teller]:
    """A function to call after each iteration, from `first` to at most `last`; lines come `every` so many.

    `stage` is what the steps are called that are not coarse, if others are.
    """
    if not sys.stderr.isatty() or not logger.isEnabledFor(logging.INFO):
        yield _lines(scaling, last, every, stage)
        return
    from tqdm import tqdm

    with tqdm(total=last, initial=first, unit="step", dynamic_ncols=True) as bar:

        def show(state: State) -> None:
            bar.update(state.iteration - bar.n)
            bar.set_postfix_str(_text(scaling, state, stage))

        yield show


def _lines(scaling: Scaling, last: int, every: int, stage: str) -> Teller:
    """A line for every so many steps, for the last, for the first of another stage, and where steps are slow."""
    told, before = time.monotonic(), ""

    def tell(state: State) -> None:
        nonlocal told, before
        now, name = time.monotonic(), _stage(state, stage)
        due = state.iteration % every == 0 or state.status != "running" or now > told + SLOW
        if due or name != before:
            told, before = now, name
            logger.info("step %d of at most %d: %s", state.iteration, last, _text(scaling, state, stage))

    return tell


def _text(scaling: Scaling, state: State, stage: str) -> str:
    values = " ".join(f"{name}={value:.5g}" for name, value in scaling.values(state.u).items())
    rejected = f" rejected={state.rejected}" if state.rejected else ""
    return f"{_stage(state, stage)}loss={state.loss:.4g} {values}{rejected}"


def _stage(state: State, stage: str) -> str:
    """What a step belongs to, and a comma; empty where a fit has one stage."""
    if COARSE in state.memory:
        return f"coarse stage {int(state.memory[COARSE]) + 1}, "
    return f"{stage}, " if stage else ""
