"""`python -m benchmarks COMMAND`: measure, print a table, and write JSON, Markdown and a figure."""

from __future__ import annotations

import argparse
import importlib
import sys

from larndsim.errors import ArgumentError

COMMANDS = {
    "accuracy": "the charge against the brute-force integral",
    "closure": "fits of six parameters to simulated targets",
    "compare": "every backend, device and precision on the same samples",
    "corners": "noisy fits of truths in corners of the ranges, each from two starts",
    "likelihood": "what the likelihood of noisy hits costs, beside the hits loss",
    "memory": "the peak memory of a batch beside its estimate",
    "overlap": "write a sample in which two tracks lie over the same pixels",
    "pace": "segments through `larndsim simulate`, everything included",
    "pulls": "pulls of many noisy fits, and whether their errors can be trusted",
    "resume": "a fit that is killed again and again ends as if it had not been",
    "scaling": "time and memory against the number of segments",
    "scores": "whether the likelihood is that of the data: its slope at the truth, without fits",
    "stages": "where the time of a forward pass goes",
    "streaming": "a large file through `larndsim simulate`: killed, repeated, and the memory that it takes",
    "unlike": "events that have little in common, one after the other",
}


def main(arguments: list[str] | None = None) -> int:
    """Each command is a module of its name with `add_arguments(parser)` and `run(options)`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    given = sys.argv[1:] if arguments is None else arguments
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in given:
            importlib.import_module(f"benchmarks.{name}").add_arguments(command)
    options = parser.parse_args(given)
    try:
        importlib.import_module(f"benchmarks.{options.command}").run(options)
    except ArgumentError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
