"""Pictures of scans."""

from __future__ import annotations

from typing import Any

import numpy as np

from larndsim.detector.parameters import label_of

from .plots import TRUTH, style
from .scans import Scan

ARROWS = 13  # at most along each axis: more hide the picture


def draw_scan(scan: Scan) -> Any:
    """Loss and gradient along one parameter, or the loss over two with its gradient as arrows."""
    return _draw_line(scan) if len(scan.axes) == 1 else _draw_grid(scan)


def _draw_line(scan: Scan) -> Any:
    ((name, values),) = scan.axes.items()
    slope = scan.gradient[:, 0]
    with style() as plt:
        figure, axes = plt.subplots(2, 1, sharex=True, figsize=(8.0, 6.0))
        axes[0].plot(values, scan.loss, marker="o", ms=3.5)
        axes[0].set_title("loss")
        axes[1].axhline(0.0, color="#888888", lw=0.8)
        axes[1].plot(values, slope, marker="o", ms=3.5, label="exact")
        between, steps = 0.5 * (values[1:] + values[:-1]), np.diff(scan.loss) / np.diff(values)
        axes[1].plot(between, steps, ls="", marker="x", ms=5, color="C1", label="differences of the loss")
        axes[1].set(xlabel=label_of(name), title=f"d loss / d {name}")
        axes[1].legend(loc="best")
        if scan.target is not None:
            for axis in axes:
                axis.axvline(scan.target[name], label="target", **TRUTH)
            axes[0].legend(loc="best")
        return figure


def _draw_grid(scan: Scan) -> Any:
    from matplotlib.colors import LogNorm

    (x_name, x), (y_name, y) = scan.axes.items()
    loss = scan.loss.T
    spread = np.isfinite(loss).any() and np.nanmin(loss) > 0 and np.nanmax(loss) > 10 * np.nanmin(loss)
    with style() as plt:
        figure, axis = plt.subplots(figsize=(8.0, 6.4))
        axis.grid(False)
        mesh = axis.pcolormesh(x, y, loss, norm=LogNorm() if spread else None, shading="nearest", cmap="viridis")
        figure.colorbar(mesh, ax=axis, label="loss").outline.set_visible(False)
        _draw_arrows(axis, scan, (x, y))
        if scan.target is not None:
            star = {"marker": "*", "ms": 18, "color": "#ff5a36", "mec": "white", "mew": 1.2, "ls": ""}
            axis.plot(scan.target[x_name], scan.target[y_name], label="target", **star)
            figure.legend(loc="outside upper right")
        axis.set(xlabel=label_of(x_name), ylabel=label_of(y_name))
        return figure


def _draw_arrows(axis: Any, scan: Scan, axes: tuple[np.ndarray, np.ndarray]) -> None:
    """Arrows downhill, in units of each axis' range, so that they are seen to be at right angles to the contours."""
    x, y = axes
    u, v = (-scan.gradient[..., k].T * np.ptp(values) for k, values in enumerate(axes))
    length = np.hypot(u, v)
    length[length == 0] = 1.0
    i, j = (slice(None, None, -(-len(values) // ARROWS)) for values in (y, x))
    axis.quiver(x[j], y[i], (u / length)[i, j], (v / length)[i, j], color="white", alpha=0.75, scale=32, width=0.0028)
