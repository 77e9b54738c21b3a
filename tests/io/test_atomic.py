"""Files that are whole or not there."""

from __future__ import annotations

import os

import pytest

from larndsim.errors import ArgumentError
from larndsim.io import replacing


def test_replaces_when_done(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_leaves_no_trace_of_a_failure(tmp_path, failure):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(failure), replacing(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(ArgumentError, match=r"file that can be written, but .*: No space"), replacing(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_writes_through_a_link(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_refuses_what_it_would_destroy_or_cannot_write(tmp_path):
    for path, match in [
        (tmp_path, "is a folder or a device"),
        (os.devnull, "is a folder or a device"),
        (tmp_path / "no" / "out.txt", "must lie in an existing folder"),
        (tmp_path / ("x" * 400), "File name too long"),
    ]:
        with pytest.raises(ArgumentError, match=match), replacing(path):
            pytest.fail("the block must not run")
    assert os.path.exists(os.devnull)
