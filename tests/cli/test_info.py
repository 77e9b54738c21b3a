"""`larndsim info`."""

from __future__ import annotations

import shlex

import h5py
import numpy as np
import pytest

from larndsim.cli import info, main
from tests.samples import present


def lines(capsys) -> dict[str, str]:
    """The facts that were printed, and under "" what the file is."""
    first, *rest = capsys.readouterr().out.splitlines()
    facts = dict(line.strip().split("  ", 1) for line in rest)
    return {"": first, **{name: value.strip() for name, value in facts.items()}}


def test_the_example_works(capsys):
    assert main(shlex.split(info.EXAMPLE)[1:]) == 0
    facts = lines(capsys)
    assert facts[""] == "module0: built-in detector"
    assert facts["kb"] == "0.0486 (kV/cm)(g/cm2)/MeV"
    assert "140 x 280 pixels" in facts["plane 1"]


def test_segments(segments_file, capsys):
    assert main(["info", str(segments_file)]) == 0
    facts = lines(capsys)
    assert facts[""].endswith(": segments")
    assert facts["events"] == "3, from 0 to 2"
    assert " to " in facts["dE"]


def test_hits(hits_file, capsys):
    assert main(["info", str(hits_file)]) == 0
    facts = lines(capsys)
    assert facts[""].endswith(": hits")
    assert (facts["detector"], facts["seed"], facts["lifetime"]) == ("module0", "3", "2200.0")


def test_packets(segments_file, tmp_path, capsys):
    pytest.importorskip("larpix", reason="larpix-control is not installed")
    path = tmp_path / "packets.h5"
    assert main(["simulate", str(segments_file), str(path), "--backend", "numpy", "--format", "packets"]) == 0
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    facts = lines(capsys)
    assert facts[""].endswith(": packets")
    assert facts["timestamp packets"] == facts["trigger packets"] == "6"


@pytest.mark.parametrize(
    ("name", "kind"),
    present(
        ("small_predecessor.yaml", "detector"),
        ("small_layout-2.4.16.yaml", "pixel layout"),
        ("module0_predecessor.yaml", "detector"),
        ("multi_tile_layout-2.4.16.yaml", "pixel layout"),
    ),
)
def test_yaml(name, kind, sample_file, capsys):
    assert main(["info", str(sample_file(name))]) == 0
    assert lines(capsys)[""].endswith(f": {kind}")


def test_what_it_does_not_know(tmp_path, capsys):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["other"] = [1]
    for name, dataset, rows in (
        ("plain.h5", "hits", np.zeros(3)),
        ("one.h5", "hits", np.float64(1)),
        ("plain_packets.h5", "packets", np.zeros(3)),
        ("few.h5", "packets", np.zeros(3, dtype=[("timestamp", np.int64)])),
    ):
        with h5py.File(tmp_path / name, "w") as file:
            file[dataset] = rows
    (tmp_path / "text.txt").write_text("text")
    for name, sentence in (
        ("plain.h5", "must be an HDF5 file of hits"),
        ("one.h5", "must be an HDF5 file of hits"),
        ("plain_packets.h5", "must be an HDF5 file with a table `packets`"),
        ("few.h5", "must be an HDF5 file of LArPix packets"),
        ("other.h5", "must hold segments, hits or packets"),
        ("text.txt", "is not an HDF5 file"),
        ("none.h5", "does not exist"),
        ("", "is a folder"),
    ):
        assert main(["info", str(tmp_path / name)]) == 2
        captured = capsys.readouterr()
        assert sentence in captured.err and captured.err.count("\n") == 1
        assert captured.out == ""
