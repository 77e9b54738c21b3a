"""Files that HDF5 writes."""

from __future__ import annotations

import os
import signal

import h5py
import numpy as np
import pytest

from larndsim.data.hits import HIT_FIELDS
from larndsim.errors import ArgumentError
from larndsim.io.hdf5 import Output, append, growing, new_file
from larndsim.io.hits import HitsWriter


def fill(file, parts=20):
    """Write more than HDF5 keeps in its caches."""
    table = growing(file, "table", np.float64)
    for part in range(parts):
        append(table, np.full(10_000, part, dtype=np.float64))
    file.attrs["done"] = True


def test_an_output_is_what_hdf5_would_have_written(tmp_path):
    with h5py.File(tmp_path / "direct.h5", "w") as file:
        fill(file)
    with new_file(tmp_path / "through.h5") as file:
        fill(file)
    assert (tmp_path / "through.h5").read_bytes() == (tmp_path / "direct.h5").read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told_when_the_output_closes():
    with pytest.raises(OSError, match="No space left"), Output("/dev/full", "w+") as output:
        with h5py.File(output, "w") as file:
            fill(file)
        with pytest.raises(OSError, match="No space left"):
            output.check()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Output, "error", OSError(28, "No space left on device"))
    (tmp_path / "out.h5").write_text("old")
    with (
        pytest.raises(ArgumentError, match=r"out\.h5: No space left on device\. Make room, or choose"),
        new_file(tmp_path / "out.h5") as file,
    ):
        fill(file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.fixture
def interrupted_writes(monkeypatch):
    """Each write of HDF5 is interrupted before it begins, where an exception would leave the file open for ever."""
    write = Output.write

    def interrupted(output, data):
        signal.raise_signal(signal.SIGINT)
        return write(output, data)

    monkeypatch.setattr(Output, "write", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_until_the_file_is_closed(tmp_path, interrupted_writes):
    (tmp_path / "out.h5").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "out.h5") as file:
        fill(file)
    assert not file
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("rows", [1, 200_000])
def test_an_interrupt_waits_while_hits_are_written(rows, tmp_path, interrupted_writes):
    """The first is interrupted when the file closes, the second while rows are added."""
    hits = np.zeros(rows, dtype=HIT_FIELDS)
    with pytest.raises(KeyboardInterrupt), HitsWriter(tmp_path / "out.h5") as writer:
        writer.append(hits)
        writer.append(hits)
    assert not writer._file
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(KeyboardInterrupt):  # the handler of before is back
        signal.raise_signal(signal.SIGINT)
