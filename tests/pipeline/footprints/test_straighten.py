"""Fitted walls: nearer to the truth than simplified ones, with as many corners."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import differing_area
from test_square import COURT, L_SHAPE, U_SHAPE, blurred, turned

from pipeline.footprints.straighten import straighten
from pipeline.footprints.walls import AREA_CHANGE

SKEW = shapely.Polygon([(0, 0), (15, 2), (18, 12), (4, 14)])


def fitted(contour):
    contours = np.array([contour])
    simple = np.asarray(shapely.simplify(contours, 0.3))
    return straighten(contours, simple, 0.6)[0], simple[0]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([L_SHAPE, COURT, U_SHAPE, SKEW]), st.integers(0, 1799), st.integers(0, 99))
def test_fitted_walls_are_nearer_to_the_truth(shape, tenths, seed):
    truth = turned(shape, np.radians(tenths / 10))
    contour = blurred(truth, seed)
    found, simple = fitted(contour)
    assert found.is_valid
    assert shapely.get_num_coordinates(found) == shapely.get_num_coordinates(simple)
    assert differing_area(found, truth) < differing_area(simple, truth)
    # walls along the pixels are where a contour is as good as it gets
    assert differing_area(found, truth) < 1.02 * differing_area(contour, truth)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 2 * np.pi), st.floats(4, 15)), min_size=3, max_size=9), st.integers(0, 9))
def test_whatever_comes_stays_valid_and_near(spokes, seed):
    ends = [(radius * np.cos(angle), radius * np.sin(angle)) for angle, radius in sorted(spokes)]
    contour = blurred(shapely.Polygon(ends).buffer(1.5), seed)
    found, simple = fitted(contour)
    assert found.is_valid
    assert abs(found.area - contour.area) <= AREA_CHANGE * contour.area or found.equals(simple)
    assert shapely.hausdorff_distance(found.boundary, simple.boundary) <= 0.6 + 1e-9
