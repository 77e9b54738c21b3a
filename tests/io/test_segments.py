"""Files of segments: dialects, selections, streams, bad input, and the way there and back."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import larndsim
from larndsim.data.segments import Segments, lengths
from larndsim.errors import ArgumentError
from larndsim.io import read_segments, segments_from_array, stream_segments, write_segments
from larndsim.io.hdf5 import opened
from tests import cases
from tests.samples import present

SMALL = {"small_muons.h5": 72, "small_cosmics.h5": 57, "small_selected.h5": 53}  # files, and their segments
SAMPLES = SMALL | {
    "predecessor_muons.h5": 2736,
    "module0_corsika.h5": 1095,
    "jax_input_0.h5": 168,
    "jax_input_1.h5": 120,
}
ENDS = [f"{axis}_{end}" for end in ("start", "end") for axis in "xyz"]
REQUIRED = [(name, "f4") for name in (*ENDS, "dE", "dEdx")]


def table(events=(7, 7, 9), identifiers=("eventID", "trackID", "pdgId"), more=()) -> np.ndarray:
    """Rows with a different number in each place."""
    rows = np.zeros(len(events), dtype=[*((name, "u4") for name in identifiers), *REQUIRED, *more])
    for i, name in enumerate(rows.dtype.names):
        rows[name] = 100 * i + np.arange(len(rows))
    rows[identifiers[0]] = events
    return rows


def save(path, rows, name="segments"):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=rows)
    return path


def assert_same(first: Segments, second: Segments) -> None:
    for name, one, other in zip(Segments._fields, first, second, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_files(name, sample_file):
    path = sample_file(name)
    segments = read_segments(path)
    assert len(segments.dE) == SAMPLES[name]
    with h5py.File(path) as file:
        rows = file["segments"][:]
    np.testing.assert_array_equal(segments.x_start, rows["z_start"])
    np.testing.assert_array_equal(segments.z_end, rows["x_end"])
    np.testing.assert_array_equal(segments.event, rows["eventID"])
    np.testing.assert_array_equal(segments.t, rows["t0"] if "t0" in rows.dtype.names else rows["t"])
    assert np.abs(segments.z_start).max() < 31
    assert np.abs(segments.y_start).max() > 60
    assert_same(segments, segments_from_array(rows))


@pytest.mark.parametrize(
    "identifiers",
    [
        ("eventID", "trackID", "pdgId"),
        ("event_id", "traj_id", "pdg_id", "segment_id"),
        ("event_id", "track_id", "pdg_id"),
        ("event_id",),
    ],
)
@pytest.mark.parametrize("dataset", ["segments", "tracks"])
def test_dialects(tmp_path, identifiers, dataset):
    rows = table(identifiers=identifiers)
    s = read_segments(save(tmp_path / "a.h5", rows, dataset), swap_xz=False)
    zeros = np.zeros(3)
    np.testing.assert_array_equal(s.event, [7, 7, 9])
    np.testing.assert_array_equal(s.track, rows[identifiers[1]] if len(identifiers) > 1 else zeros)
    np.testing.assert_array_equal(s.pdg, rows[identifiers[2]] if len(identifiers) > 2 else zeros)
    np.testing.assert_array_equal(s.segment, rows["segment_id"] if "segment_id" in identifiers else np.arange(3))
    np.testing.assert_array_equal(s.x_start, rows["x_start"])
    np.testing.assert_array_equal(s.t, zeros)
    assert all(column.dtype == (np.int64 if i < 4 else np.float64) for i, column in enumerate(s))


def test_large_identifiers_stay_exact(tmp_path):
    rows = table(events=(2**24 + 1, 2**24 + 2, 2**32 - 1))
    assert read_segments(save(tmp_path / "a.h5", rows)).event.tolist() == [2**24 + 1, 2**24 + 2, 2**32 - 1]


def test_t0_is_preferred_to_t():
    rows = table(more=[("t", "f4"), ("t0", "f8")])
    np.testing.assert_array_equal(segments_from_array(rows).t, rows["t0"])
    rows = table(more=[("t", "f4")])
    np.testing.assert_array_equal(segments_from_array(rows).t, rows["t"])


def test_events_are_selected(tmp_path):
    path = save(tmp_path / "a.h5", table(events=(3, 1, 3, 8, 1)))
    everything = read_segments(path)
    assert_same(read_segments(path, events=[3, 8]), everything.select(np.array([0, 2, 3])))
    assert_same(read_segments(path, events=iter([1])), everything.select(np.array([1, 4])))
    assert len(read_segments(path, events=[]).dE) == 0
    with pytest.raises(ArgumentError) as caught:
        read_segments(path, events=[1, 2, 9])
    assert str(caught.value) == (
        "Argument `events` must name events of the file, but it lacks 2, 9. It holds 3 events from 1 to 8."
    )
    with pytest.raises(ArgumentError, match="`events` must be whole numbers"):
        read_segments(path, events=[1.5])


@pytest.mark.parametrize("max_segments", [1, 7, 40, 10_000])
@pytest.mark.parametrize("order", ["contiguous", "descending", "scattered"])
def test_a_stream_has_whole_events(tmp_path, max_segments, order):
    rng = np.random.default_rng(1)
    event = np.repeat(np.arange(50), rng.integers(1, 30, 50))
    event = {"contiguous": event, "descending": event[::-1], "scattered": rng.permutation(event)}[order]
    path = save(tmp_path / "a.h5", table(events=event))
    everything, parts = read_segments(path), list(stream_segments(path, max_segments))
    for part in parts:
        events = np.unique(part.event)
        assert len(part.dE) <= max_segments or len(events) == 1
        assert_same(part, everything.select(np.isin(event, events)))
    assert sum(len(part.dE) for part in parts) == len(event)
    first = [part.event[0] for part in parts]
    assert first == sorted(first, key=list(event).index)


def test_a_stream_of_selected_events(tmp_path):
    path = save(tmp_path / "a.h5", table(events=np.repeat(np.arange(200), 100)))
    [part] = stream_segments(path, 1000, events=[3, 150])
    assert_same(part, read_segments(path, events=[3, 150]))
    assert list(stream_segments(path, 10, events=[])) == []
    with pytest.raises(ArgumentError, match="it lacks 200"):  # at once, not when the first part is taken
        stream_segments(path, 10, events=[200])
    with pytest.raises(ArgumentError, match="`max_segments` must be at least 1, but it is 0"):
        stream_segments(path, 0)


@pytest.mark.parametrize("swap_xz", [True, False])
def test_there_and_back(tmp_path, swap_xz):
    path = tmp_path / "a.h5"
    segments = larndsim.generate("cosmics", n=3, seed=2)._replace(segment=np.int64(2) ** 40 + np.arange(10_000))
    segments = segments._replace(segment=segments.segment[: len(segments.dE)])
    write_segments(path, segments, swap_xz)
    assert_same(read_segments(path, swap_xz=swap_xz), segments)
    assert list(tmp_path.iterdir()) == [path]
    with h5py.File(path) as file:
        rows = file["segments"][:]
    drift = rows["x_start"] if swap_xz else rows["z_start"]
    np.testing.assert_array_equal(drift, segments.z_start)
    np.testing.assert_allclose(rows["dx"], lengths(segments))
    np.testing.assert_allclose(rows["y"], (segments.y_start + segments.y_end) / 2)
    np.testing.assert_array_equal(rows["t0"], segments.t)
    assert not rows["t"].any()


@pytest.mark.parametrize("name", present(*SAMPLES))
def test_written_files_have_the_fields_of_the_samples(name, tmp_path, sample_file):
    write_segments(tmp_path / "a.h5", larndsim.generate("muons", n=1))
    with h5py.File(tmp_path / "a.h5") as file, h5py.File(sample_file(name)) as sample:
        assert set(sample["segments"].dtype.names) <= set(file["segments"].dtype.names)


def test_no_segments(tmp_path):
    path = save(tmp_path / "a.h5", table(events=()))
    assert len(read_segments(path).dE) == 0
    assert list(stream_segments(path, 10)) == []
    write_segments(tmp_path / "b.h5", read_segments(path))
    assert len(read_segments(tmp_path / "b.h5").event) == 0
    with pytest.raises(ArgumentError, match="It holds no events"):
        read_segments(path, events=[1])


def test_files_that_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = save("whole.h5", table(events=range(500)))
    content = (tmp_path / whole).read_bytes()
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "empty.h5").touch()
    (tmp_path / "half.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "head.h5").write_bytes(content[:20])
    for path, reason in [
        ("missing.h5", "does not exist"),
        (".", "is a folder"),
        ("text.h5", "is not an HDF5 file"),
        ("empty.h5", "is not an HDF5 file"),
        ("half.h5", "is truncated"),
        ("head.h5", "is (damaged|truncated)"),
    ]:
        for read in (read_segments, lambda path: stream_segments(path, 10)):
            with pytest.raises(
                ArgumentError, match=f"^Argument `path` must be an HDF5 file of segments, but {path} {reason}"
            ):
                read(path)


def test_files_without_segments(tmp_path):
    path = tmp_path / "a.h5"
    for make, sentence in [
        (
            lambda file: file.create_dataset("hits", data=[1]),
            r"hold a dataset `segments` or `tracks`, but .* holds `hits`",
        ),
        (lambda file: None, "holds nothing"),
        (lambda file: file.create_group("segments"), "holds a group of that name"),
        (lambda file: file.create_dataset("segments", data=[1.0]), "one row per segment, but .* has the type float64"),
        (lambda file: file.create_dataset("segments", data=table().reshape(3, 1)), r"the shape \(3, 1\)"),
    ]:
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(ArgumentError, match=sentence):
            read_segments(path)


def test_fields_that_are_missing_or_wrong():
    rows = table()
    few = rows[["trackID", "x_start", "dE"]]
    with pytest.raises(ArgumentError, match=r"lacks eventID or event_id, y_start, .*, dEdx and has only trackID, x_"):
        segments_from_array(few)
    for field, kind, what in [
        ("dE", "S4", "real numbers"),
        ("eventID", "f4", "integers"),
        ("x_end", ("f4", 3), "real"),
    ]:
        names = [(name, kind if name == field else rows.dtype[name]) for name in rows.dtype.names]
        with pytest.raises(
            ArgumentError, match=f"must hold {what}.* in the field `{field}`, but in it it has the type"
        ):
            segments_from_array(np.zeros(3, dtype=names))
    with pytest.raises(ArgumentError, match="one row per segment"):
        segments_from_array(np.zeros((3, 4)))


@pytest.mark.parametrize("field", [*ENDS, "dE", "dEdx", "t"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(field, value):
    rows = table(more=[("t", "f4")])
    rows[field][1:] = value
    with pytest.raises(
        ArgumentError, match=f"a finite `{field}` in every row, but it has 2 other rows, the first of them row 1"
    ):
        segments_from_array(rows)


@pytest.mark.parametrize("field", ["dE", "dEdx"])
def test_values_that_are_negative(tmp_path, field):
    rows = table(events=range(300))
    rows[field][[210, 250]] = -1
    path = save(tmp_path / "a.h5", rows)
    with pytest.raises(ArgumentError, match=f"`{field}` of zero or more in every row, but .* 2 other rows, .* row 210"):
        read_segments(path)
    parts = stream_segments(path, 220, events=range(20, 300))
    with pytest.raises(ArgumentError, match="row 210"):
        list(parts)


@pytest.mark.parametrize(
    ("field", "value"), [("y_start", 1e38), ("x_end", -1e7), ("dE", 1e10), ("dEdx", 1e16), ("t", 1e14)]
)
def test_values_that_are_huge(field, value):
    rows = table(events=range(30), more=[("t", "f8")])
    rows[field][20:] = value
    sentence = rf"`{field}` within 1e\+\d\d \S+ of zero in every row, but it has 10 other rows, the first .* row 20"
    with pytest.raises(ArgumentError, match=sentence):
        segments_from_array(rows)


def test_output_that_cannot_be_written(tmp_path):
    segments = larndsim.generate("muons", n=1)
    with pytest.raises(ArgumentError, match="existing folder"):
        write_segments(tmp_path / "no" / "a.h5", segments)
    with pytest.raises(ArgumentError, match="a folder or a device"):
        write_segments(tmp_path, segments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [b"SNOD", b"TREE", b"HEAP", b"x_start", b"dEdx"])
def test_damage_inside_a_file_is_one_sentence(tmp_path, name):
    """HDF5 notices it late, and complains in many ways."""
    path = tmp_path / "damaged.h5"
    write_segments(path, cases.CASES["oblique"])
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, b"\xff" * len(name)))
    with pytest.raises(ArgumentError, match=r"Argument `path` must be an HDF5 file of segments, but .* is damaged"):
        read_segments(path)


def test_mistakes_of_a_program_are_not_called_damage(tmp_path):
    path = tmp_path / "whole.h5"
    write_segments(path, cases.CASES["oblique"])
    with pytest.raises(RuntimeError, match="mistake"), opened(path, "segments"):
        raise RuntimeError("mistake")
