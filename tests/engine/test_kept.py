"""Folded responses in the cache folder: the same bits, whatever happens to the files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from larndsim.engine import kept
from larndsim.engine.folding import RESOLUTIONS, folded_response
from larndsim.response import FieldResponse

RESPONSE = FieldResponse()
KEY = RESPONSE, 0.4434, RESOLUTIONS[0], RESPONSE.sampling(0.1), 1e-2


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache folder; nothing is remembered from before."""
    monkeypatch.setenv("LARNDSIM_RESPONSE_CACHE", str(tmp_path / "cache"))
    kept.kept_response.cache_clear()
    yield tmp_path / "cache"
    kept.kept_response.cache_clear()


@pytest.fixture
def folded(monkeypatch):
    """The keys that have been folded."""
    found = []

    def counted(*key):
        found.append(key)
        return folded_response(*key)

    monkeypatch.setattr(kept, "folded_response", counted)
    return found


def again(key=KEY):
    """As another process would ask."""
    kept.kept_response.cache_clear()
    return kept.kept_response(*key)


def assert_same(one, other):
    for ours, theirs in zip(one, other, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def test_what_is_kept_is_what_was_folded(folder, folded):
    assert_same(again(), folded_response(*KEY))
    assert_same(again(), folded_response(*KEY))
    assert folded == [KEY] and len(list(folder.iterdir())) == 1


def test_every_key_has_its_own(folded):
    other = RESPONSE, 0.38, *KEY[2:]
    for key in (KEY, other, KEY, other):
        assert_same(again(key), folded_response(*key))
    assert folded == [KEY, other]


def test_other_code_folds_anew(folded, monkeypatch):
    again()
    monkeypatch.setattr(kept, "_source", lambda: "another")
    again()
    assert folded == [KEY, KEY]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "another", "a folder"])
def test_a_damaged_file_is_folded_again(damage, folder, folded):
    again()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "another":
        with open(path, "wb") as file:
            np.savez(file, points=np.zeros(3))
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": whole[:middle], "flipped": flipped}[damage])
    for _ in range(2):
        assert_same(again(), folded_response(*KEY))
    assert len(folded) == (3 if damage == "a folder" else 2)
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_done_without(folder, folded):
    folder.write_text("a file")
    for _ in range(2):
        assert_same(again(), folded_response(*KEY))
    assert len(folded) == 2 and folder.read_text() == "a file"


def test_switched_off(folder, folded, monkeypatch):
    monkeypatch.setenv("LARNDSIM_RESPONSE_CACHE", "0")
    again()
    again()
    assert len(folded) == 2 and not folder.exists()


def test_the_default_is_in_the_cache_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("LARNDSIM_RESPONSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    again()
    assert len(list((tmp_path / "home" / "larndsim" / "responses").iterdir())) == 1


def test_many_at_once(folder):
    """Whoever comes last replaces the file; nobody reads half of one."""
    path = folder / "file.npz"
    whole = folded_response(*KEY)

    def write_and_read(_):
        kept._write(path, whole)
        return kept._read(path)

    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(write_and_read, range(40))]
    for each in found:
        assert_same(each, whole)
    assert [each.name for each in folder.iterdir()] == ["file.npz"]


def test_the_response_of_a_user_is_not_kept(folder, folded):
    own = FieldResponse(cumulative=lambda x, y, lag, sigma: RESPONSE.cumulative(x, y, lag, sigma))
    for _ in range(2):
        assert_same(again((own, *KEY[1:])), folded_response(*KEY))
    assert len(folded) == 2 and not folder.exists()
