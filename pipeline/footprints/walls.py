"""Contours divided into walls at the corners of their simplified forms, all buildings at once."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.footprints.tables import Bool, Float, Int, Polygons

Complex = NDArray[np.complex128]
"""Points and vectors of the plane: to turn is to multiply."""
TICKS = 1 << 20
"""Positions along walls, per metre."""


@dataclass(frozen=True, slots=True)
class Contours:
    """Rings of buildings, each of which starts with a corner."""

    points: Complex
    """Their points, not closed, m."""
    rings: Int
    """Offsets of rings in the points."""
    parts: Int
    """Offsets of buildings in the rings."""
    starts: Int
    """Indices of the corners: where walls start."""

    @classmethod
    def of(cls, contours: Polygons, simple: Polygons) -> "Contours":
        """Contours whose corners are the vertices of their simplified forms, both in metres."""
        points, rings, parts = _open(contours)
        corner = _among(points, shapely.get_coordinates(simple))
        index = rolled(rings, firsts(corner, rings))
        corner = corner[index]
        corner[rings[:-1]] = True
        return cls(points[index], rings, parts, np.flatnonzero(corner))

    @property
    def walls(self) -> Int:
        """Offsets of rings in the walls."""
        return np.searchsorted(self.starts, self.rings)

    @property
    def counts(self) -> Int:
        """Points of each wall."""
        return np.diff(np.append(self.starts, len(self.points)))

    def spans(self) -> Complex:
        """Vector from the corner of each wall to the next one."""
        return sides(self.points[self.starts], self.walls)

    def middles(self) -> tuple[Complex, Float]:
        """Middles of the sides between points, and how much each says about its wall.

        A side counts by its length, and by s (1 - s) where it lies at a share s of the wall: the ends of a wall are
        rounded by the blur of the image.
        """
        steps = sides(self.points, self.rings)
        length = np.abs(steps)
        ticks = np.rint(length * TICKS).astype(np.int64)
        ends = np.cumsum(ticks)
        begin = np.repeat((ends - ticks)[self.starts], self.counts)
        whole = np.repeat(np.add.reduceat(ticks, self.starts), self.counts)
        share = (ends - ticks / 2 - begin) / np.maximum(whole, 1)
        # ^ running sums of integers, so that the buildings before a wall leave no trace in its last bits
        return self.points + steps / 2, length * share * (1 - share) + 1e-12

    def means(self, values: Complex, weights: Float) -> Complex:
        """Weighted mean over each wall of what its sides have."""
        return np.asarray(np.add.reduceat(values * weights, self.starts) / np.add.reduceat(weights, self.starts))


def _open(polygons: Polygons) -> tuple[Complex, Int, Int]:
    """Points as complex numbers, without the repeated last one of each ring; offsets of rings and of polygons."""
    _, points, (rings, parts) = shapely.to_ragged_array(polygons)
    keep = np.ones(len(points), np.bool_)
    keep[rings[1:] - 1] = False
    plane: Complex = np.ascontiguousarray(points[keep]).view(np.complex128)[:, 0]
    return plane, rings.astype(np.int64) - np.arange(len(rings)), parts.astype(np.int64)


def _among(points: Complex, corners: Float) -> Bool:
    """Which points are among the corners, bit by bit."""
    one, other = points.view(np.int64).reshape(-1, 2), np.ascontiguousarray(corners).view(np.int64)
    return np.isin(one[:, 0] * 0x1F3D5B79 + one[:, 1], other[:, 0] * 0x1F3D5B79 + other[:, 1])


def rolled(rings: Int, shift: Int) -> Int:
    """Indices that turn each ring by its shift."""
    ring = np.repeat(np.arange(len(shift)), np.diff(rings))
    local = np.arange(rings[-1]) - rings[ring]
    return rings[ring] + (local + shift[ring]) % np.diff(rings)[ring]


def firsts(flags: Bool, rings: Int) -> Int:
    """Place in its ring of the first flag of each ring; 0 where there is none."""
    where = np.flatnonzero(flags)
    first = np.append(where, rings[-1])[np.searchsorted(where, rings[:-1])]
    return np.where(first < rings[1:], first - rings[:-1], 0)


def sides(points: Complex, rings: Int) -> Complex:
    """Vectors from each point to the next of its ring."""
    following: Complex = np.r_[points[1:], points[:1]]
    following[rings[1:] - 1] = points[rings[:-1]]
    return following - points
