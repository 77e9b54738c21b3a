"""How XLA, which compiles for JAX, is steered: it ends the process, or refuses, at a flag that it does not know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jaxlib

from ..base import switched_off

RELEASE = ".".join(jaxlib.__version__.split(".")[:2])


class Flag(NamedTuple):
    """A flag of the environment."""

    text: str
    topic: str  # what the flags of a user have in them who has decided otherwise
    known: tuple[str, ...]  # to these releases of jaxlib


FLAGS = (
    # on processors, of the YNN library only the products, which are twice as fast: XLA's own loops are a fifth faster
    Flag("--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", "ynn", ("0.10",)),
    # on GPUs no products by Triton: of each, XLA would compile many and time them, most of the time of a first call
    Flag("--xla_gpu_enable_triton_gemm=false", "triton_gemm", ("0.6", "0.7", "0.8", "0.9", "0.10", "0.11", "0.12")),
)
# XLA's older way to make loops, in two modules rather than one for each loop: compiled sooner, and in fewer pieces of
# memory, of which a system lets a process have only so many. Where there are many small loops it is as fast.
FEWER = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 2} if RELEASE == "0.10" else None


@contextmanager
def own_flags() -> Iterator[None]:
    """XLA reads its flags once, when JAX first looks for devices. What the user has set goes first."""
    if switched_off("XLA_FLAGS"):
        yield
        return
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = _with_own(before or "")
    try:
        yield
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


def _with_own(flags: str) -> str:
    """The flags of a user, and ours where they say nothing of them; a name of a file with flags stays alone."""
    if flags.strip() and not flags.strip().startswith("-"):
        return flags
    given = [flag.partition("=")[0] for flag in flags.split()]
    own = [flag.text for flag in FLAGS if RELEASE in flag.known and not any(flag.topic in name for name in given)]
    return " ".join([flags, *own]).strip()
