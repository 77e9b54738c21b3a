"""Files of hits: part by part, there and back."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from larndsim.data.hits import HIT_FIELDS, PREDICTED_FIELDS
from larndsim.errors import ArgumentError
from larndsim.io import HitsWriter, read_hits, read_hits_info, read_hits_truth, write_segments
from larndsim.io.hits import TRUTH_FIELDS
from tests import cases

ATTRIBUTES = {
    "version": "1",
    "seed": None,
    "parameters": {"Ab": 0.8},
    "events": [3, 7],
    "truth": True,
    "command": "a b",
}


def part(event: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits of one event with a different number in each place, and two segments behind each."""
    hits = np.zeros(count, dtype=HIT_FIELDS)
    for i, name in enumerate(hits.dtype.names):
        hits[name] = 100 * i + np.arange(count)
    hits["event"] = event
    truth = np.zeros(2 * count, dtype=TRUTH_FIELDS)
    truth["hit"] = np.repeat(np.arange(count), 2)
    truth["event"], truth["segment_id"] = event, 10 * event + np.arange(2 * count)
    truth["fraction"] = np.tile([0.75, 0.25], count)
    return hits, truth


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "hits.h5"
    with HitsWriter(path, ATTRIBUTES) as writer:
        for event, count in ((2**40, 3), (5, 0), (7, 2)):
            writer.append(*part(event, count))
        assert not path.exists()
    return path


def test_what_is_written_is_read(written):
    expected = np.concatenate([part(2**40, 3)[0], part(7, 2)[0]])
    np.testing.assert_array_equal(read_hits(written), expected)
    assert read_hits(written).dtype == np.dtype(HIT_FIELDS)
    assert read_hits_info(written) == ATTRIBUTES
    assert list(written.parent.iterdir()) == [written]


def test_truth_counts_the_hits_of_the_file(written):
    hits, truth = read_hits(written), read_hits_truth(written)
    np.testing.assert_array_equal(hits["event"][truth["hit"]], truth["event"])
    np.testing.assert_allclose(np.bincount(truth["hit"], weights=truth["fraction"]), 1.0)


def test_some_events(written):
    np.testing.assert_array_equal(read_hits(written, events=[7, 99]), part(7, 2)[0])
    np.testing.assert_array_equal(read_hits(written, events=7), part(7, 2)[0])
    np.testing.assert_array_equal(read_hits_truth(written, events=[7]), part(7, 2)[1])
    assert len(read_hits(written, events=[])) == 0


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), HitsWriter(tmp_path / "hits.h5") as writer:
        writer.append(*part(1, 2))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path, written):
    write_segments(tmp_path / "segments.h5", cases.CASES["oblique"])
    (tmp_path / "text.h5").write_text("text")
    (tmp_path / "short.h5").write_bytes(written.read_bytes()[:1000])
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["hits"] = np.zeros(3)
    for name, match in (
        ("segments.h5", "must be an HDF5 file of hits, but .* holds `segments`"),
        ("text.h5", "is not an HDF5 file"),
        ("short.h5", "is truncated"),
        ("bare.h5", "holds `hits`"),
        ("none.h5", "does not exist"),
        ("", "is a folder"),
    ):
        for read in (read_hits, read_hits_info, read_hits_truth):
            with pytest.raises(ArgumentError, match=match):
                read(tmp_path / name)


def test_predicted_hits_have_more_columns(tmp_path):
    hits = np.zeros(3, dtype=HIT_FIELDS + PREDICTED_FIELDS)
    hits["probability"] = [0.2, 0.5, 0.9]
    with HitsWriter(tmp_path / "hits.h5", predicted=True) as writer:
        writer.append(hits)
    np.testing.assert_array_equal(read_hits(tmp_path / "hits.h5"), hits)
