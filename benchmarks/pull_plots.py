"""Pictures of pulls."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from benchmarks.pull_statistics import Toys
from benchmarks.report import COLOURS, new_figure

MOST = 5.0  # pulls beyond it are shown at the edge
COLOUR = COLOURS["jax"]
CURVE = {"color": COLOURS["torch"], "lw": 1.6}


def drawn(toys: Toys) -> Any:
    """A panel for each parameter, one for the distances, and one for the p-values if there are any."""
    extra = [_distances] + [_p_values] * bool(np.isfinite(toys.p_values).any())
    panels = len(toys.names) + len(extra)
    columns = min(panels, 4)
    figure, axes = new_figure(columns, -(-panels // columns), width=3.6, height=3.1)
    for name, pulls, axis in zip(toys.names, toys.pulls.T, axes, strict=False):
        _pulls(axis, name, pulls)
    for draw, axis in zip(extra, axes[len(toys.names) :], strict=False):
        draw(axis, toys)
    for axis in axes[panels:]:
        axis.set_axis_off()
    return figure


def _pulls(axis: Any, name: str, pulls: np.ndarray) -> None:
    """Against the unit normal distribution."""
    known = pulls[np.isfinite(pulls)]
    edges = np.linspace(-MOST, MOST, 21 if len(known) < 200 else 41)
    axis.hist(np.clip(known, -MOST, MOST), edges, color=COLOUR, alpha=0.75)
    fine = np.linspace(-MOST, MOST, 201)
    axis.plot(fine, len(known) * (edges[1] - edges[0]) * stats.norm.pdf(fine), **CURVE)
    beyond, unknown = int((np.abs(known) > MOST).sum()), len(pulls) - len(known)
    width = f" ± {known.std(ddof=1):.2f}" if len(known) > 1 else ""
    title = f"{name}: {known.mean():.2f}{width}" if len(known) else name
    notes = [f"{beyond} beyond"] * bool(beyond) + [f"{unknown} unknown"] * bool(unknown)
    axis.set_title(f"{title} ({', '.join(notes)})" if notes else title, fontsize=9)
    axis.set_xlabel("pull", fontsize=8)
    _style(axis)


def _distances(axis: Any, toys: Toys) -> None:
    """Against the chi-squared distribution."""
    known, parameters = toys.distances[np.isfinite(toys.distances)], len(toys.names)
    most = float(stats.chi2.ppf(0.9999, parameters))
    edges = np.linspace(0.0, most, 21)
    axis.hist(np.clip(known, 0.0, most), edges, color=COLOUR, alpha=0.75)
    fine = np.linspace(0.0, most, 201)[1:]
    axis.plot(fine, len(known) * (edges[1] - edges[0]) * stats.chi2.pdf(fine, parameters), **CURVE)
    beyond = int((known > most).sum())
    axis.set_title("distance from the truth" + f" ({beyond} beyond)" * bool(beyond), fontsize=9)
    axis.set_xlabel(f"chi2 with {parameters}", fontsize=8)
    _style(axis)


def _p_values(axis: Any, toys: Toys) -> None:
    """Against the uniform distribution."""
    known = toys.p_values[np.isfinite(toys.p_values)]
    axis.hist(known, np.linspace(0.0, 1.0, 11), color=COLOUR, alpha=0.75)
    axis.axhline(len(known) / 10, **CURVE)
    axis.set_title("p-values of the fits", fontsize=9)
    axis.set_xlabel("p-value", fontsize=8)
    _style(axis)


def _style(axis: Any) -> None:
    axis.tick_params(labelsize=8)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel("toys", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
