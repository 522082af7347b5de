"""Forms of footprints: the contour, without small courtyards, simplified, squared; and which one each building takes.

Every form is made from a building alone. One is accepted when it meets no form of a neighbour that is at most as far
from the contour; otherwise the next nearer one is tried. So neither blocks nor their order show, and nothing overlaps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from pipeline.footprints import square
from pipeline.footprints.arrays import Bool, Float, Int, Polygons
from pipeline.footprints.party_walls import simplify_parts, square_parts
from pipeline.footprints.shaping import MOST_VERTICES, Shaping
from pipeline.footprints.straighten import straighten
from pipeline.footprints.tables import Buildings

STAND_IN = shapely.box(0, 0, 1, 1)
"""Shaped in place of a huge polygon, and then forgotten."""


@dataclass(frozen=True, slots=True)
class Lots:
    """Buildings, some of which are divided into parts that share walls; a lot is all parts of one building."""

    parts: Buildings
    """All parts."""
    first: Int
    """Offsets of lots in the parts."""

    @property
    def owner(self) -> Int:
        """The lot of each part."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def divided(self) -> Iterator[slice]:
        """The parts of each lot that has several."""
        return (slice(self.first[lot], self.first[lot + 1]) for lot in np.flatnonzero(np.diff(self.first) > 1))

    def union(self, polygons: Polygons) -> Polygons:
        """The outline of each lot when its parts are ``polygons``."""
        outlines = polygons[self.first[:-1]].copy()
        for lot in np.flatnonzero(np.diff(self.first) > 1):
            outlines[lot] = shapely.coverage_union_all(polygons[self.first[lot] : self.first[lot + 1]])
        return np.asarray(outlines)


def of(lots: Lots, metres: Float, shaping: Shaping) -> list[Polygons]:
    """The parts' polygons from the contour on: without small courtyards, simplified, squared."""
    raw = lots.parts.polygons
    huge = shapely.get_num_coordinates(raw) > MOST_VERTICES
    shaped = raw.copy()
    shaped[huge] = STAND_IN
    filled = _fill_lots(lots, shaped, metres, shaping.min_hole)
    single = (np.diff(lots.first) == 1)[lots.owner]
    ground = _scaled(filled, metres)
    forms = [raw, filled]
    simple = fitted = ground
    if shaping.simplify:
        simple = simplified(ground, shaping.simplify)
        for of_lot in lots.divided():
            simple[of_lot] = simplify_parts(ground[of_lot], shaping.simplify)
        fitted = simple.copy()
        fitted[single] = straighten(ground[single], simple[single], 2 * shaping.simplify)
        forms += [_scaled(simple, 1 / metres), _scaled(fitted, 1 / metres)]
    if shaping.square:
        squared = fitted.copy()
        right, good = square.square(ground[single], simple[single])
        squared[single] = np.where(good, right, fitted[single])
        for of_lot in lots.divided():
            squared[of_lot] = square_parts(ground[of_lot], simple[of_lot], shaping.simplify)
        forms.append(_scaled(squared, 1 / metres))
    return [np.where(huge, raw, form) for form in forms]


def simplified(polygons: Polygons, tolerance: float) -> Polygons:
    """Polygons with fewer vertices, none of which moves, and with all their rings.

    Douglas and Peucker's algorithm looks at one ring at a time. To look at all of them at every step, as preserving the
    topology does, takes twelve times as long and changes one polygon in many thousands: only those pay for it.

    Args:
        polygons: Valid ones, m.
        tolerance: How far the outline may move, m; where a ring begins, twice as far.
    """
    if not len(polygons):
        return polygons
    rings, owner = shapely.get_rings(polygons, return_index=True)
    short = shapely.simplify(rings, tolerance, preserve_topology=False)
    collapsed = shapely.get_num_points(short) < 4
    short[collapsed] = rings[collapsed]
    points, index = shapely.get_coordinates(short, return_index=True)
    offsets = np.searchsorted(index, np.arange(len(rings) + 1)), np.searchsorted(owner, np.arange(len(polygons) + 1))
    simple = np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, offsets))
    harmed = ~shapely.is_valid(simple)
    harmed[owner[collapsed]] = True
    simple[harmed] = shapely.simplify(polygons[harmed], tolerance, preserve_topology=True)
    return simple


def _fill_lots(lots: Lots, polygons: Polygons, metres: Float, least: float) -> Polygons:
    """Parts without their small courtyards; as they are where another part of the same lot stands in one."""
    filled = _fill(polygons, metres, least)
    for of_lot in lots.divided():
        if not shapely.coverage_is_valid(filled[of_lot]):
            filled[of_lot] = polygons[of_lot]
    return filled


def _fill(polygons: Polygons, metres: Float, least: float) -> Polygons:
    """Without the courtyards that are smaller than ``least`` m²."""
    filled = polygons.copy()
    for index in np.flatnonzero(shapely.get_num_interior_rings(polygons)):
        holes = shapely.get_rings(polygons[index])
        areas = shapely.area(shapely.polygons(holes)) * metres[index].prod()
        filled[index] = shapely.Polygon(holes[0], holes[1:][areas[1:] >= least])
    return filled


def _scaled(polygons: Polygons, factors: Float) -> Polygons:
    """Polygons stretched along x and y, each by its own two factors."""
    factor = factors[np.repeat(np.arange(len(polygons)), shapely.get_num_coordinates(polygons))]
    return np.asarray(shapely.transform(polygons, lambda points: points * factor))


def accepted(lots: Lots, forms: list[Polygons], count: int, lines: Polygons) -> Polygons:
    """The polygons of the parts of the first ``count`` lots, each lot in the form that it may take."""
    outlines = [lots.union(form) for form in forms]
    level = choose(outlines, count, lines)[lots.owner[: lots.first[count]]]
    return np.asarray(np.stack(forms)[level, np.arange(len(level))])


def choose(forms: list[Polygons], count: int, lines: Polygons) -> Int:
    """Number of the furthest form of each of the first ``count`` buildings that meets no neighbour's as far or nearer.

    Args:
        forms: The same buildings' outlines, from the contour on; those of the first entry never meet.
        count: How many of them to decide; the others are neighbours.
        lines: Contours that no form but the first may meet.
    """
    chosen = np.zeros(count, np.int64)
    shaped = np.flatnonzero(shapely.get_num_coordinates(forms[0][:count]) <= MOST_VERTICES)
    for level in range(1, len(forms)):
        own = forms[level][shaped]
        shapely.prepare(own)
        free = np.asarray(shapely.is_valid(own)) & ~_meets(own, lines, np.full(len(own), -1))
        for below in range(level + 1):
            free &= ~_meets(own, forms[below], shaped)
        chosen[shaped[free]] = level
    return chosen


def _meets(polygons: Polygons, others: Polygons, itself: Int) -> Bool:
    """Whether each polygon intersects one of the others; ``itself`` is its own number among them, or -1."""
    one, two = shapely.STRtree(others).query(polygons)
    apart = itself[one] != two
    one, two = one[apart], two[apart]
    meets = np.zeros(len(polygons), np.bool_)
    meets[one[shapely.intersects(polygons[one], others[two])]] = True
    return meets
