"""Lines, boxes, directions."""

from __future__ import annotations

import numpy as np
import pytest

from larndsim.generate.lines import Boxes, Line, from_above, isotropic, line_through, line_within, turned

BOXES = Boxes(np.array([[0.0, 0, 0], [0, 0, 2]]), np.array([[4.0, 3, 1], [4, 3, 5]]))


def test_crossings():
    line = Line(np.array([1.0, 1, -1]), np.array([0.0, 0, 1]))
    enter, leave = line.crossings(BOXES)
    np.testing.assert_allclose([enter, leave], [[1, 3], [2, 6]])
    missed = Line(np.array([9.0, 1, -1]), np.array([0.0, 0, 1])).crossings(BOXES)
    assert (missed[0] > missed[1]).all()


def test_hold_and_hull():
    points = np.array([[1, 1, 0.5], [1, 1, 1.5], [1, 1, 4], [5, 1, 4]])
    assert BOXES.hold(points).tolist() == [True, False, True, False]
    np.testing.assert_array_equal(BOXES.hull(), [[[0, 0, 0]], [[4, 3, 5]]])


def test_turned_has_the_angle_and_goes_all_around():
    rng = np.random.default_rng(2)
    direction, azimuth = isotropic(rng, 1000), rng.uniform(0, 2 * np.pi, 1000)
    result = turned(direction, np.full(1000, 0.3), azimuth)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1)
    np.testing.assert_allclose((result * direction).sum(axis=1), 0.3)
    assert np.abs((result - 0.3 * direction).mean(axis=0)).max() < 0.1


def test_directions_follow_their_distributions():
    rng = np.random.default_rng(3)
    np.testing.assert_allclose((isotropic(rng, 100_000) ** 2).mean(axis=0), 1 / 3, atol=0.005)
    down = from_above(rng, 100_000)
    assert (down[:, 1] <= 0).all()
    assert (down[:, 1] ** 2).mean() == pytest.approx(3 / 5, abs=0.005)  # of c^2 dc


def test_line_through_enters_and_leaves_at_the_border():
    rng, hull = np.random.default_rng(4), BOXES.hull()
    for _ in range(50):
        line, chord = line_through(rng, hull, isotropic)
        ends = line.at(np.array([0, chord]))
        assert chord > 1.5
        distance = np.minimum(np.abs(ends - hull.low), np.abs(ends - hull.high)).min(axis=1)
        np.testing.assert_allclose(distance, 0, atol=1e-12)
        assert hull.hold(line.at(np.array([chord / 2]))).all()


def test_line_within_stays_in_one_box():
    rng = np.random.default_rng(5)
    for _ in range(50):
        line = line_within(rng, BOXES, 2.5)
        assert line is not None
        ends = line.at(np.array([0, 2.5]))
        assert any(Boxes(low[None], high[None]).hold(ends).all() for low, high in zip(*BOXES, strict=True))
    assert line_within(rng, BOXES, 10.0) is None
