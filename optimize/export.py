"""Results of fits in the formats of the calibration chain downstream."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from larndsim.errors import ArgumentError
from larndsim.io.atomic import replacing

from .methods import CONVERGED
from .records import Run

LIFETIME = "lifetime"
ROW = np.dtype([("unix_s", "f8"), ("lt_us", "f8")])
ARRAYS = {
    "electron_lifetime_central_value": "value",
    "electron_lifetime_upper_bound": "high",
    "electron_lifetime_lower_bound": "low",
}


def export_lifetime(path: str | os.PathLike[str], runs: Sequence[Run], unix_s: Sequence[float]) -> None:
    """Write the electron lifetimes of runs, each with its time (seconds since 1970), as npz, by time.

    The arrays `electron_lifetime_central_value`, `_upper_bound` and `_lower_bound` have a row (`unix_s`, `lt_us`) per
    run; the bounds are the ends of the interval of 68 %.
    """
    if not str(path).endswith(".npz"):
        raise ArgumentError("out", "be a file named .npz", f"it is {path}")
    times = _checked_times(unix_s, len(runs))
    found = [lifetime_of(run) for run in runs]
    order = np.argsort(times)
    arrays: dict[str, Any] = {}
    for name, key in ARRAYS.items():
        rows = np.zeros(len(runs), dtype=ROW)
        rows["unix_s"] = times[order]
        rows["lt_us"] = np.array([values[key] for values in found])[order]
        arrays[name] = rows
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def lifetime_of(run: Run) -> dict[str, float]:
    """The fitted lifetime of a run that has converged, and the ends of its interval: value, low, high, in us."""
    if LIFETIME not in run.names:
        but = f"{run.path} has fitted {', '.join(run.names)}"
        raise ArgumentError("run", "be a fit of the lifetime", but)
    status = run.result.get("status")
    if status != CONVERGED:
        but = f"{run.path} has not ended" if status is None else f"that of {run.path} is {status}"
        remedy = "Wait for it, or resume it." if status is None else "See its `message` in result.json."
        raise ArgumentError("run", "have the status converged", but, remedy)
    own: dict[str, Any] = run.result["parameters"][LIFETIME]
    low, high = own.get("interval") or (None, None)
    if low is None or high is None:
        but = f"{run.path} has none"
        raise ArgumentError("run", "have an error of the lifetime", but, "Fit it with `errors`.")
    return {"value": own["value"], "low": low, "high": high}


def _checked_times(unix_s: Sequence[float], runs: int) -> np.ndarray:
    if len(unix_s) != runs:
        raise ArgumentError("unix_time", "be one time per run", f"there are {len(unix_s)} for {runs} runs")
    for time in unix_s:
        if not math.isfinite(time) or time < 0:
            raise ArgumentError("unix_time", "be seconds since 1970", f"one is {time:g}")
    if len(set(unix_s)) < len(unix_s):
        raise ArgumentError("unix_time", "differ from run to run", "two are the same")
    return np.array(unix_s, dtype=np.float64)
