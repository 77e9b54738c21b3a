"""What the pictures of runs and scans show."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from optimize.plots import STYLE, distance, draw_all, draw_convergence, draw_correlations, draw_losses, draw_parameters
from optimize.scan_plots import ARROWS, draw_scan
from optimize.scans import Scan
from tests.optimize.test_residuals import collected

pytest.importorskip("matplotlib")
NAMES = ("Ab", "kb", "lifetime")
TARGETS = (0.82, 0.05, 2000.0)


def run(rows=5, shift=0.0, name="one"):
    """A run that comes nearer by a factor of ten with each iteration."""
    number = np.arange(rows)
    off = (0.1 + shift) * 10.0**-number
    column = np.array(TARGETS) * (1 + off[:, None])
    found = {n: {"value": t, "error": 0.01 * t, "target": t} for n, t in zip(NAMES, TARGETS, strict=True)}
    correlation = [[1.0, -0.001, None], [-0.001, 1.0, None], [None, None, None]]
    return SimpleNamespace(
        names=NAMES,
        name=name,
        history={"iteration": number, "parameters": column, "loss": off**2},
        result={"parameters": found, "correlation": correlation},
        target=lambda n: found[n]["target"],
        residuals=None,
    )


def test_parameters_with_targets_and_errors():
    axes = draw_parameters([run()]).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["Ab", "kb  [(kV/cm)(g/cm2)/MeV]", "lifetime  [us]"]
    for axis, target in zip(axes, TARGETS, strict=True):
        curve, dashed = axis.lines
        np.testing.assert_allclose(curve.get_ydata()[-1], target, rtol=1e-4)
        assert set(dashed.get_ydata()) == {target}
        (band,) = axis.patches
        assert band.get_extents().height > 0
        assert axis.get_xlabel() == ("" if axis is axes[0] else "iteration")


def test_many_runs_are_told_apart():
    runs = [run(name="one"), run(3, 0.1, name="two")]
    figure = draw_parameters(runs)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 2
    assert not figure.axes[0].patches
    assert len(draw_losses(runs).axes[0].lines) == 2


def test_convergence_is_the_distance_in_percent_and_its_median():
    runs = [run(), run(3, 0.1), run(5, 0.2)]
    np.testing.assert_allclose(distance(runs[0], "kb"), [10, 1, 0.1, 0.01, 0.001], rtol=1e-6)
    axis = draw_convergence(runs).axes[1]
    assert axis.get_yscale() == "log"
    np.testing.assert_allclose(axis.lines[-1].get_ydata()[:3], [20, 2, 0.2], rtol=1e-6)
    assert len(draw_convergence(runs[:1]).axes[0].lines) == 1  # it is its own median


def test_correlations_say_what_is_not_known():
    words = [text.get_text() for text in draw_correlations(run()).axes[0].texts]
    assert words == ["1.00", "0.00", "-", "0.00", "1.00", "-", "-", "-", "-"]


def test_only_what_there_is_is_drawn():
    bare = run()
    bare.result, bare.target = {}, lambda name: None
    assert set(draw_all([bare])) == {"parameters", "loss"}
    assert set(draw_all([run()])) == {"parameters", "loss", "convergence", "correlations"}
    fitted = run()
    fitted.residuals = collected(batches=2)
    assert set(draw_all([fitted])) == {*draw_all([run()]), "hits", "spectrum", "drift", "pulls", "pixels"}
    assert "hits" not in draw_all([fitted, run()])


def test_pictures_leave_the_settings_of_matplotlib_alone():
    import matplotlib

    before = {name: matplotlib.rcParams[name] for name in STYLE}
    draw_all([run()])
    assert before == {name: matplotlib.rcParams[name] for name in STYLE}


def test_scan_along_a_line():
    x = np.linspace(0.8, 0.84, 5)
    scan = Scan({"Ab": x}, (x - 0.82) ** 2, 2 * (x - 0.82)[:, None], {"Ab": 0.82})
    upper, lower = draw_scan(scan).axes
    assert set(upper.lines[1].get_xdata()) == {0.82}
    _, exact, steps, _ = lower.lines
    np.testing.assert_allclose(np.interp(steps.get_xdata(), x, exact.get_ydata()), steps.get_ydata(), atol=1e-12)


def test_scan_of_a_grid_keeps_its_arrows_apart():
    x, y = np.linspace(0.8, 0.84, 40), np.linspace(500, 5000, 7)
    loss = np.add.outer((x - 0.82) ** 2, (y - 2000) ** 2 * 1e-10) + 1e-9
    gradient = np.stack(np.gradient(loss, x, y), axis=-1)
    figure = draw_scan(Scan({"Ab": x, "lifetime": y}, loss, gradient, {"Ab": 0.82, "lifetime": 2000.0}))
    (arrows,) = (item for item in figure.axes[0].collections if hasattr(item, "U"))
    assert 1 < arrows.U.size <= ARROWS**2
    assert (arrows.U[np.array(arrows.X) < 0.815] > 0).all()  # downhill
