"""Simplified outlines: valid, whole, near the contour, and as GEOS's own that keep the topology."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import at_once, blobs, levels, regions

from pipeline.footprints.forms import simplified


@settings(deadline=None, max_examples=150)
@given(regions(), levels, st.floats(0, 6))
def test_every_ring_stays_and_no_vertex_moves(samples, level, tolerance):
    """GEOS also drops a ring's first vertex, when all else is done: twice the tolerance is the most in all."""
    contours = at_once(samples, level).polygons
    found = simplified(contours, tolerance)
    assert shapely.is_valid(found).all()
    assert (shapely.get_num_interior_rings(found) == shapely.get_num_interior_rings(contours)).all()
    for contour, simple in zip(contours, found, strict=True):
        vertices = {tuple(point) for point in shapely.get_coordinates(contour)}
        assert {tuple(point) for point in shapely.get_coordinates(simple)} <= vertices
        for ring, short in zip(shapely.get_rings(contour), shapely.get_rings(simple), strict=True):
            assert shapely.distance(shapely.points(shapely.get_coordinates(ring)), short).max() <= 2 * tolerance + 1e-9


def test_a_small_tolerance_gives_what_preserving_the_topology_gives():
    contours = at_once(blobs((900, 900), 400), 127).polygons
    assert len(contours) > 100
    found, expected = simplified(contours, 1.0), shapely.simplify(contours, 1.0, preserve_topology=True)
    assert np.mean(shapely.equals_exact(found, expected)) > 0.98
