"""A disk that is full ends a command with one sentence, and leaves no half of a file."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from larndsim.backend import installed

pytest.importorskip("resource")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# A process that may write files of so many bytes alone: as if there were no more room for one.
CODE = """
import importlib, resource, sys
size, package, *words = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
sys.exit(importlib.import_module(f"{package}.cli").main(words))
"""
FIT = "optimize fit --input {input} --params Ab --cuts none --loss waveform --iterations 2 --out {out}"


def limited(size, command, **names):
    """Run a command that may write so many bytes to a file."""
    words = [word.format(**names) for word in command.split()]
    call = [sys.executable, "-c", CODE, str(size), *words]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("size", [3000, 60_000])
@pytest.mark.parametrize(
    "command",
    [
        "larndsim generate muons {out} --n 100",
        "larndsim simulate {input} {out} --backend numpy",
        "larndsim simulate {input} {out} --backend numpy --format packets",
    ],
)
def test_an_output_without_room(command, size, segments_file, tmp_path):
    if "packets" in command and importlib.util.find_spec("larpix") is None:
        pytest.skip("larpix-control is not installed")
    out = tmp_path / "out.h5"
    result = limited(size, command, input=segments_file, out=out)
    sentence = f"larndsim: Argument `path` must be a file that can be written, but {out}: File too large. Make room, or"
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert result.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("torch" not in installed(), reason="no torch")
@pytest.mark.parametrize(("size", "whole"), [(500, set()), (2000, {"config.yaml"})])
def test_a_run_without_room_is_resumed(size, whole, segments_file, tmp_path):
    result = limited(size, FIT, input=segments_file, out=tmp_path / "run")
    assert "File too large. Make room, or choose a file on another disk." in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.returncode == 2
    assert {path.name for path in (tmp_path / "run").iterdir()} == whole
    if whole:
        resumed = limited(10**9, f"optimize fit --resume --out {tmp_path / 'run'}")
        assert (resumed.returncode, (tmp_path / "run" / "result.json").exists()) == (3, True)
