"""How a fit says where it is."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from optimize.methods import State
from optimize.progress import telling
from optimize.scaling import make_scaling
from tests.optimize.conftest import DETECTOR

SCALING = make_scaling(("Ab", "lifetime"), DETECTOR)


def tell_all(every=2):
    """Four steps, the last of which is the end."""
    with telling(SCALING, 0, 10, every) as tell:
        for number in range(1, 5):
            status = "running" if number < 4 else "converged"
            tell(
                State(np.zeros(2), 0.5 / number, np.zeros(2), {}, iteration=number, status=status, rejected=number // 4)
            )


@pytest.fixture
def log():
    logger = logging.getLogger("optimize")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


def test_one_bar_on_a_terminal(log, monkeypatch, capsys, caplog):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    tell_all()
    bar = capsys.readouterr().err
    assert bar.count("\n") == 1  # the line that is rewritten, ended once
    last = bar.rstrip().rpartition("\r")[2]
    assert "4/10" in last
    assert "loss=0.125 Ab=0.83 lifetime=" in last
    assert "rejected=1" in last
    assert not caplog.records


def test_plain_lines_otherwise(log, caplog, capsys):
    tell_all()
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "step 2 of at most 10",
        "step 4 of at most 10",
    ]
    assert caplog.messages[-1].endswith("rejected=1")
    assert capsys.readouterr().err == ""


def test_a_library_is_silent(capsys):
    """Nobody asked for a log."""
    logging.getLogger("optimize").setLevel(logging.WARNING)
    tell_all()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_lines_name_the_stage(log, caplog):
    """The first line of each stage is told, whatever `every` says."""
    with telling(SCALING, 0, 10, 100, "likelihood") as tell:
        for number, memory in enumerate([{"coarse": np.array(0)}] * 2 + [{"coarse": np.array(1)}] * 2 + [{}] * 2):
            tell(State(np.zeros(2), 0.5, np.zeros(2), memory, iteration=number + 1))
    assert [message.partition(" loss=")[0] for message in caplog.messages] == [
        "step 1 of at most 10: coarse stage 1,",
        "step 3 of at most 10: coarse stage 2,",
        "step 5 of at most 10: likelihood,",
    ]
