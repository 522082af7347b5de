"""Walls of simplified outlines, fitted to their contours: corners where neighbouring walls meet.

Simplifying keeps points of the contour, which the blur of the image rounds at corners, so that chords cut them off. The
line of least squares through the contour between two corners does not; neighbouring lines intersect in the new corner.
"""

import numpy as np
import shapely

from pipeline.footprints.arrays import Float, Polygons, close_rings, preceding
from pipeline.footprints.walls import Complex, Contours, sound

FEWEST = 6
"""Sides of a contour from which a wall's direction is fitted; shorter ones keep that of their chord."""
BLUNT = np.sin(np.radians(25))
"""Walls that meet at a blunter angle than that from straight on have no clear intersection."""


def straighten(contours: Polygons, simple: Polygons, furthest: float) -> Polygons:
    """Fit the walls of simplified outlines to their contours.

    Args:
        contours: Polygons in metres.
        simple: The same, simplified: their vertices are some of the contours'.
        furthest: How far a corner may move, m.

    Returns:
        Polygons with the same corners, moved; the simplified one where the result is not ``sound``.
    """
    if not len(contours):
        return simple
    walls = Contours.of(contours, simple)
    corners = _corners(walls, furthest)
    points, rings = close_rings(corners[:, None].view(np.float64), walls.walls)
    fitted = np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (rings, walls.parts)))
    return np.where(sound(fitted, contours), fitted, simple)


def _corners(contours: Contours, furthest: float) -> Complex:
    """The corner at the start of each wall: where it meets the wall before it."""
    middle, weight = contours.middles()
    mean = contours.means(middle, weight)
    direction = _fitted(contours, middle - np.repeat(mean, contours.counts), weight)
    before = preceding(contours.walls)
    sine = _cross(direction[before], direction)
    clear = np.abs(sine) > BLUNT
    step = _cross(mean - mean[before], direction) / np.where(clear, sine, 1)
    meeting = mean[before] + step * direction[before]
    old = contours.points[contours.starts]
    return np.where(clear & (np.abs(meeting - old) <= furthest), meeting, old)


def _fitted(contours: Contours, around: Complex, weight: Float) -> Complex:
    """Unit vector along each wall: the principal axis of its contour, or its chord."""
    spans = contours.spans()
    axis = np.exp(0.5j * np.angle(contours.means(around**2, weight)))
    chord = spans / np.maximum(np.abs(spans), 1e-12)
    return np.where(contours.counts >= FEWEST, axis, chord)


def _cross(one: Complex, other: Complex) -> Float:
    return np.asarray((np.conj(one) * other).imag)
