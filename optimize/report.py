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
from larndsim.io.atomic import replacing

from .plots import draw_all
from .records import Run
from .tables import probability, rows

STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; background: #fff; max-width: 64rem; margin: 2rem auto 4rem }
body { padding: 0 1rem } h1 { font-size: 1.7rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem }
div { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .9rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap }
tr:first-child th { border-bottom: 2px solid #888; color: #555; font-weight: 600 } th:first-child { text-align: left }
ul { padding: .7rem 1rem .7rem 2.2rem; background: #fdf4dc; border-radius: .4rem }
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
    "hits": "Data and model: hits of each plane",
    "spectrum": "Data and model: ADC counts",
    "drift": "Data and model: along the drift",
    "pulls": "Data and model: scatter of hits and pixels",
    "pixels": "Data and model: pixels",
}
TEXTS = {
    "hits": "Points are the data, bands the mean and the spread of data simulated at the minimum with all noise. In two"
    " cases of three a point lies within its band.",
    "drift": "Hits are compared with those of the same pixel and order in simulated data; distances beyond five spreads"
    " count as five.",
    "pulls": "Data that are wider than the bands are noisier than the model. The widths are half the distance of the"
    " 16 % and 84 % points, of the data and (in brackets) of simulated data. What is beyond the ends is drawn there.",
    "pixels": "How much less likely than in simulated data is what each pixel recorded.",
}


def write_report(path: str | os.PathLike[str], runs: Sequence[Run]) -> None:
    """Write the page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(report(runs), encoding="utf-8")


def report(runs: Sequence[Run]) -> str:
    """The page as text."""
    title = f"Fit {', '.join(run.name for run in runs)}" if len(runs) < 4 else f"{len(runs)} fits"
    pictures = [_picture(figure, name) for name, figure in draw_all(runs).items()]
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
    parts = [name, text, f"<div><table>\n{_table(r)}\n</table></div>", _remarks(r), dataset]
    return "\n".join(part for part in parts if part)


def _table(result: dict[str, Any]) -> str:
    head, *body = rows(result)
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    for name, *cells in body:
        lines.append(f"<th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}")
    return "\n".join(f"<tr>{line}</tr>" for line in lines)


def _remarks(result: dict[str, Any]) -> str:
    """The p-value, and what to know before believing the result."""
    p_value, said = result.get("p_value"), result.get("remarks") or []
    lines = (
        [f"<p>p-value of the data among simulated ones: {escape(probability(p_value))}</p>"]
        if p_value is not None
        else []
    )
    if said:
        lines += ["<ul>", *(f"<li>{escape(remark)}</li>" for remark in said), "</ul>"]
    return "\n".join(lines)


def _picture(figure: Any, name: str) -> str:
    text = f"<p>{TEXTS[name]}</p>\n" if name in TEXTS else ""
    return f"<h2>{TITLES[name]}</h2>\n{text}{_image(figure, name)}"


def _image(figure: Any, name: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _settings(run: Run) -> str:
    text = escape(yaml.safe_dump(run.settings, sort_keys=False))
    return f"<details><summary>Settings of {escape(run.name)}</summary><pre>{text}</pre></details>"
