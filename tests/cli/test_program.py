"""Exit codes and sentences of the command lines."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import larndsim.cli
import optimize.cli
from larndsim.cli.program import run_program
from larndsim.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[2]


def program(run) -> int:
    """The exit code of a program with one sub-command that does `run`."""
    command = SimpleNamespace(
        __name__="go",
        __doc__="Go.",
        EXAMPLE="program go",
        add_arguments=lambda parser: None,
        run=lambda arguments: run(),
    )
    return run_program("program", "Goes.", [command], ["go"])


def raising(error: BaseException):
    def run():
        raise error

    return run


def test_codes_of_a_run(capsys):
    assert program(lambda: None) == 0
    assert program(lambda: 3) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (
            ArgumentError("n", "be greater than 0", "it is -1"),
            2,
            "program: Argument `n` must be greater than 0, but it is -1.",
        ),
        (FileNotFoundError(2, "No such file", "a.h5"), 2, "program: [Errno 2] No such file: 'a.h5'"),
        (KeyboardInterrupt(), 130, "program: interrupted"),
    ],
)
def test_errors_are_one_sentence(capsys, error, code, sentence):
    assert program(raising(error)) == code
    assert capsys.readouterr().err == sentence + "\n"


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("larndsim", "generate muons {0}/out.h5 --n 1 --detector {0}/mine.yaml"),
        ("optimize", "forecast {0}/none.h5 --params Ab --detector {0}/mine.yaml"),
    ],
)
def test_warnings_are_one_line(package, words, tmp_path):
    (tmp_path / "mine.yaml").write_text("lifetme: 2000\n")
    call = [sys.executable, "-m", package, *words.format(tmp_path).split()]
    result = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    name = {"larndsim": "larndsim", "optimize": "larndsim-optimize"}[package]
    warning = (
        f"{name}: warning: Unknown keys in {tmp_path}/mine.yaml are not used: `lifetme` (did you mean `lifetime`?)"
    )
    first, *others = result.stderr.splitlines()
    assert first.startswith(warning)
    assert len(others) == (package == "optimize")  # that there is no such file


def test_warnings_of_the_log_are_one_line_each(capsys):
    def run():
        for _ in range(2):
            logging.getLogger("larndsim.detector.loading").warning("two\n%s", "lines")

    assert program(run) == 0
    assert capsys.readouterr().err == "program: warning: two lines\n"


@pytest.mark.parametrize("main", [larndsim.cli.main, optimize.cli.main])
def test_without_a_command(capsys, main):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("package", ["larndsim", "optimize"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_as_a_module(package, option):
    result = subprocess.run([sys.executable, "-m", package, option], capture_output=True, text=True, check=True)
    assert "larndsim" in result.stdout
    assert result.stderr == ""


def test_a_reader_that_leaves_is_no_error():
    code = "import sys; from tests.cli.test_program import program; sys.exit(program(lambda: print(1)))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        writer.stdout.close()
        assert writer.wait() == 141
        assert writer.stderr.read() == b""
