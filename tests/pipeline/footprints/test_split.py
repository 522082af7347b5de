"""Dividing buildings that touch: at clear valleys only, with shared walls, nothing lost."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import at_once
from scipy import ndimage

from pipeline.footprints import split

LEVEL = 76


def row_of_houses(count, valley, width=20, seed=0):
    """Houses side by side with dips of the probability between them."""
    samples = np.zeros((40, count * width + 20))
    samples[10:30, 10 : 10 + count * width] = 240
    for wall in range(1, count):
        samples[10:30, 9 + wall * width : 11 + wall * width] = valley
    noise = np.random.default_rng(seed).normal(0, 4, samples.shape)
    return np.clip(ndimage.gaussian_filter(samples, 0.7) + noise * (samples > 0), 0, 254).astype(np.uint8)


def divided(samples, least=20.0):
    (polygon,) = at_once(samples, LEVEL).polygons
    return polygon, split.divide(split.Sampled(polygon, samples, (0, 0), 0), LEVEL, least)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 5), st.integers(0, 99))
def test_houses_are_separated_with_shared_walls(count, seed):
    samples = row_of_houses(count, 100, seed=seed)
    whole, parts = divided(samples)
    assert len(parts) == count
    found = parts.polygons
    assert shapely.coverage_is_valid(found)
    assert shapely.area(shapely.symmetric_difference(shapely.coverage_union_all(found), whole)) < 1e-9
    assert shapely.area(found) == pytest.approx([whole.area / count] * count, rel=0.2)
    assert parts.pixels.sum() == (samples >= LEVEL).sum()
    assert parts.total.sum() == samples[samples >= LEVEL].sum()


@pytest.mark.parametrize("valley", [200, 230, 240])
def test_shallow_valleys_divide_nothing(valley):
    assert divided(row_of_houses(3, valley))[1] is None


def test_small_parts_divide_nothing():
    assert divided(row_of_houses(2, 100), least=1000.0)[1] is None


def test_other_buildings_in_the_box_do_not_count():
    samples = np.zeros((60, 60), np.uint8)
    samples[5:55, 5:10] = samples[5:10, 5:55] = 250
    samples[30:50, 30:50] = 250
    buildings = at_once(samples, LEVEL)
    for polygon in buildings.polygons:
        assert split.divide(split.Sampled(polygon, samples, (0, 0), 0), LEVEL, 5.0) is None
