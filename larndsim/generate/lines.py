"""Straight lines and boxes, and random ones. Lengths in cm; the last axis of every point is [x, y, z]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Boxes(NamedTuple):
    """Boxes along the axes, by two corners. Axes: (box, [x, y, z])."""

    low: np.ndarray
    high: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """Lengths of the sides. Axes: (box, [x, y, z])."""
        return self.high - self.low

    def hull(self) -> Boxes:
        """The one box around all of them."""
        return Boxes(self.low.min(axis=0, keepdims=True), self.high.max(axis=0, keepdims=True))

    def select(self, index: np.ndarray) -> Boxes:
        """The boxes that `index` picks."""
        return Boxes(self.low[index], self.high[index])

    def hold(self, points: np.ndarray) -> np.ndarray:
        """Whether any box holds each point. Axis: (point,)."""
        points = points[:, None]
        return np.any(np.all((points >= self.low) & (points <= self.high), axis=-1), axis=-1)


class Line(NamedTuple):
    """One line or many: a point of each, and its unit vector. Axes: (..., [x, y, z])."""

    start: np.ndarray
    direction: np.ndarray

    def at(self, distance: np.ndarray) -> np.ndarray:
        """The point at a `distance` (...,) from the start of each line, or several points of one line."""
        return self.start + distance[..., None] * self.direction

    def crossings(self, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
        """Distances at which each line enters and leaves each box; it misses where enter > leave. Axes: (..., box)."""
        with np.errstate(divide="ignore"):
            inverse = 1 / self.direction[..., None, :]
        low = (boxes.low - self.start[..., None, :]) * inverse
        high = (boxes.high - self.start[..., None, :]) * inverse
        return np.minimum(low, high).max(axis=-1), np.maximum(low, high).min(axis=-1)


def turned(direction: np.ndarray, cosine: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Unit vectors at an angle of the given `cosine` to `direction`, turned around it by `azimuth`."""
    direction, cosine = np.broadcast_to(direction, (*np.shape(azimuth), 3)), np.asarray(cosine)[..., None]
    least = np.eye(3)[np.abs(direction).argmin(axis=-1)]  # the axis that is furthest from the direction
    side = np.cross(direction, least)
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    around = np.cos(azimuth)[..., None] * side + np.sin(azimuth)[..., None] * np.cross(direction, side)
    return cosine * direction + np.sqrt(1 - cosine**2) * around


def isotropic(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors in all directions alike. Axes: (vector, [x, y, z])."""
    return turned(np.array([0.0, 1.0, 0.0]), rng.uniform(-1, 1, count), rng.uniform(0, 2 * np.pi, count))


def from_above(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors with downward y, as many per solid angle as the squared cosine of the zenith angle."""
    return turned(np.array([0.0, -1.0, 0.0]), np.cbrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count))


def line_through(
    rng: np.random.Generator, box: Boxes, directions: Callable[[np.random.Generator, int], np.ndarray]
) -> tuple[Line, float]:
    """A random line of a flux through one box, from where it enters, and how long it stays inside.

    Every direction meets a disc that hides the box: so those that see a larger box are favoured as in nature.
    Lines that cut off less than half the box's shortest side are drawn again.
    """
    middle, radius = (box.low + box.high) / 2, np.linalg.norm(box.sides) / 2
    while True:
        direction = directions(rng, 64)
        offset = turned(direction, np.zeros(64), rng.uniform(0, 2 * np.pi, 64))
        lines = Line(middle + radius * np.sqrt(rng.random(64))[:, None] * offset, direction)
        enter, leave = (distance[:, 0] for distance in lines.crossings(box))
        if (hits := leave - enter > box.sides.min() / 2).any():
            i = int(hits.argmax())
            return Line(lines.at(enter)[i], direction[i]), float(leave[i] - enter[i])


def line_within(rng: np.random.Generator, boxes: Boxes, length: float, tries: int = 4096) -> Line | None:
    """A random start and direction such that the first `length` lies in one box, None if none is found."""
    volume = boxes.sides.prod(axis=1)
    box = boxes.select(rng.choice(len(volume), tries, p=volume / volume.sum()))
    lines = Line(box.low + rng.random((tries, 3)) * box.sides, isotropic(rng, tries))
    end = lines.at(np.full(tries, length))
    fits = np.all((end >= box.low) & (end <= box.high), axis=1)
    i = int(fits.argmax())
    return Line(lines.start[i], lines.direction[i]) if fits[i] else None
