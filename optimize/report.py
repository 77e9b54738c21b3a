"""One self-contained HTML page about runs: no file beside it is needed."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from html import escape
from typing import Any

import yaml

from larndsim import __version__
from larndsim.detector.parameters import BOUNDS
from larndsim.io.atomic import replacing

from .plots import draw_all
from .records import Run

STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; background: #fff; max-width: 64rem; margin: 2rem auto 4rem }
body { padding: 0 1rem } h1 { font-size: 1.7rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem }
div { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap }
tr:first-child th { border-bottom: 2px solid #888; color: #555; font-weight: 600 } th:first-child { text-align: left }
td:nth-child(2) { color: #777; text-align: left } th:nth-child(2) { text-align: left }
pre { background: #f6f7f8; padding: .8rem 1rem; overflow-x: auto; border-radius: .4rem; font-size: .85rem }
b { padding: .15rem .6rem; border-radius: 1rem; background: #d9f2df; color: #12602b }
b.failed, b.max_iterations { background: #fbdedb; color: #96190f } summary { cursor: pointer; margin-top: 1rem }
img { max-width: 100%; height: auto } footer { color: #888; margin-top: 3rem; font-size: .85rem }
"""
TITLES = {
    "parameters": "Parameters",
    "loss": "Loss",
    "convergence": "Distance from the targets",
    "correlations": "Correlations",
}


def write_report(path: str | os.PathLike[str], runs: Sequence[Run]) -> None:
    """Write the page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(report(runs), encoding="utf-8")


def report(runs: Sequence[Run]) -> str:
    """The page as text."""
    title = f"Fit {', '.join(run.name for run in runs)}" if len(runs) < 4 else f"{len(runs)} fits"
    pictures = [f"<h2>{TITLES[name]}</h2>\n{_image(figure, name)}" for name, figure in draw_all(runs).items()]
    body = [f"<h1>{escape(title)}</h1>", *map(_result, runs), *pictures, *map(_settings, runs)]
    phone = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">\n{phone}\n<title>{escape(title)}</title>\n<style>{STYLE}</style>'
    foot = f"<footer>larndsim {__version__}</footer>"
    return "\n".join(["<!doctype html>", '<html lang="en">', head, *body, foot, "</html>", ""])


def _result(run: Run) -> str:
    """Status and table of one run."""
    name = f"<h2>{escape(run.name)}</h2>"
    if not run.result:
        return f"{name}\n<p>This run has not ended: {len(run.history['iteration'])} iterations so far.</p>"
    r = run.result
    status = f'<b class="{escape(r["status"])}">{escape(r["status"])}</b>'
    dataset = f"<pre>{escape(r['dataset'])}</pre>"
    text = f"<p>{status} after {r['iterations']} steps and {r['wall_s']:.1f} s. {escape(r['message'])}</p>"
    header = "".join(f"<th>{x}</th>" for x in ("parameter", "unit", "initial", "fitted", "error", "target", "off by"))
    rows = "\n".join(_row(key, value) for key, value in r["parameters"].items())
    return f"{name}\n{text}\n<div><table>\n<tr>{header}</tr>\n{rows}\n</table></div>\n{dataset}"


def _row(name: str, values: dict[str, Any]) -> str:
    target = values.get("target")
    off = "" if not target else f"{100 * abs(values['value'] / target - 1):.4f} %"
    cells = [_text(values[key]) for key in ("init", "value", "error")]
    cells = [BOUNDS[name].unit, *cells, _text(target), off]
    return f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _image(figure: Any, name: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _settings(run: Run) -> str:
    text = escape(yaml.safe_dump(run.settings, sort_keys=False))
    return f"<details><summary>Settings of {escape(run.name)}</summary><pre>{text}</pre></details>"
