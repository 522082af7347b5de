"""Shared walls stay shared: no gap and no overlap, simplified or squared, on random partitions."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_square import blurred, corners, turned

from pipeline.footprints.party_walls import simplify_parts, square_parts
from pipeline.footprints.walls import AREA_CHANGE


def partition(outline, cuts, angle, seed):
    """A blurred contour of a turned building, divided along walls that waver as flooded pixels do."""
    rng = np.random.default_rng(seed)
    contour = blurred(turned(outline, angle), seed)
    walls = []
    for wall in cuts:
        line = shapely.segmentize(shapely.LineString(wall), 0.4)
        walls.append(turned(shapely.transform(line, lambda points: points + rng.normal(0, 0.08, points.shape)), angle))
    noded = shapely.union_all([contour.boundary, *walls])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    return contour, faces[shapely.covers(contour, shapely.point_on_surface(faces)) & (shapely.area(faces) > 1)]


def terrace(widths, back, angle, seed):
    """Houses 4 m wider than ``widths`` in a row; the first one may be cut off at its ``back``: a T of walls."""
    ends = np.cumsum([0, *(4 + width for width in widths)])
    cuts = [[(end, -3), (end, 21)] for end in ends[1:-1]]
    if back:
        cuts.append([(-3, 9), (ends[1] + 0.5, 9)])
    return partition(shapely.box(0, 0, ends[-1], 18), cuts, angle, seed)


def is_square(parts):
    """Whether all walls meet at right angles, or go straight on where another wall meets them."""
    cosines = np.concatenate([corners(part) for part in parts])
    return np.minimum(cosines, 1 - cosines).max() < 1e-6


def test_terraces_are_squared():
    rng = np.random.default_rng(0)
    for seed in range(40):
        _, parts = terrace(rng.integers(1, 6, rng.integers(2, 6)), seed % 2, rng.uniform(0, 3.1), seed)
        assert is_square(square_parts(parts, simplify_parts(parts, 0.3), 0.3))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.booleans(), st.floats(0, 3.1), st.integers(0, 99))
@example([4, 1], True, 0.0, 93)
def test_random_terraces_keep_their_party_walls(widths, back, angle, seed):
    """Squared, or left as they are, which is rare."""
    contour, parts = terrace(widths, back, angle, seed)
    simple = simplify_parts(parts, 0.3)
    squared = square_parts(parts, simple, 0.3)
    assert len(squared) == len(widths) + back
    assert max(shapely.hausdorff_distance(shapely.boundary(simple), shapely.boundary(parts))) <= 0.3 + 1e-9
    for found in (simple, squared):
        assert shapely.coverage_is_valid(found)
        assert shapely.is_valid(found).all()
        total = shapely.area(found).sum()
        assert shapely.area(shapely.coverage_union_all(found)) == pytest.approx(total, rel=1e-9)
        assert abs(total - contour.area) <= AREA_CHANGE * contour.area
    assert is_square(squared) or [part.wkb for part in squared] == [part.wkb for part in simple]
    assert max(shapely.hausdorff_distance(squared, parts)) < 2


def test_walls_that_are_not_square_are_left_as_they_are():
    _, parts = partition(shapely.box(0, 0, 24, 18), [[(4, -3), (20, 21)]], 0.2, 1)
    simple = simplify_parts(parts, 0.3)
    squared = square_parts(parts, simple, 0.3)
    assert [part.wkb for part in squared] == [part.wkb for part in simple]
