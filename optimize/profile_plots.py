"""Pictures of profiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from larndsim.detector.parameters import label_of

from .plots import TRUTH, style
from .profiles import CONFIDENCES, LEVELS, Profile

PARABOLA: dict[str, Any] = {"color": "#888888", "ls": "--", "lw": 1.2}
COLORS = ("C0", "C3")  # of the confidences
FINE = 101  # points per axis between which contours are drawn


def draw_profile(profile: Profile) -> Any:
    """The rise along one parameter with its intervals and how the others follow; or contours over two."""
    return _draw_line(profile) if len(profile.axes) == 1 else _draw_contours(profile)


def _draw_line(profile: Profile) -> Any:
    ((name, x),) = profile.axes.items()
    with style() as plt:
        rows = 2 if profile.others else 1
        figure, grid = plt.subplots(rows, 1, sharex=True, squeeze=False, figsize=(8.0, 3.6 * rows))
        axis = grid[0, 0]
        axis.plot(x, profile.delta, marker="o", ms=3.5, color="C0", label="others fitted anew")
        axis.plot(x, profile.expected, label="expected parabola", **PARABOLA)
        for level, confidence in zip(LEVELS[1], CONFIDENCES, strict=True):
            axis.axhline(level, color="#bbbbbb", lw=0.8)
            low, high = profile.intervals[confidence]
            ends = [low if np.isfinite(low) else x[0], high if np.isfinite(high) else x[-1]]
            axis.fill_between(ends, level, alpha=0.1, color="C0", lw=0)
            axis.annotate(confidence, (1.0, level), xycoords=("axes fraction", "data"), ha="right", va="bottom")
        axis.set(title=f"{profile.statistic}, above the minimum", ylim=(0.0, None))
        if profile.others:
            _draw_others(grid[1, 0], profile, x)
        grid[-1, 0].set_xlabel(label_of(name))
        if profile.target is not None:
            for each in grid.flat:
                each.axvline(profile.target[name], label="target", **TRUTH)
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper right", ncols=3)
        return figure


def _draw_others(axis: Any, profile: Profile, x: np.ndarray) -> None:
    """How far the other parameters move, in units of their errors."""
    for number, (name, values) in enumerate(profile.others.items(), start=1):
        moved = (values - profile.best[name]) / profile.errors[name]
        axis.plot(x, moved, marker="o", ms=3.5, color=f"C{number % 10}", label=name)
    axis.set_title("how the others follow, in their errors")
    axis.legend(loc="best")


def _draw_contours(profile: Profile) -> Any:
    from matplotlib.lines import Line2D

    (x_name, x), (y_name, y) = profile.axes.items()
    drawn = {"68 %": COLORS[0], "95 %": COLORS[1]}
    with style() as plt:
        figure, axis = plt.subplots(figsize=(8.0, 6.0))
        axis.plot(*np.meshgrid(x, y), ls="", marker=".", ms=2, color="#bbbbbb")
        axis.contour(*_finer(x, y, profile.delta), levels=LEVELS[2], colors=COLORS, linewidths=1.8)
        if np.isfinite(profile.expected).all():
            expected = _finer(x, y, profile.expected)
            axis.contour(*expected, levels=LEVELS[2], colors=COLORS, linestyles="dashed", linewidths=1.0)
        handles = [Line2D([], [], color=color, label=confidence) for confidence, color in drawn.items()]
        handles.append(Line2D([], [], label="expected", **PARABOLA))
        handles += axis.plot(profile.best[x_name], profile.best[y_name], "k+", ms=10, label="minimum")
        if profile.target is not None:
            star = {"marker": "*", "ms": 14, "color": "#ff5a36", "mec": "white", "ls": "", "label": "target"}
            handles += axis.plot(profile.target[x_name], profile.target[y_name], **star)
        axis.set(xlabel=label_of(x_name), ylabel=label_of(y_name), title=f"{profile.statistic}: contours")
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
        return figure


def _finer(x: np.ndarray, y: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid between whose points contours are smooth; as it is, where points are few or missing.

    Steps of the grid are those in which a likelihood is most like a parabola, which the spline gives exactly.
    """
    if min(len(x), len(y)) < 4 or not np.isfinite(values).all():
        return x, y, values.T
    from scipy.interpolate import CubicSpline, RectBivariateSpline

    steps = [np.arange(len(axis)) for axis in (x, y)]
    fine = [np.linspace(0, len(axis) - 1, FINE) for axis in (x, y)]
    fine_x, fine_y = (CubicSpline(step, axis)(place) for step, axis, place in zip(steps, (x, y), fine, strict=True))
    return fine_x, fine_y, RectBivariateSpline(*steps, values)(*fine).T
