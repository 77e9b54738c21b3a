"""A small file of segments, and what was simulated of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import larndsim
from larndsim.cli import main


def write_muons(path: Path, detector: larndsim.Detector) -> None:
    """The first twelve segments of three muons."""
    segments = larndsim.generate("muons", n=3, seed=1, detector=detector)
    first = np.searchsorted(segments.event, segments.event)  # of its event
    larndsim.write_segments(path, segments.select(np.arange(len(segments.event)) - first < 12))


@pytest.fixture(scope="session")
def segments_file(tmp_path_factory) -> Path:
    """The beginning of three muons."""
    path = tmp_path_factory.mktemp("segments") / "muons.h5"
    write_muons(path, larndsim.load_detector())
    return path


@pytest.fixture(scope="session")
def hits_file(segments_file, tmp_path_factory) -> Path:
    """Its hits, noisy."""
    path = tmp_path_factory.mktemp("hits") / "hits.h5"
    assert main(["simulate", str(segments_file), str(path), "--backend", "numpy", "--seed", "3"]) == 0
    return path
