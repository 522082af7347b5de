"""Buildings that share walls, simplified and squared so that they share them afterwards: no overlap, no gap.

Both sides of a wall are one line throughout: it is simplified once, or, when the outline of the whole is squared, the
whole is cut along it, straightened.
"""

import numpy as np
import shapely

from pipeline.footprints import square
from pipeline.footprints.arrays import Float, Polygons

OVERLAP = 1.5
"""m by which a straightened wall is drawn out at both ends, to meet the squared outline and other walls."""
LIKENESS = 0.8
"""Least intersection over union of a part and its squared form."""


def simplify_parts(contours: Polygons, tolerance: float) -> Polygons:
    """Simplify the parts of one building, each line between two meeting points of walls once.

    Args:
        contours: Polygons in metres that form a coverage.
        tolerance: Douglas and Peucker's, m.
    """
    lines = shapely.get_parts(shapely.line_merge(shapely.union_all(shapely.boundary(contours))))
    faces = shapely.get_parts(shapely.polygonize(shapely.simplify(lines, tolerance, preserve_topology=False)))
    simple = _assembled(faces, contours)
    if simple is not None and shapely.coverage_is_valid(simple):
        return simple
    return np.asarray(shapely.coverage_simplify(contours, tolerance))


def square_parts(contours: Polygons, simple: Polygons, tolerance: float) -> Polygons:
    """Square the parts of one building.

    Args:
        contours: Polygons in metres that form a coverage: they share their walls' vertices.
        simple: The same, simplified; what is returned when squaring would change too much.
        tolerance: Of simplification, m.
    """
    whole = np.array([shapely.coverage_union_all(contours)], dtype=object)
    outline, good = square.square(whole, np.asarray(shapely.simplify(whole, tolerance)))
    if not good[0]:
        return simple
    cuts = _cuts(contours, _direction(outline[0]))
    faces = _faces(outline[0], cuts)
    squared = _assembled(faces, simple)
    return simple if squared is None else squared


def _direction(outline: shapely.Polygon) -> Float:
    """Unit vector along the first wall."""
    step = np.diff(shapely.get_coordinates(outline)[:2], axis=0)[0]
    return np.asarray(step / np.linalg.norm(step))


def _cuts(contours: Polygons, along: Float) -> list[shapely.LineString]:
    """The parts' shared walls, straight along or across a direction."""
    turn = np.array([[along[0], -along[1]], [along[1], along[0]]])
    one, two = shapely.STRtree(contours).query(contours, predicate="touches")
    pairs = one < two
    shared = shapely.intersection(shapely.boundary(contours[one[pairs]]), shapely.boundary(contours[two[pairs]]))
    walls = shapely.get_parts(shapely.line_merge(shapely.get_parts(shapely.line_merge(shared))))
    return [_straight(shapely.get_coordinates(wall) @ turn, turn) for wall in walls if shapely.length(wall) > OVERLAP]


def _straight(points: Float, turn: Float) -> shapely.LineString:
    """A line through turned points along the axis that they follow, at their mean, turned back."""
    extent = np.ptp(points, axis=0)
    axis = int(extent[1] > extent[0])
    middle = (points[1:] + points[:-1]) / 2
    weight = np.linalg.norm(np.diff(points, axis=0), axis=1)
    ends = np.empty((2, 2))
    ends[:, axis] = points[:, axis].min() - OVERLAP, points[:, axis].max() + OVERLAP
    ends[:, 1 - axis] = np.average(middle[:, 1 - axis], weights=weight)
    return shapely.LineString(ends @ turn.T)


def _faces(outline: shapely.Polygon, cuts: list[shapely.LineString]) -> Polygons:
    """What lines cut a polygon into."""
    noded = shapely.union_all([outline.boundary, *cuts])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    return np.asarray(faces[shapely.covers(outline, shapely.point_on_surface(faces))])


def _assembled(faces: Polygons, simple: Polygons) -> Polygons | None:
    """The parts made of the faces that each overlaps most; None where one is lost, torn or unlike itself."""
    overlap = np.array([shapely.area(shapely.intersection(part, faces)) for part in simple])
    owner = np.where(2 * overlap.max(axis=0) > shapely.area(faces), np.argmax(overlap, axis=0), len(simple))
    # ^ a courtyard is a face of no part
    if len(np.setdiff1d(np.arange(len(simple)), owner)):
        return None
    squared = np.array([shapely.coverage_union_all(faces[owner == part]) for part in range(len(simple))], dtype=object)
    common = shapely.area(shapely.intersection(squared, simple))
    alike = common >= LIKENESS * (shapely.area(squared) + shapely.area(simple) - common)
    whole = shapely.get_type_id(squared) == shapely.GeometryType.POLYGON
    return squared if (alike & whole).all() else None
