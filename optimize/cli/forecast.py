"""Expected errors of a fit to such a sample, and of larger ones, without fitting.

Data are simulated at nominal values, or those of --set-target, with clocked electronics and all noise. The table has
the errors of a fit of the likelihood of all --params together, and those with the others known; --goal lifetime=1% says
how much track that takes.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from .choices import add_choices, choices_of, taken_out

EXAMPLE = "larndsim-optimize forecast muons.h5 --params Ab kb lifetime --goal lifetime=1%"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sample, its multiples, the goals, and the choices of a fit that say what is simulated."""
    from ..forecasts import MULTIPLES, USELESS

    default = " ".join(f"{value:g}" for value in MULTIPLES)
    text = f"sizes of samples, in units of that given (default: {default})"
    parser.add_argument("input", nargs="?", metavar="IN.h5", help="file of segments to simulate")
    parser.add_argument("--out", metavar="FOLDER", help="folder for forecast.json, forecast.md and pictures")
    parser.add_argument("--multiples", nargs="+", type=float, default=MULTIPLES, metavar="X", help=text)
    parser.add_argument("--goal", nargs="+", default=[], metavar="NAME=ERROR", help="errors to reach, such as Ab=0.5%%")
    add_choices(parser, leave_out=("input", "set_target", "toys", *USELESS))
    where = "where the errors are those of (default: nominal values)"
    parser.add_argument("--set-target", "--set_target", nargs="+", metavar="NAME=VALUE", help=where)
    parser.add_argument("--toys", type=int, metavar="N", help="samples to simulate (default: 12)")


def run(arguments: argparse.Namespace) -> None:
    """Forecast, print, write, draw."""
    from ..forecasts import forecast
    from ..records import check_folder
    from .log import log_to_stderr

    choices = choices_of(arguments)
    out = taken_out(arguments, choices, needed=False)
    if out is not None:
        check_folder("--out", out)
    with log_to_stderr():
        result = forecast(multiples=arguments.multiples, goal=_goals(arguments.goal), **choices)
    text = f"{result.table()}\n\n{result.summary()}"
    print(text)
    if out is not None:
        _write(out, result, text)


def _write(out: str, result: Any, text: str) -> None:
    """The forecast and its pictures, into a folder."""
    from larndsim.io.atomic import replacing

    from ..forecast_plots import draw_forecast
    from ..plots import save
    from ..records import finite, make_folder

    folder = make_folder("--out", out)
    texts = {"forecast.json": json.dumps(finite(result.plain()), indent=2), "forecast.md": text}
    for name, content in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")
    for name, figure in draw_forecast(result).items():
        save(figure, folder / f"{name}.png")
    print(f"see {folder}/forecast.json")


def _goals(words: list[str]) -> dict[str, str]:
    """NAME=ERROR words -> errors by name, in words."""
    from larndsim.errors import ArgumentError

    goals: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ArgumentError("--goal", "be given as NAME=ERROR", f"it is {word!r}", "Such as lifetime=1%.")
        if name in goals:
            raise ArgumentError("--goal", "give each error once", f"{name} is given again")
        goals[name] = text
    return goals
