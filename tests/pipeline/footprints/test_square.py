"""Squaring: right angles, within bounds, and true to buildings that are right-angled."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import at_once

from pipeline.footprints import square
from pipeline.footprints.walls import AREA_CHANGE

PIXEL = 0.3


def blurred(polygon, seed=0):
    """What contouring makes of a polygon in metres: pixels of 0.3 m, soft edges, noise."""
    west, south, east, north = polygon.bounds
    cols, rows = int((east - west) / PIXEL) + 12, int((north - south) / PIXEL) + 12
    xs = west + (np.arange(cols * 4) / 4 - 6 + 0.125) * PIXEL
    ys = south + (np.arange(rows * 4) / 4 - 6 + 0.125) * PIXEL
    inside = shapely.contains_xy(polygon, *np.meshgrid(xs, ys))
    coarse = inside.reshape(rows, 4, cols, 4).mean(axis=(1, 3))
    noisy = coarse * 254 + np.random.default_rng(seed).normal(0, 5, coarse.shape)
    table = at_once(np.clip(noisy, 0, 254).astype(np.uint8), 127)
    contours = shapely.transform(table.polygons, lambda points: (points - 6) * PIXEL + [west, south])
    return contours[np.argmax(shapely.area(contours))]


def squared(*contours):
    contours = np.array(contours)
    simple = shapely.simplify(contours, 0.3)
    return *square.square(contours, simple), simple


def turned(polygon, angle):
    return shapely.transform(
        polygon, lambda xy: xy @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    )


def corners(polygon):
    """Cosines of the angles at all vertices."""
    cosines = []
    for ring in shapely.get_rings(polygon):
        steps = np.diff(shapely.get_coordinates(ring), axis=0)
        steps /= np.linalg.norm(steps, axis=1)[:, None]
        cosines.append(np.abs((steps * np.roll(steps, -1, axis=0)).sum(axis=1)))
    return np.concatenate(cosines)


L_SHAPE = shapely.Polygon([(0, 0), (20, 0), (20, 8), (9, 8), (9, 16), (0, 16)])
COURT = shapely.Polygon([(0, 0), (24, 0), (24, 18), (0, 18)], [[(8, 6), (16, 6), (16, 12), (8, 12)]])
U_SHAPE = shapely.Polygon([(0, 0), (20, 0), (20, 15), (14, 15), (14, 6), (6, 6), (6, 15), (0, 15)])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([L_SHAPE, COURT, U_SHAPE, shapely.box(0, 0, 9, 6)]), st.floats(0, np.pi), st.integers(0, 99))
def test_right_angled_buildings_come_back(shape, angle, seed):
    truth = turned(shape, angle)
    (found,), (good,), _ = squared(blurred(truth, seed))
    assert good
    assert corners(found).max() < 1e-6
    assert shapely.get_num_coordinates(found) == shapely.get_num_coordinates(truth)
    assert shapely.hausdorff_distance(found, truth) < 0.45
    assert abs(found.area - truth.area) / truth.area < 0.03


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 2 * np.pi), st.floats(4, 15)), min_size=3, max_size=9), st.integers(0, 9))
def test_whatever_comes_stays_valid_and_near(spokes, seed):
    ends = [(radius * np.cos(angle), radius * np.sin(angle)) for angle, radius in sorted(spokes)]
    shape = shapely.Polygon(ends).buffer(1.5)
    contour = blurred(shape, seed)
    (found,), (good,), (simple,) = squared(contour)
    assert found.is_valid
    if good:
        assert corners(found).max() < 1e-6
        assert abs(found.area - simple.area) <= AREA_CHANGE * simple.area
        assert shapely.hausdorff_distance(found.boundary, simple.boundary) <= square.FURTHEST
    else:
        assert found.equals(simple)


def test_a_round_building_keeps_its_outline():
    (found,), (good,), (simple,) = squared(blurred(shapely.Point(0, 0).buffer(10)))
    assert not good
    assert found.equals(simple)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_each_building_is_squared_alone(count):
    contours = [blurred(turned(L_SHAPE, 0.3 * index), index) for index in range(count)]
    together = square.square(np.array(contours, object), shapely.simplify(np.array(contours, object), 0.3))[0]
    alone = [squared(contour)[0][0] for contour in contours]
    assert [polygon.wkb for polygon in together] == [polygon.wkb for polygon in alone]
