"""`pace`: segments through `larndsim simulate`, everything included, each time in a process of its own."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import larndsim
from benchmarks.measure import larndsim_command, summary, unit
from benchmarks.report import COLOURS, Columns, new_figure, number, one_line, save, table, text
from benchmarks.samples import muons_of
from larndsim.backend import installed
from larndsim.data.segments import Segments, lengths
from larndsim.errors import ArgumentError

COLUMNS: Columns = {
    "sample": text("sample"),
    "segments": number("segments", "d"),
    "cm": number("length", ".0f"),
    "backend": text("backend"),
    "s": lambda row: f"{row['time'].median / 1e3:.3g} ± {row['time'].spread / 1e3:.2g}",
    "cm/s": lambda row: f"{1e3 * row['length'] / row['time'].median:.0f}",
    "peak MB": number("memory", ".0f"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sample = parser.add_mutually_exclusive_group()
    sample.add_argument("--input", nargs="+", type=Path, metavar="H5", help="files of segments, instead of cosmics")
    sample.add_argument("--segments", type=float, help="so many segments of muons, instead of cosmics")
    parser.add_argument("--events", type=int, default=500, help="of generated cosmics (default: 500)")
    parser.add_argument("--backends", nargs="+", choices=installed(), default=["torch", "jax"])
    parser.add_argument("--memory", default="2GB", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of each, of which the median counts (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    if options.runs < 1:
        raise ArgumentError("runs", "be a whole number greater than 0", f"it is {options.runs}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in sources(options, Path(scratch)).items():
            for backend in options.backends:
                rows.append({"sample": name, "unit": unit()} | measured(source, backend, options, Path(scratch)))
                print(one_line(rows[-1], COLUMNS), flush=True)
    text_table = table(rows, COLUMNS)
    print(text_table)
    save(options.out, "pace", rows, text_table, drawn(rows))


def sources(options: argparse.Namespace, scratch: Path) -> dict[str, Path]:
    """The files, by what they are."""
    if options.input:
        return {path.name: path for path in options.input}
    name, segments = generated(options)
    larndsim.write_segments(scratch / "in.h5", segments)
    return {name: scratch / "in.h5"}


def generated(options: argparse.Namespace) -> tuple[str, Segments]:
    """Segments, and what they are."""
    if options.segments is not None:
        if not 1 <= options.segments < float("inf"):
            raise ArgumentError("segments", "be 1 or more", f"it is {options.segments:g}")
        return "muons", muons_of(int(options.segments))
    return f"{options.events} cosmics", larndsim.generate("cosmics", n=options.events, seed=1)


def measured(source: Path, backend: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """How long the command takes; the first event alone comes before, for what is kept from process to process."""
    segments = larndsim.read_segments(source)
    words = ["simulate", str(source), str(scratch / "out.h5"), "--seed", "1", "--backend", backend]
    words += ["--memory", options.memory]
    first = int(segments.event[0])
    larndsim_command([*words, "--events", f"{first}:{first + 1}"])
    found = [larndsim_command(words) for _ in range(options.runs)]
    return {
        "segments": len(segments.dE),
        "length": float(lengths(segments).sum()),
        "backend": backend,
        "time": summary([1e3 * seconds for _, seconds, _ in found]),
        "memory": max(peak for _, _, peak in found),
    }


def drawn(rows: list[dict[str, Any]]) -> Any:
    """The pace of each sample and backend."""
    figure, (axes,) = new_figure(1)
    names = [f"{row['sample']}\n{row['backend']}" for row in rows]
    pace = [1e3 * row["length"] / row["time"].median for row in rows]
    axes.bar(names, pace, color=[COLOURS[row["backend"]] for row in rows])
    axes.set(ylabel="cm/s")
    return figure
