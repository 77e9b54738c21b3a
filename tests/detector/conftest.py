"""Sample files, where they are present, and small files of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DETECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "detectors"


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    """The path of a sample file, by name."""

    def find(name: str) -> Path:
        if not (DETECTORS / name).is_file():
            pytest.skip(f"sample file {name} is not present")
        return DETECTORS / name

    return find


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """A new file with the given text."""

    def make(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return make
