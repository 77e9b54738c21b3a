"""Pictures of runs and scans, with Matplotlib. Every `draw_*` gives a figure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from larndsim.detector.parameters import label_of
from larndsim.errors import ArgumentError
from larndsim.io.atomic import replacing

from .records import Run

DPI = 130
INK, FAINT, TRUTH = "#222222", "#e6e6e6", {"color": "#222222", "ls": "--", "lw": 1.2, "zorder": 1.5}
STYLE = {
    "font.size": 10, "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888", "axes.labelcolor": INK,
    "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.7, "axes.axisbelow": True, "lines.linewidth": 1.6,
    "xtick.color": "#666666", "ytick.color": "#666666", "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.formatter.useoffset": False, "axes.formatter.limits": (-3, 5), "axes.formatter.use_mathtext": True,
    "legend.frameon": False, "legend.fontsize": 9, "figure.constrained_layout.use": True,
}  # fmt: skip


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a picture, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def draw_all(runs: Sequence[Run]) -> dict[str, Any]:
    """All pictures that the runs allow, by name."""
    figures = {"parameters": draw_parameters(runs), "loss": draw_losses(runs)}
    if any(run.target(name) is not None and len(run.history["loss"]) for run in runs for name in run.names):
        figures["convergence"] = draw_convergence(runs)
    if len(runs) == 1 and np.isfinite(_correlation(runs[0])).any():
        figures["correlations"] = draw_correlations(runs[0])
    if len(runs) == 1 and (residuals := runs[0].residuals) is not None:
        from .residual_plots import draw_residuals

        figures |= draw_residuals(residuals)
    return figures


def draw_parameters(runs: Sequence[Run]) -> Any:
    """Each parameter against iteration; targets dashed, and the error of a fit as a band at its end."""
    names = list(dict.fromkeys(name for run in runs for name in run.names))
    with style() as plt:
        figure, axes = _panels(plt, len(names))
        for name, axis in zip(names, axes, strict=True):
            for number, run in enumerate(runs):
                if name in run.names:
                    _draw_parameter(axis, run, name, f"C{number % 10}", alone=len(runs) == 1)
            axis.set_title(label_of(name))
        _legend(figure, axes[0], runs)
        return figure


def _draw_parameter(axis: Any, run: Run, name: str, color: str, alone: bool) -> None:
    column, iteration = run.history["parameters"][:, run.names.index(name)], run.history["iteration"]
    axis.plot(iteration, column, color=color, label="fit" if alone else run.name, **_dots(column))
    found = run.result.get("parameters", {}).get(name, {})
    if alone and found.get("error") is not None:
        low, high = (found["value"] + sign * found["error"] for sign in (-1, 1))
        axis.axhspan(low, high, color=color, alpha=0.18, lw=0, label="fitted ± error")
    if (target := run.target(name)) is not None:
        axis.axhline(target, label="target" if alone else None, **{**TRUTH, **({} if alone else {"color": color})})


def draw_losses(runs: Sequence[Run]) -> Any:
    """The loss against iteration."""
    with style() as plt:
        figure, axis = plt.subplots(figsize=(8.0, 4.2))
        for run in runs:
            loss = _positive(run.history["loss"])
            axis.plot(run.history["iteration"], loss, label=run.name, **_dots(loss))
        axis.set(xlabel="iteration", ylabel="loss", yscale="log", title="loss")
        _whole(axis)
        if len(runs) > 1:
            _legend(figure, axis, runs)
        return figure


def draw_convergence(runs: Sequence[Run]) -> Any:
    """How far each parameter is from its target, of all runs together: each run thin, their median bold."""
    names = list(dict.fromkeys(name for run in runs for name in run.names if run.target(name) is not None))
    with style() as plt:
        figure, axes = _panels(plt, len(names))
        for name, axis in zip(names, axes, strict=True):
            curves = [curve for run in runs if len(curve := distance(run, name))]
            for curve in curves:
                axis.plot(_positive(curve), color="C0", lw=1.6 if len(curves) == 1 else 0.9, alpha=0.55)
            if len(curves) > 1:
                length = max(map(len, curves))
                held = np.stack([np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves])
                axis.plot(_positive(np.median(held, axis=0)), color="C3", lw=2.2, label=f"median of {len(curves)} runs")
            axis.set(title=f"{name}: off by [%]", yscale="log")
        if axes[0].get_legend_handles_labels()[0]:
            axes[0].legend(loc="best")
        return figure


def distance(run: Run, name: str) -> np.ndarray:
    """From the target at each iteration, in percent of it; empty where none is known. Axis: (row,)."""
    target = run.target(name)
    if target is None:
        return np.zeros(0)
    return 100.0 * np.abs(run.history["parameters"][:, run.names.index(name)] - target) / (abs(target) or 1.0)


def draw_correlations(run: Run) -> Any:
    """Correlations of the fitted parameters."""
    return draw_matrix(run.names, _correlation(run))


def draw_matrix(names: Sequence[str], matrix: np.ndarray) -> Any:
    """Correlations of parameters as a matrix of colours and numbers."""
    count = len(names)
    with style() as plt:
        figure, axis = plt.subplots(figsize=(0.75 * count + 2.6, 0.75 * count + 1.4))
        image = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        axis.grid(False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(count), names)
        for i, j in np.ndindex(count, count):
            text = f"{float(np.round(matrix[i, j], 2)) + 0.0:.2f}" if np.isfinite(matrix[i, j]) else "-"
            dark = np.abs(matrix[i, j]) > 0.6
            axis.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if dark else INK)
        axis.set_title("correlations")
        figure.colorbar(image, ax=axis, shrink=0.85, ticks=(-1, -0.5, 0, 0.5, 1)).outline.set_visible(False)
        return figure


@contextmanager
def style() -> Iterator[Any]:
    """Matplotlib's pyplot, in our style for as long as a figure is drawn."""
    try:
        import matplotlib
    except ImportError as error:
        remedy = "Install it with: pip install 'larndsim[plots]'."
        raise ArgumentError("plot", "find Matplotlib", "it is not installed", remedy) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):  # type: ignore[arg-type]
        yield plt
    plt.close("all")  # figures live on without it


def _panels(plt: Any, count: int) -> tuple[Any, list[Any]]:
    """So many axes against iteration, in one column, or in two where there are many."""
    columns = 1 if count < 3 else 2
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        sharex=True,
        squeeze=False,
        figsize=(5.0 * columns + (3.0 if columns == 1 else 0.0), 2.3 * rows + 0.5),
    )
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[max(count - columns, 0) : count]:
        axis.set_xlabel("iteration")
        axis.tick_params(labelbottom=True)
        _whole(axis)
    return figure, axes[:count]


def _whole(axis: Any) -> None:
    """Ticks at whole iterations alone."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _dots(column: np.ndarray) -> dict[str, Any]:
    """Iterations are seen one by one while they are few."""
    return {"marker": "o", "ms": 3.5} if len(column) <= 40 else {}


def _positive(values: np.ndarray) -> np.ndarray:
    """For logarithmic axes: what is zero is not drawn."""
    return np.where(values > 0, values, np.nan)


def _correlation(run: Run) -> np.ndarray:
    """As in the result, NaN where it is not known. Axes: (parameter, parameter); empty while the run goes on."""
    return np.array(run.result.get("correlation", []), dtype=np.float64)


def _legend(figure: Any, axis: Any, runs: Sequence[Run]) -> None:
    """One legend above all panels, unless there are too many runs to tell apart."""
    handles, labels = axis.get_legend_handles_labels()
    if len(runs) <= 12 and handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
