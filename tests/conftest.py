"""What all tests share: sample files, the backends, and the order of the tests.

A test that takes `backend` runs on every installed backend, one that takes `differentiable_backend` on those that
have derivatives; both are names. `--backend NAME`, once or more, restricts them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before any framework is imported

import hypothesis
import pytest

from larndsim.backend import DIFFERENTIABLE, get_backend, installed
from larndsim.errors import ArgumentError
from tests.samples import find

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}  # relative, between two ways to compute the same

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", action="append", choices=installed(), help="test this backend only; may be repeated")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("backend") or installed()
    kinds = {"backend": chosen, "differentiable_backend": [name for name in chosen if name in DIFFERENTIABLE]}
    for fixture, names in kinds.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Structure first, then what is fast, then what is slow; tests that need a GPU are skipped where there is none."""
    items.sort(key=lambda item: ("structure" not in item.path.parts, item.get_closest_marker("slow") is not None))
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items and not has_gpu():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="no GPU"))


def has_gpu() -> bool:
    """Whether any installed backend finds a GPU."""
    return any(finds_gpu(name) for name in installed() if name in DIFFERENTIABLE)


def finds_gpu(name: str) -> bool:
    """Asked as simulators do: JAX takes its flags from the first who asks."""
    try:
        get_backend(name, "cuda")
    except ArgumentError:
        return False
    return True


@pytest.fixture(scope="session")
def sample_file() -> Callable[[str], Path]:
    """The path of a sample file, by its name: one of our own, or one that users have; skips where it is not there."""

    def found(name: str) -> Path:
        path = find(name)
        if path is None:
            pytest.skip(f"sample file {name} is not present")
        return path

    return found


@pytest.fixture(params=sorted(TOLERANCE))
def dtype(request: pytest.FixtureRequest) -> str:
    """Each precision in turn."""
    return request.param


@pytest.fixture
def tolerance(dtype: str) -> float:
    """The relative difference that the precision allows."""
    return TOLERANCE[dtype]
