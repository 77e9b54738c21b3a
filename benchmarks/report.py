"""Results on the screen and in files: JSON, a table in Markdown, a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Timing, machine

Columns = dict[str, Callable[[dict[str, Any]], str]]
COLOURS = {"numpy": "#8c8c8c", "torch": "#d95f02", "jax": "#1b6ca8"}


def ms(name: str) -> Callable[[dict[str, Any]], str]:
    """A column for a time: ms with its spread, and units."""

    def cell(row: dict[str, Any]) -> str:
        if row.get(name) is None:
            return "-"
        timing = Timing(*row[name])
        spread = f" ± {timing.spread:.2g}" if timing.runs > 1 else ""
        return f"{timing.median:.3g}{spread} ({timing.median / row['unit'][0]:.2g} u)"

    return cell


def number(name: str, style: str = ".3g") -> Callable[[dict[str, Any]], str]:
    """A column for a number."""
    return lambda row: "-" if row.get(name) is None else format(row[name], style)


def text(name: str) -> Callable[[dict[str, Any]], str]:
    """A column for words."""
    return lambda row: str(row[name])


def table(rows: list[dict[str, Any]], columns: Columns) -> str:
    """The rows as a Markdown table, its columns aligned."""
    cells = [list(columns), *([cell(row) for cell in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def one_line(row: dict[str, Any], columns: Columns) -> str:
    """A row as it comes, before the table is known."""
    return ", ".join(f"{name} {cell(row)}" for name, cell in columns.items() if cell(row) != "-")


def save(folder: Path, name: str, rows: list[dict[str, Any]], markdown: str, figure: Any, **more: Any) -> None:
    """Write NAME.json, NAME.md and NAME.png into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    about = machine()
    (folder / f"{name}.json").write_text(json.dumps({"machine": about, **more, "rows": rows}, indent=1) + "\n")
    where = f"{about['processor']}, {about['cores']} cores" + (f", {about['accelerator']}" * bool(about["accelerator"]))
    packages = ", ".join(f"{package} {number}" for package, number in about["packages"].items())
    (folder / f"{name}.md").write_text(f"{markdown}\n\n`{about['command']}` on {where}; {packages}.\n")
    figure.savefig(folder / f"{name}.png", dpi=140)
    print(f"see {folder / name}.json, .md, .png")


def new_figure(columns: int, rows: int = 1, width: float = 5.2, height: float = 4.4) -> tuple[Any, Any]:
    """A figure with so many axes beside each other, each of a width and height in inches; row after row."""
    from matplotlib.figure import Figure  # drawn into a file: no window, no global state

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()
