"""What the command lines share: the parser, the exit codes, one sentence per error."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from .. import __version__
from ..errors import ArgumentError

DONE, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141


class Parser(argparse.ArgumentParser):
    """A parser that keeps line breaks, knows no abbreviations, and complains in one sentence."""

    def __init__(self, **options: object) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=raw, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Leave with one sentence, without the usage that argparse prints before it."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def run_program(name: str, description: str, commands: Sequence[ModuleType], argv: Sequence[str] | None = None) -> int:
    """Parse, run the sub-command, and return the exit code."""
    parser = _parser(name, description, commands)
    try:
        try:
            arguments = parser.parse_args(argv)
            with plain_warnings(name):
                return arguments.run(arguments) or DONE
        finally:
            sys.stdout.flush()  # so that a closed pipe is noticed here
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: drop the rest quietly
        return BROKEN_PIPE
    except (ArgumentError, OSError) as error:
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def plain_warnings(name: str) -> Iterator[None]:
    """Each warning, of Python or of our log, is one line on stderr, once, without the source that it comes from."""
    told = set()

    def tell(message: object) -> None:
        if (line := f"{name}: warning: {one_line(message)}") not in told:
            told.add(line)
            print(line, file=sys.stderr)

    def show(message: Warning | str, *place: Any, **options: Any) -> None:
        tell(message)

    handler, logger = logging.Handler(logging.WARNING), logging.getLogger("larndsim")
    handler.emit = lambda record: tell(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)


def one_line(message: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(message).split())


def _parser(name: str, description: str, commands: Sequence[ModuleType]) -> Parser:
    example = "\n".join(f"  {command.EXAMPLE}" for command in commands)
    parser = Parser(prog=name, description=description, epilog=f"example:\n{example}" if example else None)
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        summary, _, _ = (command.__doc__ or "").partition("\n")
        sub = subparsers.add_parser(
            command.__name__.rpartition(".")[2],
            help=summary.rstrip(".").replace("%", "%%"),  # argparse formats it
            description=command.__doc__,
            epilog=f"example:\n  {command.EXAMPLE}",
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser
