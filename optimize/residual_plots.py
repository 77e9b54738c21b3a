"""Pictures of the data beside simulated ones at the minimum of a fit: points and bands should agree.

A band is the mean of the simulated tables and their standard deviation, which is what one more table would scatter by:
so the points of good data lie within the bands in two cases of three.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .plots import INK, style
from .residuals import PULL_EDGES, Residuals

MOST_MODULES, MOST_PLANES, ACROSS = 4, 8, 4  # that are drawn: those with most hits; and how many side by side
WORDS = 32  # bins of an ADC spectrum, at most
POINT: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 3.5, "zorder": 3.0}
BAND: dict[str, Any] = {"alpha": 0.3, "lw": 0.0}
FEW = 3  # hits: a mean of fewer is not drawn
UNITS = ("ADC counts", "ticks")
GROUP = 4  # bins of the pulls that are drawn as one
SATURATED = 5.0  # spreads: colours of the map end there


def draw_residuals(residuals: Residuals) -> dict[str, Any]:
    """All pictures, by name."""
    return {
        "hits": draw_hits(residuals),
        "spectrum": draw_spectrum(residuals),
        "drift": draw_drift(residuals),
        "pulls": draw_pulls(residuals),
        "pixels": draw_pixels(residuals),
    }


def draw_hits(r: Residuals) -> Any:
    """Hits of each plane that has any, over those expected."""
    expected = r.hits[1:].mean(axis=0)
    planes = np.flatnonzero(expected > 0.0)
    with style() as plt:
        figure, axis = plt.subplots(figsize=(min(3.4 + 0.5 * len(planes), 12.0), 3.4))
        axis.axhline(1.0, color=INK, lw=0.8)
        _compare(axis, np.arange(len(planes)), r.hits[:, planes] / expected[planes], half=0.3)
        places = np.unique(np.linspace(0, max(len(planes) - 1, 0), 20).astype(int))
        axis.set_xticks(places, planes[places] if planes.size else [])
        axis.set(xlabel="plane", ylabel="hits over expected", title="all hits", xlim=(-0.6, len(planes) - 0.4))
        return _explained(figure)


def draw_spectrum(r: Residuals) -> Any:
    """ADC counts of all hits of each module, and how many spreads of simulated tables the data are off."""
    modules = _modules(r)
    with style() as plt:
        shape = {"height_ratios": (3, 1)}
        figure, axes = plt.subplots(
            2, len(modules), sharex="col", squeeze=False, figsize=(1.6 + 4.4 * len(modules), 4.6), gridspec_kw=shape
        )
        for (upper, lower), module in zip(axes.T, modules, strict=True):
            middles, counts = _rebinned(r.adc[:, r.module == module].sum(axis=1))
            _compare(upper, middles, counts)
            upper.set(ylabel="hits", title=f"module {module}", yscale="log", ylim=(0.5, None))
            lower.axhline(0.0, color=INK, lw=0.8)
            lower.plot(middles, off_by(counts), color="C0", **POINT)
            lower.set(xlabel="ADC counts", ylabel="off by\n[spreads]", ylim=_symmetric(off_by(counts)))
        return _explained(figure)


def draw_drift(r: Residuals) -> Any:
    """Hits, and the mean distance of their ADC counts and ticks from those expected, against drift distance."""
    planes, middles = _planes(r), _middles(r.drift_edges)
    columns = min(len(planes), ACROSS)
    rows = -(-len(planes) // max(columns, 1))
    with style() as plt:
        shape = (0.8 + 4.2 * columns, 0.6 + 5.8 * rows)
        figure, grid = plt.subplots(3 * rows, columns, sharex=True, squeeze=False, figsize=shape)
        for number, plane in enumerate(planes):
            hits, *others = grid[3 * (number // columns) :, number % columns][:3]
            _compare(hits, middles, r.drift[:, plane])
            hits.set(ylabel="hits", title=f"module {r.module[plane]}, plane {plane}", ylim=(0, None))
            for axis, values, what in zip(others, np.moveaxis(r.mean_off()[:, :, plane], 1, 0), UNITS, strict=True):
                axis.axhline(0.0, color=INK, lw=0.8)
                _compare(axis, middles, np.where(r.matched[:, plane] >= FEW, values, np.nan))
                axis.set_ylabel(f"data - expected\n[{what}]")
            axis.set_xlabel("drift distance [cm]")
            axis.tick_params(labelbottom=True)
        for number in range(len(planes), rows * columns):
            for axis in grid[3 * (number // columns) :, number % columns][:3]:
                axis.remove()
        return _explained(figure)


def draw_pulls(r: Residuals) -> Any:
    """How hits and pixels scatter about what is expected, in expected spreads."""
    widths, middles = r.widths(), _middles(PULL_EDGES[::GROUP])
    with style() as plt:
        figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.7))
        for number, (axis, what) in enumerate(zip(axes, UNITS, strict=False)):
            _compare(axis, middles, _grouped(r.pulls[:, number].sum(axis=1), GROUP))
            data, (mean, spread) = widths[0, number], (widths[1:, number].mean(), widths[1:, number].std(ddof=1))
            title = f"{what}: width {data:.2f} ({mean:.2f} ± {spread:.2f})"
            axis.set(xlabel="data - expected [spreads]", ylabel="hits", title=title)
        _compare(axes[2], middles, _grouped(r.pixel_pulls, GROUP))
        axes[2].set(xlabel="less likely than expected [spreads]", ylabel="pixels", title="pixels", yscale="log")
        axes[2].set(ylim=(0.5, None), xlim=(-3.0, PULL_EDGES[-1]))
        return _explained(figure)


def draw_pixels(r: Residuals) -> Any:
    """Where the pixels are that are less likely than simulated ones (red), or likelier (blue), on each plane."""
    planes = [plane for plane in _planes(r) if (r.pixel[:, 0] == plane).any()]
    columns = min(len(planes), ACROSS)
    rows = -(-len(planes) // max(columns, 1))
    with style() as plt:
        figure, grid = plt.subplots(
            rows, columns, squeeze=False, sharex=True, sharey=True, figsize=(2.9 * columns + 1.5, 5.0 * rows)
        )
        for axis in list(grid.flat)[len(planes) :]:
            axis.remove()
        for axis, plane in zip(grid.flat, planes, strict=False):
            own = r.pixel[:, 0] == plane
            order = np.argsort(np.abs(r.pixel_pull[own]))  # what matters lies on top
            x, y = r.place[own][order].T
            dots = axis.scatter(
                x, y, c=r.pixel_pull[own][order], s=9, marker="s", cmap="RdBu_r", vmin=-SATURATED, vmax=SATURATED,
                edgecolors="#999999", linewidths=0.25,
            )  # fmt: skip
            axis.set(title=f"plane {plane}", xlabel="x [cm]", aspect="equal")
        for row in grid:
            row[0].set_ylabel("y [cm]")
        drawn = list(grid.flat)[: len(planes)]
        figure.colorbar(dots, ax=drawn, label="less likely than expected [spreads]", shrink=0.7)
        return figure


def off_by(counts: np.ndarray) -> np.ndarray:
    """How many spreads the data are above simulated tables; NaN where those all agree. Axes: (table, bin) -> (bin,)."""
    toys = counts[1:]
    spread = toys.std(axis=0, ddof=1) * np.sqrt(1.0 + 1.0 / len(toys))
    return (counts[0] - toys.mean(axis=0)) / np.where(spread > 0.0, spread, np.nan)


def _compare(axis: Any, x: np.ndarray, values: np.ndarray, half: float | None = None) -> None:
    """Points of the data on the band of the simulated tables. Axes: (bin,), (table, bin)."""
    mean, spread = values[1:].mean(axis=0), values[1:].std(axis=0, ddof=1)
    width = 2.0 * half if half is not None else x[1] - x[0] if len(x) > 1 else 1.0
    axis.use_sticky_edges = False  # bars need not stand on the axis
    axis.bar(x, 2.0 * spread, width, mean - spread, color="C0", **BAND)
    axis.hlines(mean, x - 0.5 * width, x + 0.5 * width, color="C0", lw=0.9, alpha=0.6)
    axis.plot(x, values[0], color=INK, **POINT)


def _explained(figure: Any) -> Any:
    """The figure with one line above it that says what points and bands are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Line2D([], [], color=INK, **POINT), Patch(color="C0", **BAND)]
    labels = ["data", "simulated at the minimum, mean ± spread"]
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _rebinned(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles and counts of few bins that hold all hits. Axes: (table, word) -> (bin,), (table, bin)."""
    words = np.flatnonzero(counts.sum(axis=0))
    low, high = (int(words[0]), int(words[-1]) + 1) if words.size else (0, 1)
    width = -(-(high - low) // WORDS)
    bins = -(-(high - low) // width)
    padded = np.pad(counts[:, low:], ((0, 0), (0, width)))[:, : bins * width]
    return low + width * (np.arange(bins) + 0.5) - 0.5, _grouped(padded, width)


def _grouped(counts: np.ndarray, width: int) -> np.ndarray:
    """So many bins as one. Axes: (table, bin)."""
    return counts.reshape(len(counts), -1, width).sum(axis=2)


def _middles(edges: np.ndarray) -> np.ndarray:
    return 0.5 * (edges[1:] + edges[:-1])


def _modules(r: Residuals) -> list[int]:
    """Those with most hits, by number."""
    hits = np.bincount(r.module, r.hits[1:].mean(axis=0))
    chosen = np.argsort(-hits, kind="stable")[:MOST_MODULES]
    return sorted(int(module) for module in chosen if hits[module] > 0.0)


def _planes(r: Residuals) -> list[int]:
    """Those with most hits, by number."""
    hits = r.hits.mean(axis=0)
    chosen = np.argsort(-hits, kind="stable")[:MOST_PLANES]
    return sorted(int(plane) for plane in chosen if hits[plane] > 0.0)


def _symmetric(values: np.ndarray) -> tuple[float, float]:
    most = max(3.5, 1.1 * float(np.nanmax(np.abs(values), initial=0.0)))
    return -most, most
