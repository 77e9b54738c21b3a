"""Pictures of forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np

from larndsim.detector.parameters import unit_of

from .forecasts import Forecast
from .plots import TRUTH, draw_matrix, style


def draw_forecast(forecast: Forecast) -> dict[str, Any]:
    """All pictures of a forecast, by name."""
    figures = {"errors": draw_expected(forecast)}
    if len(forecast.values) > 1 and np.isfinite(forecast.covariance).any():
        figures["correlations"] = draw_matrix(tuple(forecast.values), forecast.correlation)
    return figures


def draw_expected(forecast: Forecast) -> Any:
    """Errors against the length of track: in percent, or in the unit of a parameter that is 0."""
    multiples = np.array(sorted({1.0, *forecast.multiples}))
    length = forecast.cm * multiples
    goals = {goal.name: goal for goal in forecast.goals}
    with style() as plt:
        figure, axis = plt.subplots(figsize=(8.0, 4.8))
        for number, (name, value) in enumerate(forecast.values.items()):
            color, scale = f"C{number % 10}", 100.0 / abs(value) if value else 1.0
            label = name if value else f"{name}, in {unit_of(name)}"
            axis.plot(
                length, scale * forecast.errors[name] / np.sqrt(multiples), "o-", ms=3.5, color=color, label=label
            )
            if name in goals:
                goal = goals[name]
                size = {"ls": "", "ms": 15, "color": color, "mec": "white"}
                axis.plot(goal.cm, scale * goal.error, marker="*", label=f"{name}: goal", **size)
        axis.axvline(forecast.cm, label="the sample", **TRUTH)
        axis.set(xlabel="length of track  [cm]", xscale="log", yscale="log", title="expected error  [%]")
        figure.legend(loc="outside right upper")
        return figure
