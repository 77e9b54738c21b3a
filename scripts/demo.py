"""Simulate three muons in module 0 with JAX, say what came out, and draw it: demo/event.png."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm

import larndsim

OUTPUT = Path("demo/event.png")
INK, PAPER, TRUTH, SIGNAL = "#e8e6e3", "#10131c", "#5fd7ff", "#ffb454"


def main() -> None:
    detector = larndsim.load_detector("module0")
    segments = larndsim.generate("muons", n=3, seed=48, detector=detector)
    print(f"3 muons: {len(segments.dE)} segments, {segments.dE.sum():.0f} MeV")

    simulator = larndsim.Simulator(detector, backend="jax")
    batch, seconds = timed(simulator.prepare, segments)
    print(f"plan of pixels and windows: {seconds:.2f} s")
    _, first = timed(lambda: np.asarray(simulator.charge(batch).charge))
    waveforms, seconds = timed(lambda: numpy_waveforms(simulator.charge(batch)))
    print(f"simulation: {seconds:.3f} s ({first:.1f} s the first time, when JAX compiles)")
    print(f"{len(waveforms.charge)} pixels see {waveforms.charge[:, -1].sum():.4g} electrons")

    def total_charge(parameters: larndsim.Parameters) -> Any:
        return simulator.charge(batch, parameters).charge[:, -1].sum()

    _, gradient = larndsim.value_and_grad(total_charge, detector.parameters, wrt=("lifetime",), backend="jax")
    print(f"one more microsecond of electron lifetime adds {float(gradient['lifetime']):.1f} electrons")

    OUTPUT.parent.mkdir(exist_ok=True)
    draw(detector, segments, waveforms).savefig(OUTPUT, dpi=140)
    print(f"see {OUTPUT}")


def timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    """What the function returns, and the seconds that it took."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def numpy_waveforms(waveforms: Any) -> Any:
    """The same waveforms as NumPy arrays."""
    return type(waveforms)(*map(np.asarray, waveforms))


def draw(detector: Any, segments: Any, waveforms: Any) -> plt.Figure:
    """Both pixel planes with the truth on top, the brightest pixels from near, and the waveforms of some."""
    plt.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    plt.rcParams.update(
        {"axes.edgecolor": "#555a66", "axes.facecolor": PAPER, "figure.facecolor": PAPER, "font.size": 10}
    )
    figure = plt.figure(figsize=(16, 8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    left, right = figure.subfigures(1, 2, width_ratios=[1.2, 1], facecolor=PAPER)
    norm = PowerNorm(0.5, 0, waveforms.charge[:, -1].max())  # faint pixels should show, too
    axes = left.subplots(1, detector.geometry.n_planes, sharey=True)
    for plane, axis in enumerate(axes):
        mesh = draw_plane(axis, detector.geometry, plane, segments, waveforms, norm)
        axis.set_title(f"plane {plane}, anode at z = {detector.geometry.anode_z[plane]:.1f} cm")
    axes[0].set_ylabel("y [cm]")
    axes[0].plot([], [], color=TRUTH, lw=1, label="true segments")
    axes[0].legend(loc="upper left", facecolor=PAPER, edgecolor="none")
    left.colorbar(mesh, ax=axes, shrink=0.8, pad=0.02, label="charge per pixel [electrons]")
    near, below = right.subfigures(2, 1, height_ratios=[1, 2], facecolor=PAPER)
    draw_near(near.subplots(), detector.geometry, segments, waveforms, norm)
    draw_waveforms(below, waveforms)
    return figure


def draw_plane(
    axis: Any, geometry: Any, plane: int, segments: Any, waveforms: Any, norm: Any, width: float = 0.5
) -> Any:
    """The charge of each pixel of a plane in colour, and the true segments in its TPC."""
    here = waveforms.plane == plane
    image = np.zeros((geometry.n_x[plane], geometry.n_y[plane]))
    np.add.at(image, (waveforms.ix[here], waveforms.iy[here]), waveforms.charge[here, -1])
    x = geometry.x_low[plane] + geometry.pitch[plane] * np.arange(geometry.n_x[plane] + 1)
    y = geometry.y_low[plane] + geometry.pitch[plane] * np.arange(geometry.n_y[plane] + 1)
    mesh = axis.pcolormesh(x, y, np.ma.masked_less(image.T, 1.0), norm=norm, cmap="inferno")
    low, high = np.sort([geometry.anode_z[plane], geometry.cathode_z[plane]])
    middle_z = (segments.z_start + segments.z_end) / 2
    truth = segments.select((middle_z > low) & (middle_z < high))
    axis.plot([truth.x_start, truth.x_end], [truth.y_start, truth.y_end], color=TRUTH, lw=width)
    axis.set(xlabel="x [cm]", aspect="equal", xlim=x[[0, -1]], ylim=y[[0, -1]])
    return mesh


def draw_near(axis: Any, geometry: Any, segments: Any, waveforms: Any, norm: Any) -> None:
    """The neighbourhood of the brightest pixel."""
    brightest = waveforms.charge[:, -1].argmax()
    plane, pitch = waveforms.plane[brightest], geometry.pitch[waveforms.plane[brightest]]
    x = geometry.x_low[plane] + pitch * (waveforms.ix[brightest] + 0.5)
    y = geometry.y_low[plane] + pitch * (waveforms.iy[brightest] + 0.5)
    draw_plane(axis, geometry, plane, segments, waveforms, norm, width=1.2)
    axis.set(xlim=(x - 8, x + 8), ylim=(y - 2.7, y + 2.7), ylabel="y [cm]")
    axis.text(0.02, 0.9, f"plane {plane}, around its brightest pixel", transform=axis.transAxes, fontsize=9)


def draw_waveforms(figure: Any, waveforms: Any) -> None:
    """The charge that the two brightest pixels of each event have seen, as a function of time."""
    events = np.unique(waveforms.event)
    for event, row in zip(events, figure.subplots(len(events), 2, squeeze=False), strict=True):
        pixels = np.flatnonzero(waveforms.event == event)
        brightest = pixels[np.argsort(-waveforms.charge[pixels, -1])]
        for pixel, axis in zip(brightest, row, strict=False):
            charge = waveforms.charge[pixel]
            t = waveforms.start[pixel] + waveforms.tick * np.arange(len(charge))
            rising = np.flatnonzero((charge > 1e-3 * charge[-1]) & (charge < 0.999 * charge[-1]))
            axis.plot(t, charge / 1e3, color=SIGNAL, lw=1.8)
            axis.fill_between(t, charge / 1e3, color=SIGNAL, alpha=0.15, lw=0)
            axis.set(xlim=(t[rising[0]] - 2, t[rising[-1]] + 2), ylim=(0, None))
            where = f"plane {waveforms.plane[pixel]}, pixel ({waveforms.ix[pixel]}, {waveforms.iy[pixel]})"
            axis.set_title(f"event {event}, {where}", fontsize=9)
            axis.grid(color="#2a2f3d", lw=0.6)
    figure.supxlabel("time [us]", color=INK, fontsize=10)
    figure.supylabel("charge seen [1000 electrons]", color=INK, fontsize=10)


if __name__ == "__main__":
    main()
