"""Cuts, order and batches of tracks."""

from __future__ import annotations

import numpy as np
import pytest

import larndsim
from larndsim.data.segments import Segments, concatenate, lengths
from larndsim.errors import ArgumentError
from larndsim.io import write_segments
from optimize.dataset import Cuts, load_dataset, track_numbers
from tests.cases import segment

ALL = Cuts(segment_length=0, z_inner=0, z_outer=np.inf, track_length=0, cos_theta=np.inf)


def track(number, *segments, event=0) -> Segments:
    """Segments as one track."""
    joined = concatenate(*segments)
    return joined._replace(track=np.full(len(joined.event), number), event=np.full(len(joined.event), event))


GOOD = track(0, segment((0, 0, 16), (3, 0, 17)), segment((3, 0, 17), (6, 0, 18)))
SAMPLE = concatenate(
    GOOD,
    track(1, segment((0, 0, 16), (1.5, 0, 17))),  # too short
    track(2, segment((0, 0, 16), (0.5, 0, 22))),  # along the drift
    track(3, segment((0, 0, 14), (5, 0, 16)), segment((5, 0, 16), (8, 0, 17.0))),  # begins too far inside
    track(4, segment((0, 0, -27), (5, 0, -28.5))),  # too near the anode
    track(5, segment((0, 0, -16), (5, 0, 16))),  # across the cathode
    track(0, segment((0, 0, -20), (4, 0, -20.5)), segment((4, 0, -20.5), (4.005, 0, -20.5)), event=2**40),
)


def tracks_of(dataset):
    return sorted({pair for batch in dataset.batches for pair in zip(batch.event, batch.track, strict=True)})


def test_default_cuts():
    dataset = load_dataset(SAMPLE)
    assert tracks_of(dataset) == [(0, 0), (0, 3), (2**40, 0)]
    removed = {r.cut: (r.tracks, r.segments) for r in dataset.report.removed}
    assert removed == {
        "segment_length": (0, 1),
        "z_inner": (1, 2),
        "z_outer": (1, 1),
        "track_length": (1, 1),
        "cos_theta": (1, 1),
    }
    report = dataset.report
    assert report.read.cm == pytest.approx(report.kept.cm + sum(r.cm for r in report.removed))
    assert "read 7 tracks, 10 segments" in str(report)
    assert "cos_theta 0.966 removed 1 tracks, 1 segments, 6.0 cm" in str(report)


def test_no_cuts():
    dataset = load_dataset(SAMPLE, ALL)
    assert dataset.report.kept == dataset.report.read


def test_order_comes_from_the_seed():
    segments = larndsim.generate("muons", n=12, seed=3)
    orders = [load_dataset(segments, ALL, batch_tracks=1, seed=seed).batches for seed in (0, 0, 1)]
    first, again, other = ([int(batch.event[0]) for batch in batches] for batches in orders)
    assert first == again != other
    assert sorted(first) == sorted(other) == list(range(12))
    for batch in orders[0]:
        whole = segments.select(segments.event == batch.event[0])
        assert all(np.array_equal(a, b) for a, b in zip(whole, batch, strict=True))


def test_batches_by_length_and_number():
    segments = larndsim.generate("muons", n=12, seed=3)
    longest = np.bincount(track_numbers(segments), lengths(segments)).max()
    by_length = load_dataset(segments, ALL, max_batch_len=longest).batches
    assert len(by_length) > 1
    assert max(lengths(batch).sum() for batch in by_length) <= longest
    assert len(load_dataset(segments, ALL, max_batch_len=1.0).batches) == 12
    by_number = load_dataset(segments, ALL, batch_tracks=5).batches
    assert [len(np.unique(batch.event)) for batch in by_number] == [5, 5, 2]


def test_first_batches_only():
    segments = larndsim.generate("muons", n=12, seed=3)
    whole = load_dataset(segments, ALL, batch_tracks=5)
    some = load_dataset(segments, ALL, batch_tracks=5, max_batches=1)
    assert np.array_equal(some.batches[0].dE, whole.batches[0].dE)
    assert some.report.left_out.tracks == 7
    assert some.report.kept.tracks == 5
    assert "beyond the last batch: 7 tracks" in str(some.report)


def test_files_and_arrays(tmp_path):
    write_segments(tmp_path / "sample.h5", SAMPLE)
    known = load_dataset(SAMPLE, seed=4, batch_tracks=1)
    read = load_dataset(tmp_path / "sample.h5", seed=4, batch_tracks=1)
    for a, b in zip(known.batches, read.batches, strict=True):
        assert np.array_equal(a.z_start, b.z_start)
    assert load_dataset(SAMPLE, events=[2**40]).report.read.tracks == 1
    assert load_dataset(tmp_path / "sample.h5", events=[2**40]).report.read.tracks == 1


def test_empty_results():
    with pytest.raises(ArgumentError, match=r"`cuts` must leave some tracks, but of 1 tracks.*track_length 100 rem.*"):
        load_dataset(GOOD, Cuts(track_length=100.0))
    with pytest.raises(ArgumentError, match="Loosen `z_inner`, which removed most"):
        load_dataset(GOOD, Cuts(z_inner=25.0))
    with pytest.raises(ArgumentError, match="Argument `source` must hold segments"):
        load_dataset(GOOD.select(slice(0)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_batch_len": 10, "batch_tracks": 2}, "`batch_tracks` must alone say how large a batch is"),
        ({"max_batch_len": 0}, "`max_batch_len` must be a length greater than 0 cm, but it is 0"),
        ({"batch_tracks": 1.5}, "`batch_tracks` must be a whole number of 1 or more, but it is 1.5"),
        ({"max_batches": 0}, "`max_batches` must be a whole number of 1 or more, but it is 0"),
        ({"events": [17]}, "`events` must name events of the segments, but these lack 17"),
    ],
)
def test_refusals(options, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        load_dataset(SAMPLE, **options)


@pytest.mark.parametrize("options", [{"track_length": -1}, {"cos_theta": float("nan")}, {"z_inner": 29}])
def test_cuts_are_checked(options):
    with pytest.raises(ArgumentError, match=f"Argument `cuts.{next(iter(options))}` must be"):
        Cuts(**options)
