"""Pixels and planes."""

from __future__ import annotations

import numpy as np
import pytest

from larndsim.detector import load_detector, pixel_centre, plane_of


@pytest.fixture(scope="module")
def geometry():
    return load_detector().geometry


def plane_of_twin(g, x, y, z, margin):
    """The plane of one point, the obvious way: the first that holds it, else the first that nearly does."""
    for reach in (0.0, margin):
        for plane in range(g.n_planes):
            z_low, z_high = sorted([g.anode_z[plane], g.cathode_z[plane]])
            in_x = g.x_low[plane] - reach <= x <= g.x_high[plane] + reach
            in_y = g.y_low[plane] - reach <= y <= g.y_high[plane] + reach
            if in_x and in_y and z_low - reach <= z <= z_high + reach:
                return plane
    return -1


def test_pixel_centre(geometry):
    x, y = pixel_centre(geometry, np.array([0, 1]), np.array([0, 139]), np.array([0, 279]))
    np.testing.assert_allclose(x, [-31.039 + 0.2217, -31.039 + 139.5 * 0.4434])
    np.testing.assert_allclose(y, [-83.8626 + 0.2217, -83.8626 + 279.5 * 0.4434])
    ix = np.arange(140)
    x, _ = pixel_centre(geometry, np.zeros(140, dtype=int), ix, ix)
    assert (np.floor((x - geometry.x_low[0]) / geometry.pitch[0]) == ix).all()


@pytest.mark.parametrize(
    ("point", "plane"),
    [
        ((0.0, 0.0, -10.0), 0),
        ((0.0, 0.0, 10.0), 1),
        ((0.0, 0.0, 0.0), -1),  # inside the cathode
        ((0.0, 0.0, 30.431), 1),
        ((0.0, 0.0, 30.450), 1),
        ((0.0, 0.0, 30.452), -1),
        ((-31.05, 0.0, -10.0), 0),
        ((-31.06, 0.0, -10.0), -1),
        ((0.0, 40.23, 10.0), 1),
        ((0.0, 40.24, 10.0), -1),
        ((np.nan, 0.0, 10.0), -1),
    ],
)
def test_plane_of(geometry, point, plane):
    found = plane_of(geometry, *point)
    assert found.dtype == np.int64
    assert found == plane


def test_plane_of_equals_its_twin_and_prefers_the_proper_plane(geometry):
    # Two planes back to back, with a cathode of no thickness: the margins overlap.
    touching = geometry._replace(cathode_z=np.zeros(2))
    x, y, z = np.random.default_rng(1).uniform([[-32], [-85], [-0.05]], [[32], [41], [0.05]], size=(3, 2000))
    found = plane_of(touching, x, y, z)
    assert found.tolist() == [plane_of_twin(touching, *point, 0.02) for point in zip(x, y, z, strict=True)]
    inside = found >= 0
    assert ((found == 1) == (z > 0))[inside].all()


def test_plane_of_keeps_the_shape(geometry):
    assert plane_of(geometry, np.zeros((2, 3)), 0.0, 10.0).shape == (2, 3)
    assert plane_of(geometry, np.zeros(0), np.zeros(0), np.zeros(0)).shape == (0,)
