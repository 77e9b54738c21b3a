"""What the benchmarks measure with: times, memory, exponents, tables."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmarks.measure import Budget, PeakMemory, Timing, exponent, in_fresh_process, machine, timed
from benchmarks.report import ms, number, table, text


def test_timed():
    timing = timed(lambda: time.sleep(0.01), lambda _: None, Budget(runs=5, seconds=0.0))
    assert timing.median >= 10
    assert timing.runs == 5
    assert timed(lambda: None, lambda _: None, Budget(runs=2, seconds=1.0, most=7)).runs == 7


def test_the_wait_counts():
    assert timed(lambda: 0.02, time.sleep, Budget(runs=3, seconds=0.0)).median >= 20


def filled(mb: float) -> float:
    memory = PeakMemory()
    memory.start()
    np.ones(int(mb * 1e6 / 8)).sum()
    return memory.peak()


def test_peak_memory():
    few, many = (in_fresh_process(filled, mb) for mb in (20, 220))
    assert many - few == pytest.approx(200, abs=30)


def test_exponent():
    assert exponent([10, 100, 1000], [3, 30, 300]) == pytest.approx(1.0)
    assert exponent([10, 100], [1, 100]) == pytest.approx(2.0)
    assert exponent([10], [1]) is None


def test_table():
    rows = [{"name": "jax", "unit": [50.0], "t": Timing(25.0, 0.5, 5), "n": 3.14159}, {"name": "x", "n": None}]
    lines = table(rows, {"who": text("name"), "time": ms("t"), "n": number("n")}).splitlines()
    assert lines[2] == "| jax | 25 ± 0.5 (0.5 u) | 3.14 |"
    assert lines[3].split("|")[2:4] == [" -                ", " -    "]
    assert len({len(line) for line in lines}) == 1


def test_machine():
    assert {"processor", "cores", "packages", "python", "command"} <= machine().keys()
