"""Our own sample files are what their script writes, and have the form of those that users have."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import yaml

from tests.data.make import HERE, make

MADE = (".h5", ".json", ".npz", ".yaml")
MOST = 150_000  # bytes
LIKE = {
    "small_muons.h5": "predecessor_muons.h5",
    "small_cosmics.h5": "module0_corsika.h5",
    "small_selected.h5": "jax_input_0.h5",
    "small_predecessor.yaml": "module0_predecessor.yaml",
    "small_jax.yaml": "module0_jax.yaml",
    "small_dune.yaml": "module0_dune.yaml",
    "small_2x2.yaml": "2x2_dune.yaml",
    "small_ndlar.yaml": "ndlar-module_dune.yaml",
    "small_layout-2.2.16.yaml": "multi_tile_layout-2.2.16.yaml",
    "small_layout-2.4.16.yaml": "multi_tile_layout-2.4.16.yaml",
    "small_layout-2.4.16_v4.yaml": "multi_tile_layout-2.4.16_v4.yaml",
    "small_layout-2.5.16.yaml": "multi_tile_layout-2.5.16.yaml",
    "small_layout-3.0.40.yaml": "multi_tile_layout-3.0.40.yaml",
    "small_thresholds.npz": "module0-fake_thresholds-6ke.npz",
}


def files(folder: Path) -> dict[str, Path]:
    """The sample files of a folder."""
    return {path.relative_to(folder).as_posix(): path for path in folder.glob("*/*") if path.suffix in MADE}


def content(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, or of a table by field."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    with h5py.File(path) as file:
        assert list(file) == ["segments"]
        rows = file["segments"][:]
    return {name: rows[name] for name in rows.dtype.names}


def form(path: Path) -> object:
    """What files of a kind have in common: the types of their fields, or their keys and the lengths of rows."""
    if path.suffix != ".yaml":
        return [(name, values.dtype) for name, values in content(path).items()]
    entries = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    indices = entries.get("tile_indeces", {})
    return {*entries, *map(len, indices.values())}


def test_files_are_those_that_the_script_writes(tmp_path):
    make(tmp_path)
    known, made = files(HERE), files(tmp_path)
    assert known.keys() == made.keys()
    for name, path in made.items():
        if path.suffix in (".json", ".yaml"):
            assert known[name].read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), name
            continue
        # Versions of HDF5 write other bytes, and those of NumPy round logarithms in their own ways.
        one, other = content(known[name]), content(path)
        assert list(one) == list(other)
        for field, values in one.items():
            assert values.dtype == other[field].dtype
            np.testing.assert_allclose(values, other[field], rtol=1e-5, atol=1e-30, err_msg=f"{name}: {field}")


def test_files_are_small():
    assert 0 < sum(path.stat().st_size for path in HERE.rglob("*") if path.suffix in (*MADE, ".py")) < MOST


def test_files_are_like_those_that_users_have(sample_file):
    for name, user_file in LIKE.items():
        ours, theirs = form(sample_file(name)), form(sample_file(user_file))
        if name.endswith(".yaml") and "layout" not in name:
            assert ours <= theirs, name  # less is said of light
        else:
            assert ours == theirs, name
