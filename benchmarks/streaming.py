"""`streaming`: a large file through `larndsim simulate`: killed on the way, then to the end, and the memory it took.

The file repeats samples under new event numbers, one of them beyond what single precision holds.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import larndsim
from benchmarks.measure import larndsim_command
from larndsim.data.segments import Segments, concatenate

LATE = 2**24 + 1  # an event number that single precision rounds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", nargs="+", metavar="H5", help="files of segments (default: generated muons)")
    parser.add_argument("--segments", type=int, default=70_000, help="of the large file (default: %(default)s)")
    parser.add_argument("--backend", default="torch", help="default: %(default)s")
    parser.add_argument("--memory", default="2GB", help="default: %(default)s")
    parser.add_argument("--after", type=float, default=30.0, metavar="S", help="when to kill (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Kill the command half-way, run it again, and say what it took."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "in.h5", Path(scratch) / "out.h5"
        segments = repeated(samples(options.samples), options.segments)
        larndsim.write_segments(source, segments)
        events = np.unique(segments.event)
        print(f"{len(segments.dE)} segments, {len(events)} events, the last is {events[-1]}", flush=True)
        end = "killed" if killed(source, target, options) else "ended before it was killed"
        print(f"{end}: " + ("there is an output file" if target.exists() else "no output file"), flush=True)
        text, seconds, peak = larndsim_command(words(source, target, options))
        print(f"{text.strip()}\n{seconds:.0f} s, at most {peak:.0f} MB")
        hits = larndsim.read_hits(target)
        print(f"{len(hits)} hits; of the last event: {(hits['event'] == events[-1]).sum()}")


def samples(paths: list[str] | None) -> list[Segments]:
    """The segments to repeat."""
    if paths is None:
        return [larndsim.generate("muons", n=20, seed=1)]
    return [larndsim.read_segments(path) for path in paths]


def repeated(parts: list[Segments], count: int) -> Segments:
    """The parts again and again under new event numbers, until there are `count` segments or a few more."""
    found: list[Segments] = []
    first = 0
    while sum(len(part.dE) for part in found) < count:
        part = parts[len(found) % len(parts)]
        number = np.unique(part.event, return_inverse=True)[1]
        found.append(part._replace(event=first + number))
        first += int(number.max()) + 1
    last = found[-1]
    found[-1] = last._replace(event=np.where(last.event == last.event.max(), LATE, last.event))
    return concatenate(*found)


def words(source: Path, target: Path, options: argparse.Namespace) -> list[str]:
    """`larndsim simulate`."""
    choices = ["--backend", options.backend, "--memory", options.memory, "--seed", "1"]
    return ["simulate", str(source), str(target), *choices]


def killed(source: Path, target: Path, options: argparse.Namespace) -> bool:
    """Start the command, and kill it some time after it has begun to write; False if it had ended by then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "larndsim", *words(source, target, options)], stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not _unfinished(target):
        time.sleep(0.1)
    time.sleep(options.after)
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return not ended


def _unfinished(target: Path) -> list[Path]:
    """What lies beside the input under a temporary name."""
    return [path for path in target.parent.iterdir() if path.name not in ("in.h5", target.name)]
