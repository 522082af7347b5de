"""Outlines of one block against contourpy, rasterio, and sums over the pixels."""

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import at_once, blobs, differing_area, levels, oracle, regions

from pipeline.footprints import outline
from pipeline.footprints.tables import Buildings, Outlines, Pieces
from tiling.grid import Span, Window


@settings(deadline=None, max_examples=150)
@given(regions(), levels)
def test_outlines_equal_contourpys(samples, level):
    found, expected = at_once(samples, level).polygons, oracle(samples, level)
    assert len(found) == len(expected)
    assert shapely.is_valid(found).all()
    assert differing_area(found, expected) < 1e-9


@settings(deadline=None, max_examples=60)
@given(regions(), levels)
def test_exteriors_run_counterclockwise_once_y_points_north(samples, level):
    north_up = shapely.transform(at_once(samples, level).polygons, lambda points: points * [1, -1])
    assert shapely.is_ccw(shapely.get_exterior_ring(north_up)).all()
    holes = np.concatenate([[], *(shapely.get_rings(polygon)[1:] for polygon in north_up)])
    assert not shapely.is_ccw(holes).any()


@settings(deadline=None, max_examples=100)
@given(regions(), levels)
def test_attributes_come_from_exactly_the_samples_inside(samples, level):
    buildings = at_once(samples, level)
    rows, cols = np.nonzero((samples >= level) & (samples < 255))
    for index, polygon in enumerate(buildings.polygons):
        mine = shapely.contains_xy(polygon, cols + 0.5, rows + 0.5)
        values = np.sort(samples[rows[mine], cols[mine]].astype(int))
        assert (buildings.row[index], buildings.col[index]) == (rows[mine][0], cols[mine][0])
        assert (buildings.pixels[index], buildings.total[index]) == (len(values), values.sum())
        assert buildings.low[index] == np.percentile(values, 10, method="inverted_cdf")
        assert buildings.on_edge[index] == touches_nothing(samples, rows[mine], cols[mine])
    assert buildings.pixels.sum() == len(rows)


def touches_nothing(samples, rows, cols):
    around = np.pad(samples, 1, constant_values=255)
    steps = ((0, 1), (2, 1), (1, 0), (1, 2))
    return any((around[rows + down, cols + across] == 255).any() for down, across in steps)


@settings(deadline=None, max_examples=60)
@given(regions(), levels, st.randoms(use_true_random=False))
def test_the_scene_is_the_one_with_most_samples(samples, level, random):
    scenes = np.array([[random.randrange(3) for _ in row] for row in samples]).reshape(samples.shape)
    buildings = at_once(samples, level, scenes)
    rows, cols = np.nonzero((samples >= level) & (samples < 255))
    for polygon, scene in zip(buildings.polygons, buildings.scene, strict=True):
        mine = shapely.contains_xy(polygon, cols + 0.5, rows + 0.5)
        assert scene == np.argmax(np.bincount(scenes[rows[mine], cols[mine]]))


def test_areas_agree_with_rasterios_pixel_polygons_within_half_a_pixel():
    samples = blobs((600, 700), 120)
    mask = (samples >= 127).astype(np.uint8)
    pixels = shapely.union_all([shapely.geometry.shape(shape) for shape, _ in rasterio.features.shapes(mask, mask > 0)])
    found = shapely.union_all(at_once(samples, 127).polygons)
    differing = shapely.symmetric_difference(found, pixels)
    assert shapely.area(differing) < 0.5 * shapely.length(pixels)
    half = shapely.buffer(shapely.boundary(pixels), 1.0)
    assert shapely.area(shapely.difference(differing, half)) < 1e-9


@pytest.mark.parametrize(("level", "count"), [(127, 1), (128, 32)])
def test_diagonal_neighbours_are_one_building_where_the_cells_mean_says_so(level, count):
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 254).astype(np.uint8)
    assert len(at_once(board, level)) == count


def test_nothing_gives_empty_tables():
    traced = outline.trace(np.full((9, 9), 255, np.uint8), Window.of((8, 8)), 100)
    assert (len(traced.buildings), len(traced.pieces)) == (0, 0)


def test_tables_survive_their_file(tmp_path):
    window = Window.of((160, 160))
    traced = outline.trace(blobs((161, 161), 30), window, 100)
    traced.save(tmp_path / "outlines.arrow")
    loaded = Outlines.load(tmp_path / "outlines.arrow")
    assert len(traced.buildings)
    assert len(traced.pieces)
    for kind, one, other in (
        (Buildings, traced.buildings, loaded.buildings),
        (Pieces, traced.pieces, loaded.pieces),
    ):
        for name in kind.__dataclass_fields__:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
            assert getattr(one, name).dtype == getattr(other, name).dtype, name


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="cannot have the shape"):
        outline.trace(np.zeros((5, 5), np.uint8), Window(Span(0, 8), Span(8, 16)), 100)


def test_blocks_beside_data_are_traced_too():
    active = np.zeros((3, 4), bool)
    active[1, 2] = True
    assert np.argwhere(outline.traced(active)).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
