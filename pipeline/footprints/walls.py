"""Contours divided into walls at the corners of their simplified forms, all buildings at once."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.footprints.arrays import Bool, Float, Int, Polygons, firsts, following, rolled

Complex = NDArray[np.complex128]
"""Points and vectors of the plane: to turn is to multiply."""
TICKS = 1 << 20
"""Positions along walls, per metre."""
AREA_CHANGE = 0.1
"""Largest change of the area by fitting or squaring walls, as a share of it."""


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


def sides(points: Complex, rings: Int) -> Complex:
    """Vectors from each point to the next of its ring."""
    return points[following(rings)] - points


def sound(polygons: Polygons, former: Polygons) -> Bool:
    """Whether polygons are valid and nearly as large as those that they replace."""
    areas = shapely.area(former)
    return np.asarray(shapely.is_valid(polygons) & (np.abs(shapely.area(polygons) - areas) <= AREA_CHANGE * areas))
