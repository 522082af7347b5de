"""Right-angled outlines along each building's main direction, for all buildings at once.

Simplified corners divide the contour into walls. Each wall takes the nearer of the two axes of its building and the
mean offset of its contour, the corners of which, rounded by the blur of the image, weigh little; walls that follow each
other on one axis become one, walls too short to mean anything are dropped with the step that they make, and
neighbouring walls intersect in the new corners. An outline that strays too far from its contour is refused.
"""

from dataclasses import dataclass, replace

import numpy as np
import shapely

from pipeline.footprints.arrays import Bool, Float, Int, Polygons, close_rings, firsts, following, preceding, rolled
from pipeline.footprints.walls import Contours, sound

SHORTEST_WALL = 1.2
"""m: steps shorter than that are noise of the contour."""
FURTHEST = 1.0
"""m: largest distance between simplified and squared outline, either way (Hausdorff, by their vertices)."""


@dataclass(frozen=True, slots=True)
class _Walls:
    """Walls of rings in a frame turned to their building's axes."""

    rings: Int
    """Offsets of rings in the walls."""
    upright: Bool
    """It runs along v, at one u; else along u, at one v."""
    offset: Float
    """That u or v, m."""
    extent: Float
    """Signed length along its axis, m."""
    weight: Float
    """How much its offset counts when walls become one: its length, m."""

    @property
    def counts(self) -> Int:
        """Walls of each ring."""
        return np.diff(self.rings)

    @property
    def following(self) -> Int:
        """Index of the next wall of the ring."""
        return following(self.rings)

    @property
    def preceding(self) -> Int:
        """Index of the wall before it."""
        return preceding(self.rings)

    def merged(self, group: Int, rings: Int) -> "_Walls":
        """One wall for each run of equal numbers in ``group``, which ascend."""
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        weight = np.add.reduceat(self.weight, starts)
        offset = np.add.reduceat(self.weight * self.offset, starts) / weight
        extent = np.add.reduceat(self.extent, starts)
        return _Walls(np.searchsorted(starts, rings), self.upright[starts], offset, extent, weight)

    def take(self, index: Int, rings: Int) -> "_Walls":
        """Some walls, in that order."""
        return _Walls(rings, self.upright[index], self.offset[index], self.extent[index], self.weight[index])


def square(contours: Polygons, simple: Polygons) -> tuple[Polygons, Bool]:
    """Square outlines.

    Args:
        contours: Polygons in metres, with the vertices of the contour.
        simple: The same, simplified: their vertices are some of the contours'.

    Returns:
        Right-angled polygons, and whether each is within the bounds; where it is not, it is the simplified one.
    """
    if not len(contours):
        return simple, np.zeros(0, np.bool_)
    straight = Contours.of(contours, simple)
    angle = _directions(straight)
    of_point = np.repeat(angle, np.diff(straight.rings[straight.parts]))
    walls, fits = _tidy(_alternate(_walls(replace(straight, points=straight.points * np.exp(-1j * of_point)))))
    squared = _polygons(walls, fits, np.repeat(angle, np.diff(straight.parts)), straight.parts)
    whole = np.logical_and.reduceat(fits, straight.parts[:-1])
    squared = np.where(whole, squared, simple)
    good = whole & within_bounds(squared, simple)
    return np.where(good, squared, simple), good


def within_bounds(squared: Polygons, simple: Polygons) -> Bool:
    """Whether outlines are valid and close to the simplified ones in area and distance."""
    good = sound(squared, simple)
    good[good] &= _near(squared[good], simple[good])
    good[good] &= _near(simple[good], squared[good])
    return good


def _near(polygons: Polygons, others: Polygons) -> Bool:
    """Whether all vertices of each polygon lie within ``FURTHEST`` of another's outline."""
    lines = shapely.boundary(others)
    shapely.prepare(lines)
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    far = ~shapely.dwithin(lines[owner], shapely.points(points), FURTHEST)
    return np.asarray(np.bincount(owner[far], minlength=len(polygons)) == 0)


def _directions(contours: Contours) -> Float:
    """Main direction of each building, radians: the mean over its walls modulo a right angle, by squared length."""
    spans = contours.spans()
    length = np.abs(spans)
    fourfold = length**2 * (spans / np.where(length > 0, length, 1)) ** 4
    return np.asarray(np.angle(np.add.reduceat(fourfold, contours.walls[contours.parts[:-1]])) / 4)


def _walls(contours: Contours) -> _Walls:
    """Walls on the axes; the middle of a wall decides its offset."""
    mean, span = contours.means(*contours.middles()), contours.spans()
    upright = np.abs(span.imag) > np.abs(span.real)
    extent = np.where(upright, span.imag, span.real)
    offset = np.where(upright, mean.real, mean.imag)
    return _Walls(contours.walls, upright, offset, extent, np.abs(extent) + 1e-9)


def _alternate(walls: _Walls) -> _Walls:
    """Walls that follow each other on one axis become one."""
    change = walls.upright != walls.upright[walls.preceding]
    walls = walls.take(rolled(walls.rings, firsts(change, walls.rings)), walls.rings)
    change = walls.upright != walls.upright[walls.preceding]
    change[walls.rings[:-1]] = True
    return walls.merged(np.cumsum(change), walls.rings)


def _tidy(walls: _Walls) -> tuple[_Walls, Bool]:
    """Drop walls that are too short, or turned back, shortest first; and whether each ring is still a shape."""
    while True:
        length = np.sign(walls.extent) * (walls.offset[walls.following] - walls.offset[walls.preceding])
        least = np.minimum.reduceat(length, walls.rings[:-1])
        short = (least < SHORTEST_WALL) & (walls.counts > 4)
        if not short.any():
            return walls, (walls.counts >= 4) & (least > 0)
        shortest = np.flatnonzero(length == np.repeat(least, walls.counts))
        ring = np.repeat(np.arange(len(short)), walls.counts)[shortest]
        first = np.r_[True, ring[1:] != ring[:-1]] & short[ring]
        walls = _without(walls, shortest[first])


def _without(walls: _Walls, dropped: Int) -> _Walls:
    """Walls without some, at most one of each ring, whose two neighbours become one."""
    before, after = walls.preceding[dropped], walls.following[dropped]
    weight, extent, offset = walls.weight.copy(), walls.extent.copy(), walls.offset.copy()
    weight[before] += walls.weight[after]
    extent[before] += walls.extent[after]
    offset[before] += (walls.offset[after] - walls.offset[before]) * walls.weight[after] / weight[before]
    keep = np.ones(len(offset), np.bool_)
    keep[dropped] = keep[after] = False
    rings = np.r_[0, np.cumsum(keep)][walls.rings]
    return _Walls(rings, walls.upright[keep], offset[keep], extent[keep], weight[keep])


def _polygons(walls: _Walls, fits: Bool, angle: Float, parts: Int) -> Polygons:
    """Polygons through the intersections of neighbouring walls, turned back; points where a ring is no shape."""
    other = walls.offset[walls.following]
    u = np.where(walls.upright, walls.offset, other)
    v = np.where(walls.upright, other, walls.offset)
    counts = np.where(fits, walls.counts, 4)
    rings = np.r_[0, np.cumsum(counts)]
    ring = np.repeat(np.arange(len(counts)), counts)
    index = walls.rings[ring] + np.where(fits[ring], np.arange(rings[-1]) - rings[ring], 0)
    corners = ((u + 1j * v)[index] * np.exp(1j * angle[ring]))[:, None].view(np.float64)
    points, rings = close_rings(corners, rings)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (rings, parts)))
