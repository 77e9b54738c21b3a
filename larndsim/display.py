"""One event at a glance: pixel planes, drift times, a view in space, and what the brightest pixels saw.

Everything that is drawn comes from a file of hits; the true segments and the waveforms from the file of segments that
it was made of. Hits of electronics expected are drawn with their probability as opacity, and with their spreads.
Lengths in cm, times in us, charges in electrons.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .data.segments import Segments
from .data.waveforms import Waveforms
from .detector import Geometry, Parameters, load_channel_maps, load_detector, pixel_centre
from .errors import ArgumentError
from .io import read_hits, read_hits_info, read_segments
from .simulation import Simulator

INK, PAPER, FRAME, GRID = "#e8e6e3", "#10131c", "#555a66", "#2a2f3d"
TRUTH, SIGNAL, LEVEL, HIT = "#5fd7ff", "#ffb454", "#ff6b6b", "#9be564"
COLOURS, DARKEST = "inferno", 0.15  # without its darkest part, which would be lost on the paper
STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor"), INK),
    **{"axes.edgecolor": FRAME, "axes.facecolor": PAPER, "figure.facecolor": PAPER, "savefig.facecolor": PAPER},
    **{"font.size": 10, "axes.titlesize": 10, "legend.facecolor": PAPER, "legend.edgecolor": "none"},
}
HALO: Any = {"colors": "#2d586c", "capstyle": "round"}  # behind the hits, and wider; opaque, so that they don't add up
WIDTH = 4.0  # of a halo, points; where pixels are wider, a thin line is drawn over them, too
PLANES, PIXELS = 2, 4  # how many are shown at most: those with the most charge
MARGIN, CLOSEST = 3.0, 0.3  # around the hits, cm; the least part of a plane that is shown


class Event(NamedTuple):
    """What there is to draw of an event; without a file of segments, `segments` and `waveforms` are None."""

    number: int
    hits: np.ndarray
    geometry: Geometry
    velocity: np.ndarray  # (module,) cm/us, that turned the times of hits into z
    info: dict[str, Any]
    segments: Segments | None = None
    waveforms: Waveforms | None = None
    threshold: np.ndarray | None = None  # (plane, ix, iy)


def load_event(path: Any, number: int, segments: Any = None) -> Event:
    """An event of a file of hits. `segments` names another file of segments than that which the hits were made of."""
    info = read_hits_info(path)
    if not isinstance(info.get("detector"), dict):
        raise ArgumentError("path", "say which detector it is of", f"{path} does not", "Write it with `simulate`.")
    hits = read_hits(path, events=[number])
    described = info["detector"]
    geometry = Geometry(**{name: np.array(column) for name, column in described["geometry"].items()})
    velocity = np.broadcast_to(described["vdrift_static"], (int(geometry.module.max()) + 1,))
    event = Event(number, hits, geometry, velocity, info)
    source = segments if segments is not None else info.get("input")
    if segments is None and (source is None or not os.path.exists(source)):
        _check_there(hits, path, number)
        return event
    return _with_truth(event, read_segments(str(source), events=[number]))


def _check_there(hits: np.ndarray, path: Any, number: int) -> None:
    """Refuse an event of which there is nothing at all."""
    if len(hits) == 0:
        known = np.unique(read_hits(path)["event"])
        held = f"It holds {len(known)} events from {known.min()} to {known.max()}." if len(known) else "It is empty."
        raise ArgumentError("event", "be one with hits", f"{path} has none of event {number}", held)


def _with_truth(event: Event, segments: Segments) -> Event:
    """The event with its segments, and with its waveforms if the detector is known here."""
    event = event._replace(segments=segments)
    source, layout = event.info.get("detector_source", event.info["detector"]["name"]), event.info.get("layout_source")
    try:
        detector = load_detector(source, layout=layout)
        maps = event.info.get("channel_maps") or {}
        files = {"thresholds": maps.get("thresholds"), "fill_channels": bool(maps.get("fill-channels"))}
        threshold = load_channel_maps(files, detector)["thresholds"] if files["thresholds"] else None
    except ArgumentError:
        return event
    linked = bool(event.info.get("link_vdrift_eField"))
    model = event.info.get("recombination", "birks")
    simulator = Simulator(detector, backend="numpy", recombination=model, link_vdrift_eField=linked)
    parameters = Parameters(**{name: _array(value) for name, value in event.info["parameters"].items()})
    waveforms = simulator.charge(simulator.prepare(segments, parameters, vary=()), parameters)
    if threshold is None:
        own = np.broadcast_to(detector.electronics.threshold, (len(event.velocity),))[event.geometry.module]
        threshold = np.broadcast_to(own[:, None, None], event.geometry.shape)
    return event._replace(waveforms=waveforms, threshold=threshold)


def _array(value: Any) -> Any:
    return np.array(value) if isinstance(value, list) else value


def draw_event(event: Event) -> Any:
    """The figure (matplotlib)."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(17, 10.5), layout="constrained")
        engine: Any = figure.get_layout_engine()
        engine.set(w_pad=0.08, h_pad=0.08)
        figure.suptitle(_title(event), x=0.01, ha="left", fontsize=13)
        left, right = figure.subfigures(1, 2, width_ratios=[1.05, 1])  # type: ignore[misc]
        norm = _norm(event)
        _draw_planes(left, event, norm)
        if event.waveforms is None or not len(event.waveforms.event):
            _draw_space(right, event, norm)
        else:
            above, below = right.subfigures(2, 1, height_ratios=[1.15, 1])
            _draw_space(above, event, norm)
            _draw_pixels(below, event)
        figure.canvas.draw()  # now, while the style holds
    return figure


def _title(event: Event) -> str:
    """The event in a few words."""
    words = [f"{event.info['detector']['name']}, event {event.number}"]
    if event.segments is not None:
        number = len(event.segments.dE)
        words.append(f"{number} true segment{'s' * (number != 1)}, {event.segments.dE.sum():.3g} MeV")
    chance = _probability(event.hits)
    number_of_hits = f"{chance.sum():.4g} expected" if _predicted(event.hits) else len(event.hits)
    words.append(f"{number_of_hits} hit{'s' * (len(event.hits) != 1)}")
    total = (chance * event.hits["charge"]).sum()
    words.append(f"{total / 1e6:.2f} million electrons" if total > 1e6 else f"{total / 1e3:.1f} thousand electrons")
    return "   |   ".join(words)


def _predicted(hits: np.ndarray) -> bool:
    """Whether hits are only more or less likely."""
    return "probability" in (hits.dtype.names or ())


def _probability(hits: np.ndarray) -> np.ndarray:
    """How likely each hit is; those that there are have 1. Axis: (hit,)."""
    return hits["probability"].clip(0.0, 1.0) if _predicted(hits) else np.ones(len(hits))


def _hit_colours(hits: np.ndarray, norm: Any) -> np.ndarray:
    """Colour by charge, opacity by probability. Axes: (hit, 4)."""
    colours = _colours()(norm(hits["charge"]))
    colours[:, 3] = _probability(hits)
    return colours


def _norm(event: Event) -> Any:
    """Colours by charge, of the square root so that faint pixels show, too."""
    from matplotlib.colors import PowerNorm

    top = np.percentile(event.hits["charge"], 99.5) if len(event.hits) else 1.0
    return PowerNorm(0.6, 0, max(top, 1.0))


def _colours() -> Any:
    """The colours of charges."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[COLOURS](np.linspace(DARKEST, 1.0, 256)))


def _shown_planes(event: Event) -> list[int]:
    """The planes with the most charge, in order."""
    charge = _probability(event.hits) * event.hits["charge"]
    total = np.bincount(event.hits["plane"], weights=charge, minlength=event.geometry.n_planes)
    return sorted(np.argsort(-total, kind="stable")[:PLANES].tolist())


def _drift_time(event: Event, plane: Any, z: np.ndarray) -> np.ndarray:
    """How long charge drifts from z to the anode of its plane."""
    g = event.geometry
    return g.direction[plane] * (g.anode_z[plane] - z) / event.velocity[g.module[plane]]


def _draw_planes(figure: Any, event: Event, norm: Any) -> None:
    """A column per plane: its pixels with their charge, and below the drift times of the hits."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    planes = _shown_planes(event)
    axes = figure.subplots(2, len(planes), squeeze=False, sharex="col", sharey="row", height_ratios=[2, 1])
    for plane, (above, below), window in zip(planes, axes.T, _windows(event, planes), strict=True):
        width = 230 * event.geometry.pitch[plane] / np.ptp(window[0])  # of a pixel, in points
        mesh = _draw_plane(above, event, plane, norm, width)
        _draw_drift(below, event, plane, norm, width)
        above.set(xlim=window[0], ylim=window[1], aspect="equal")
        above.set_title(f"plane {plane}, anode at z = {event.geometry.anode_z[plane]:.1f} cm")
        below.set_xlabel("x [cm]")
        below.set_box_aspect(0.5 * np.ptp(above.get_ylim()) / np.ptp(above.get_xlim()))  # as wide as the one above
    axes[0, 0].set_ylabel("y [cm]")
    axes[1, 0].set_ylabel("drift time [us]")
    if event.segments is not None:
        axes[0, 0].plot([], [], color=HALO["colors"], lw=WIDTH, label="true segments")
        axes[0, 0].legend(loc="upper left")
    top = norm.vmax
    ticks = [tick for tick in MaxNLocator(7).tick_values(0, top) if tick <= top]
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, pad=0.02, extend="max", ticks=ticks)
    bar.set_label("charge of a pixel, of a hit [1000 electrons]")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda charge, _: f"{charge / 1e3:g}"))


def _windows(event: Event, planes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is shown of each plane: x and y limits, near the hits where the planes lie one behind the other.

    A window has the proportions of the plane, so that every event has the same layout.
    """
    g, hits = event.geometry, event.hits[np.isin(event.hits["plane"], planes)]
    whole = [(np.array(x), np.array(y)) for x, y, _ in (_borders(g, plane) for plane in planes)]
    alike = all(np.allclose(one, whole[0], atol=0.1) for one in whole)
    if not alike or len(hits) == 0:
        return whole
    low, high = (np.array([side[end] for side in whole[0]]) for end in (0, 1))
    first, last = (np.array([pick(hits["x"]), pick(hits["y"])]) for pick in (np.min, np.max))
    part = np.clip(((last - first + 2 * MARGIN) / (high - low)).max(), CLOSEST, 1.0)
    size = part * (high - low)
    start = np.clip((first + last - size) / 2, low, high - size)
    x, y = np.stack([start, start + size], axis=1)
    return [(x, y)] * len(planes)


def _draw_plane(axis: Any, event: Event, plane: int, norm: Any, width: float) -> Any:
    """Charge of each pixel of a plane in colour, and the true segments in its TPC."""
    g, hits = event.geometry, event.hits[event.hits["plane"] == plane]
    image = np.zeros((g.n_x[plane], g.n_y[plane]))
    np.add.at(image, (hits["ix"], hits["iy"]), _probability(hits) * hits["charge"])
    x = g.x_low[plane] + g.pitch[plane] * np.arange(g.n_x[plane] + 1)
    y = g.y_low[plane] + g.pitch[plane] * np.arange(g.n_y[plane] + 1)
    mesh = axis.pcolormesh(x, y, np.ma.masked_less_equal(image.T, 0.0), norm=norm, cmap=_colours(), rasterized=True)
    truth = _within(event, plane)
    if truth is not None:
        _draw_truth(axis, [truth.x_start, truth.y_start], [truth.x_end, truth.y_end], width)
    return mesh


def _draw_truth(axis: Any, start: Sequence[np.ndarray], end: Sequence[np.ndarray], width: float) -> None:
    """True segments as halos behind the hits: they show where there are none, and hide none.

    Pixels are `width` points wide.
    """
    from matplotlib.collections import LineCollection

    lines = np.stack([np.stack(start, axis=1), np.stack(end, axis=1)], axis=1)
    axis.add_collection(LineCollection(list(lines), zorder=0.5, lw=WIDTH, **HALO), autolim=False)
    if width > WIDTH:
        axis.add_collection(LineCollection(list(lines), zorder=4, lw=0.8, colors=TRUTH), autolim=False)


def _draw_drift(axis: Any, event: Event, plane: int, norm: Any, width: float) -> None:
    """Drift times of the hits of a plane over x, and those of the true segments; a pixel is `width` points wide."""
    g, hits = event.geometry, event.hits[event.hits["plane"] == plane]
    longest = g.drift_length[plane] / event.velocity[g.module[plane]]
    times = _drift_time(event, plane, hits["z"])
    size = np.clip(width, 2.0, WIDTH) ** 2
    axis.scatter(hits["x"], times, color=_hit_colours(hits, norm), s=size, marker="s", lw=0, rasterized=True)
    truth = _within(event, plane)
    if truth is not None:
        ends = [_drift_time(event, plane, z) + truth.t - _begin(event) for z in (truth.z_start, truth.z_end)]
        _draw_truth(axis, [truth.x_start, ends[0]], [truth.x_end, ends[1]], width)
    axis.axhline(longest, color=FRAME, lw=0.8, ls=":")
    axis.set_ylim(-0.04 * longest, 1.06 * longest)
    axis.grid(color=GRID, lw=0.6)


def _begin(event: Event) -> float:
    """When the event begins, us."""
    return float(event.segments.t.min()) if event.segments is not None else 0.0


def _within(event: Event, plane: int) -> Segments | None:
    """The true segments whose middle lies in the TPC of a plane."""
    if event.segments is None:
        return None
    s, g = event.segments, event.geometry
    middles = [(a + b) / 2 for a, b in ((s.x_start, s.x_end), (s.y_start, s.y_end), (s.z_start, s.z_end))]
    inside = np.ones(len(s.dE), dtype=bool)
    for middle, (low, high) in zip(middles, _borders(g, plane), strict=True):
        inside &= (middle >= low) & (middle <= high)
    return s.select(inside)


def _borders(g: Geometry, plane: int) -> list[tuple[float, float]]:
    """Low and high x, y, z of a TPC."""
    z = sorted((float(g.anode_z[plane]), float(g.cathode_z[plane])))
    return [(g.x_low[plane], g.x_high[plane]), (g.y_low[plane], g.y_high[plane]), (z[0], z[1])]


def _draw_space(figure: Any, event: Event, norm: Any) -> None:
    """The hits in space, in the boxes of the TPCs, with the true segments."""
    from mpl_toolkits.mplot3d.art3d import Line3DCollection  # type: ignore[import-untyped]

    axis = figure.add_subplot(projection="3d", computed_zorder=False)
    boxes = [_borders(event.geometry, plane) for plane in _shown_planes(event)]
    for box in boxes:
        for line in _edges(box):
            axis.plot(*line, color=FRAME, lw=0.7, zorder=1)
    if event.segments is not None:
        s = event.segments
        lines = np.array([[s.z_start, s.x_start, s.y_start], [s.z_end, s.x_end, s.y_end]]).transpose(2, 0, 1)
        axis.add_collection3d(Line3DCollection(list(lines), zorder=2, lw=WIDTH, **HALO), autolim=False)
    hits = event.hits
    axis.scatter(hits["z"], hits["x"], hits["y"], color=_hit_colours(hits, norm), s=5, lw=0, zorder=3)
    sides = np.array(boxes)
    (x, y, z) = zip(sides[:, :, 0].min(axis=0), sides[:, :, 1].max(axis=0), strict=True)
    axis.set(xlim=z, ylim=x, zlim=y, xlabel="z [cm]", ylabel="x [cm]", zlabel="y [cm]")
    axis.locator_params(nbins=5)
    for side in (axis.xaxis, axis.yaxis, axis.zaxis):
        side.labelpad = 5
    axis.set_box_aspect([float(np.ptp(side)) for side in (z, x, y)], zoom=1.02)
    axis.view_init(elev=18, azim=-58)
    for side in (axis.xaxis, axis.yaxis, axis.zaxis):
        side.set_pane_color((0, 0, 0, 0))
        side._axinfo["grid"].update(color=GRID, linewidth=0.5)


def _edges(box: Sequence[tuple[float, float]]) -> list[tuple[Any, Any, Any]]:
    """The twelve edges of a box, as (z, x, y) of both ends."""
    x, y, z = box
    lines: list[tuple[Any, Any, Any]] = [(z, (a, a), (b, b)) for a in x for b in y]
    lines += [((a, a), x, (b, b)) for a in z for b in y]
    return lines + [((a, a), (b, b), y) for a in z for b in x]


def _draw_pixels(figure: Any, event: Event) -> None:
    """What the brightest pixels saw since their last reset, with the threshold and the hits."""
    waveforms: Any = event.waveforms
    brightest = np.argsort(-waveforms.charge[:, -1])[:PIXELS]
    axes = figure.subplots(2, PIXELS // 2)
    for pixel, axis in zip(brightest, axes.ravel(), strict=False):
        _draw_pixel(axis, event, int(pixel))
    for axis in axes.ravel()[len(brightest) :]:
        axis.set_axis_off()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), fontsize=9)
    figure.supxlabel("time since the event began [us]", fontsize=10)
    figure.supylabel("charge since the last reset [1000 electrons]", fontsize=10)


def _draw_pixel(axis: Any, event: Event, pixel: int) -> None:
    """One pixel: its charge falls back to zero after each hit, if that is more likely than not."""
    w: Any = event.waveforms
    plane, ix, iy = (int(column[pixel]) for column in (w.plane, w.ix, w.iy))
    hits = event.hits
    hits = hits[(hits["plane"] == plane) & (hits["ix"] == ix) & (hits["iy"] == iy)]
    electronics = event.info["detector"]["electronics"]
    hold, reset = electronics["hold_ticks"], electronics["reset_ticks"]
    began = _begin(event)
    time = w.start[pixel] + w.tick * np.arange(w.charge.shape[1])
    charge = w.charge[pixel].astype(float)
    end = w.tick * (hits["tick"] + hold)
    resets = end[_probability(hits) > 0.5] + w.tick * reset
    level = np.append(0.0, np.interp(resets, time, charge))
    since = charge - level[np.searchsorted(resets, time, side="right")]
    seen = np.flatnonzero((charge > 1e-3 * charge[-1]) & (charge < 0.999 * charge[-1]))
    axis.plot(time - began, since / 1e3, color=SIGNAL, lw=1.6, label="charge, without noise")
    axis.fill_between(time - began, since / 1e3, color=SIGNAL, alpha=0.15, lw=0)
    threshold: Any = event.threshold
    axis.axhline(threshold[plane, ix, iy] / 1e3, color=LEVEL, lw=1, ls="--", label="threshold")
    seen_at = w.tick * hits["tick"] - began
    _draw_hits(axis, hits, seen_at, end - began, w.tick)
    first, last = (time[seen[[0, -1]]] if len(seen) else time[[0, -1]]) - began
    axis.set(xlim=(first - 2, max(last, (end - began).max(initial=last)) + 3), ylim=(0, None))
    x, y = pixel_centre(event.geometry, np.array(plane), np.array(ix), np.array(iy))
    axis.set_title(f"plane {plane}, pixel ({ix}, {iy}) at x = {x:.1f}, y = {y:.1f} cm", fontsize=9)
    axis.grid(color=GRID, lw=0.6)


def _draw_hits(axis: Any, hits: np.ndarray, seen_at: np.ndarray, end: np.ndarray, tick: float) -> None:
    """When the threshold was seen, and what was digitised; of hits that are only likely the means and spreads."""
    for index in range(len(hits)):
        chance, charge = _probability(hits)[index], hits["charge"][index] / 1e3
        what = "hit, mean and spread" if _predicted(hits) else "hit, as digitised"
        labels: Any = ("threshold seen", what) if index == 0 else (None, None)
        axis.vlines(seen_at[index], 0, charge, color=HIT, lw=0.9, ls=":", alpha=chance, label=labels[0])
        spread = {}
        if _predicted(hits):
            spread = {"xerr": tick * hits["tick_spread"][index], "yerr": hits["charge_spread"][index] / 1e3}
        axis.errorbar(end[index], charge, **spread, fmt="o", color=HIT, ms=4, lw=0.9, alpha=chance, label=labels[1])
