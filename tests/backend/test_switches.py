"""What the library changes in the process of its user, and how that is switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from larndsim.backend import base

ROOT = Path(__file__).resolve().parents[2]
TUNED = "glibc.malloc.check=0:glibc.malloc.mmap_threshold=65536"


@pytest.mark.parametrize(
    ("variable", "value", "calls"),
    [
        (None, "", ["mallopt", "malloc_trim"]),
        ("LARNDSIM_MALLOC", "1", ["mallopt", "malloc_trim"]),
        ("LARNDSIM_MALLOC", "0", []),
        ("MALLOC_MMAP_THRESHOLD_", "65536", ["malloc_trim"]),
        ("GLIBC_TUNABLES", TUNED, ["malloc_trim"]),
    ],
)
def test_the_memory_of_the_c_library(variable, value, calls, monkeypatch):
    found = []
    library = SimpleNamespace(
        mallopt=lambda *_: found.append("mallopt"), malloc_trim=lambda _: found.append("malloc_trim")
    )
    monkeypatch.setattr(base.sys, "platform", "linux")
    monkeypatch.setattr(base.ctypes, "CDLL", lambda _: library)
    for name in ("LARNDSIM_MALLOC", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, value)
    assert base.with_free_memory(lambda x: x + 1, 1) == 2
    assert found == calls


def test_flags_of_xla(monkeypatch):
    pytest.importorskip("jax")
    from larndsim.backend.jax.flags import own_flags

    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setenv("LARNDSIM_XLA_FLAGS", "0")
    with own_flags():
        assert "XLA_FLAGS" not in os.environ
    monkeypatch.setenv("LARNDSIM_XLA_FLAGS", "1")
    with own_flags():
        assert "--xla" in os.environ["XLA_FLAGS"]


@pytest.mark.parametrize(
    ("variables", "folder", "seconds"),
    [
        ({}, "home/larndsim/jax", 0.0),
        ({"LARNDSIM_JAX_CACHE": "own"}, "own", 0.0),
        ({"LARNDSIM_JAX_CACHE": "0"}, None, 1.0),
        ({"JAX_COMPILATION_CACHE_DIR": "theirs", "LARNDSIM_JAX_CACHE": "own"}, "theirs", 1.0),
        ({"JAX_ENABLE_COMPILATION_CACHE": "0"}, None, 1.0),
        ({"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "3"}, "home/larndsim/jax", 3.0),
    ],
)
def test_the_cache_of_jax(variables, folder, seconds):
    pytest.importorskip("jax")
    code = """
from larndsim.backend import get_backend
get_backend("jax")
from jax import config
print(config.jax_compilation_cache_dir, config.jax_persistent_cache_min_compile_time_secs)
"""
    kept = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    environment = {**kept, "XDG_CACHE_HOME": "home", **variables}
    call = [sys.executable, "-c", code]
    result = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == f"{folder} {seconds}\n"
