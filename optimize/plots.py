"""Pictures of runs and scans, with Matplotlib. Every `draw_*` gives a figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from larndsim.detector.parameters import BOUNDS
from larndsim.errors import ArgumentError
from larndsim.io.atomic import replacing

from .records import Run
from .scans import Scan

WIDTH, ROW = 9.0, 1.9  # inches
TRUTH = {"color": "0.25", "ls": "--", "lw": 1.0}


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a picture, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def draw_all(runs: Sequence[Run]) -> dict[str, Any]:
    """All pictures that the runs allow, by name."""
    figures = {"parameters": draw_parameters(runs), "loss": draw_losses(runs)}
    if any(run.target(name) is not None for run in runs for name in run.names):
        figures["convergence"] = draw_convergence(runs)
    if len(runs) == 1 and np.isfinite(_correlation(runs[0])).any():
        figures["correlations"] = draw_correlations(runs[0])
    return figures


def draw_parameters(runs: Sequence[Run]) -> Any:
    """Each parameter against iteration, its target dashed."""
    names = list(dict.fromkeys(name for run in runs for name in run.names))
    figure, axes = _rows(len(names))
    for name, axis in zip(names, axes, strict=True):
        for number, run in enumerate(run for run in runs if name in run.names):
            column = run.history["parameters"][:, run.names.index(name)]
            axis.plot(run.history["iteration"], column, color=f"C{number % 10}", label=run.name, marker=".", ms=3)
            target = run.target(name)
            if target is not None:
                axis.axhline(target, **{**TRUTH, "color": f"C{number % 10}" if len(runs) > 1 else TRUTH["color"]})
        axis.set_ylabel(f"{name}\n[{BOUNDS[name].unit}]")
    axes[-1].set_xlabel("iteration")
    _legend(axes[0], runs)
    return figure


def draw_losses(runs: Sequence[Run]) -> Any:
    """The loss against iteration."""
    figure, (axis,) = _rows(1, height=4.0)
    for run in runs:
        axis.plot(run.history["iteration"], _positive(run.history["loss"]), label=run.name, marker=".", ms=3)
    axis.set(xlabel="iteration", ylabel="loss", yscale="log")
    _legend(axis, runs)
    return figure


def draw_convergence(runs: Sequence[Run]) -> Any:
    """How far each parameter is from its target, of all runs together: each run thin, their median bold."""
    names = list(dict.fromkeys(name for run in runs for name in run.names if run.target(name) is not None))
    figure, axes = _rows(len(names))
    for name, axis in zip(names, axes, strict=True):
        curves = []
        for run in runs:
            target = run.target(name)
            if target is not None:
                off = np.abs(run.history["parameters"][:, run.names.index(name)] - target) / (abs(target) or 1.0)
                curves.append(off)
                axis.plot(run.history["iteration"], _positive(100 * off), color="C0", lw=0.8, alpha=0.5)
        length = max(map(len, curves))
        held = np.stack([np.concatenate([curve, np.full(length - len(curve), curve[-1])]) for curve in curves])
        axis.plot(np.arange(length), _positive(100 * np.median(held, axis=0)), color="C1", lw=2, label="median")
        axis.set(ylabel=f"{name}\noff by [%]", yscale="log")
    axes[-1].set_xlabel("iteration")
    axes[0].legend(fontsize=8)
    return figure


def draw_correlations(run: Run) -> Any:
    """Correlations of the fitted parameters."""
    plt = _pyplot()
    matrix, count = _correlation(run), len(run.names)
    figure, axis = plt.subplots(figsize=(0.7 * count + 2.5, 0.7 * count + 1.5), layout="constrained")
    image = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    axis.set_xticks(range(count), run.names, rotation=45, ha="right")
    axis.set_yticks(range(count), run.names)
    for i, j in np.ndindex(count, count):
        dark = np.abs(matrix[i, j]) > 0.6
        axis.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", fontsize=8, color="w" if dark else "k")
    figure.colorbar(image, ax=axis, label="correlation")
    return figure


def draw_scan(scan: Scan) -> Any:
    """Loss and gradient along one parameter, or the loss over two with its gradient as arrows."""
    return _draw_line(scan) if len(scan.axes) == 1 else _draw_grid(scan)


def _draw_line(scan: Scan) -> Any:
    ((name, values),) = scan.axes.items()
    figure, axes = _rows(2, height=3.0)
    axes[0].plot(values, scan.loss, marker=".")
    axes[0].set_ylabel("loss")
    axes[1].plot(values, scan.gradient[:, 0], marker=".", label="exact")
    axes[1].plot(values, np.gradient(scan.loss, values), ls=":", color="0.5", label="differences of the loss")
    axes[1].axhline(0.0, color="0.8", lw=0.8)
    axes[1].set(xlabel=f"{name} [{BOUNDS[name].unit}]", ylabel=f"d loss / d {name}")
    axes[1].legend(fontsize=8)
    for axis in axes:
        if scan.target is not None:
            axis.axvline(scan.target[name], **TRUTH)
    return figure


def _draw_grid(scan: Scan) -> Any:
    plt = _pyplot()
    from matplotlib.colors import LogNorm

    (x_name, x), (y_name, y) = scan.axes.items()
    figure, axis = plt.subplots(figsize=(8.0, 6.5), layout="constrained")
    loss = scan.loss.T
    spread = np.isfinite(loss).any() and np.nanmin(loss) > 0 and np.nanmax(loss) > 10 * np.nanmin(loss)
    mesh = axis.pcolormesh(x, y, loss, norm=LogNorm() if spread else None, shading="nearest", cmap="viridis")
    figure.colorbar(mesh, ax=axis, label="loss")
    # arrows downhill, in units of each axis' range, so that they are seen to be at right angles to the contours
    u, v = (-scan.gradient[..., k].T * np.ptp(values) for k, values in ((0, x), (1, y)))
    length = np.hypot(u, v)
    length[length == 0] = 1.0
    axis.quiver(x, y, u / length, v / length, color="w", alpha=0.6, scale=40, width=0.002)
    if scan.target is not None:
        axis.plot(scan.target[x_name], scan.target[y_name], marker="*", ms=14, color="r", label="target")
        axis.legend()
    axis.set(xlabel=f"{x_name} [{BOUNDS[x_name].unit}]", ylabel=f"{y_name} [{BOUNDS[y_name].unit}]")
    return figure


def _rows(count: int, height: float = ROW) -> tuple[Any, list[Any]]:
    figure, axes = _pyplot().subplots(
        count, 1, sharex=True, squeeze=False, figsize=(WIDTH, height * count + 0.6), layout="constrained"
    )
    for axis in axes[:, 0]:
        axis.grid(color="0.92", lw=0.6)
    return figure, list(axes[:, 0])


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        remedy = "Install it with: pip install 'larndsim[plots]'."
        raise ArgumentError("plot", "find Matplotlib", "it is not installed", remedy) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    return plt


def _positive(values: np.ndarray) -> np.ndarray:
    """For logarithmic axes: what is zero is not drawn."""
    return np.where(values > 0, values, np.nan)


def _correlation(run: Run) -> np.ndarray:
    """As in the result, NaN where it is not known. Axes: (parameter, parameter); empty while the run goes on."""
    return np.array(run.result.get("correlation", []), dtype=np.float64)


def _legend(axis: Any, runs: Sequence[Run]) -> None:
    if 1 < len(runs) <= 12:
        axis.legend(fontsize=8)
