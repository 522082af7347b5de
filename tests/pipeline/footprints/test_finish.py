"""Finished footprints: the same whatever the blocks, valid, apart, measured on the ground."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from regions import blobs, crop, grid, saved
from scipy import ndimage

from pipeline.footprints import finish, weld
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping

UTM = CRS.from_epsg(32645).to_wkt()
FRAME = Frame(Affine(0.3, 0, 350_000, 0, -0.3, 3_060_000), UTM, ("a.tif", "b.tif"))


def finished(samples, block, shaping, folder, frame=FRAME) -> pa.Table:
    """Footprints of a region by blocks, in the order of the blocks."""
    folder.mkdir(exist_ok=True)
    paths = saved(samples, grid(samples.shape, block), shaping.level, folder)
    index = weld.weld(paths.items(), folder / "welded.arrow")
    rows = []
    for at in paths:
        sources = index.sources(at)
        mine = {near: paths[near] for near in (at, *sources.beside)}
        read = (lambda window: crop(samples, window.clip(samples.shape))) if shaping.split else None
        rows.append(finish.finish(sources, finish.Files(mine, folder / "welded.arrow", read), frame, shaping))
    return pa.Table.from_batches(rows, finish.SCHEMA)


def polygons(table):
    return shapely.from_wkb(table["geometry"].to_numpy())


def crowd(shape, seed):
    """Blobs so close that simplified outlines would meet."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.zoom(rng.random((shape[0] // 6, shape[1] // 6)), 6, order=1)[: shape[0], : shape[1]]
    return np.clip(coarse * 254 + rng.normal(0, 12, coarse.shape), 0, 254).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"square": True}, {"split": True}, {"split": True, "square": True}])
def test_blocks_do_not_show(options, tmp_path):
    samples = np.concatenate([blobs((150, 264), 70, seed=3), crowd((120, 264), 4)])
    shaping = Shaping(level=150, min_area=3, min_hole=1, **options)
    whole = finished(samples, samples.shape, shaping, tmp_path / "whole").sort_by("id")
    assert whole.num_rows > 30
    for side in ((64, 64), (33, 97)):
        assert finished(samples, side, shaping, tmp_path / str(side)).sort_by("id").equals(whole)


def facing_tips(gap):
    """Two diamonds of 99 px whose cut-off tips face each other over a gap in px, between blocks of 256 px."""
    rows, cols = np.mgrid[:512, :512] + 0.5
    samples = np.zeros((512, 512), np.float32)
    for side in (-1, 1):
        tip = 256 + side * gap / 2
        around = np.abs(rows - 256) + np.abs(cols - (tip + side * 83)) <= 99
        samples[around & (side * (cols - tip) >= 0)] = 254
    return ndimage.gaussian_filter(samples, 1).astype(np.uint8)


def test_blocks_do_not_show_where_forms_stray_by_many_pixels(tmp_path):
    """Squaring draws tips out by a metre: 20 px of 5 cm, so that buildings 20 px apart meet."""
    frame, shaping = Frame(Affine(0.05, 0, 350_000, 0, -0.05, 3_060_000), UTM, ("a.tif",)), Shaping(127, square=True)
    samples = facing_tips(20)
    whole = finished(samples, (512, 512), shaping, tmp_path / "whole", frame).sort_by("id")
    halves = finished(samples, (512, 256), shaping, tmp_path / "halves", frame).sort_by("id")
    assert halves.equals(whole)
    one, two = polygons(halves)
    assert not one.intersects(two)


@pytest.mark.parametrize(
    "options",
    [
        {"simplify": 2.0},
        {"simplify": 1.0, "square": True},
        {"split": True, "min_hole": 50},
        {"split": True, "min_hole": 50, "square": True},  # with seed 1, a part stands in the courtyard of another
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_footprints_are_valid_and_never_overlap(options, seed, tmp_path):
    shaping = Shaping(level=130, **{"min_area": 1, **options})
    found = polygons(finished(crowd((180, 180), seed), (180, 180), shaping, tmp_path))
    assert len(found) > 10
    assert shapely.is_valid(found).all()
    assert (shapely.get_type_id(found) == shapely.GeometryType.POLYGON).all()
    one, two = shapely.STRtree(found).query(found)
    shared = shapely.intersection(found[one[one < two]], found[two[one < two]])
    assert shapely.area(shared).sum() < 1e-6


@pytest.mark.parametrize(
    "options", [{}, {"simplify": 0, "split": True}, {"split": True}, {"split": True, "square": True}]
)
def test_exteriors_run_counterclockwise_and_courtyards_clockwise(options, tmp_path):
    """What the GeoParquet file says of them."""
    samples = box((10, 60), (10, 60))
    samples[20:30, 20:30] = 0
    samples[10:60, 39:41] = 130
    found = polygons(finished(samples, (120, 120), Shaping(127, **options), tmp_path))
    assert len(found) == 1 + ("split" in options)
    assert shapely.is_ccw(shapely.get_exterior_ring(found)).all()
    assert not any(shapely.is_ccw(ring) for polygon in found for ring in polygon.interiors)


def test_a_huge_network_of_streets_keeps_its_contour_and_its_neighbours_keep_off(tmp_path, monkeypatch):
    samples = crowd((198, 198), 7)
    for module in (finish.forms, weld):
        monkeypatch.setattr(module, "MOST_VERTICES", 300)
    shaping = Shaping(level=120, min_area=1, simplify=1.5)
    whole = finished(samples, (198, 198), shaping, tmp_path / "whole").sort_by("id")
    assert shapely.get_num_coordinates(polygons(whole)).max() > 300
    assert finished(samples, (48, 61), shaping, tmp_path / "blocks").sort_by("id").equals(whole)


def box(rows, cols, shape=(120, 120)):
    samples = np.zeros(shape, np.uint8)
    samples[rows[0] : rows[1], cols[0] : cols[1]] = 254
    return samples


def test_small_footprints_are_dropped_and_small_courtyards_filled(tmp_path):
    samples = box((10, 60), (10, 60))
    samples[20:23, 20:23] = 0  # 0.8 m²
    samples[30:50, 30:50] = 0  # 36 m²
    samples[80:84, 80:84] = 254  # 1.4 m²
    found = polygons(finished(samples, (50, 50), Shaping(127), tmp_path))
    assert len(found) == 1
    assert shapely.get_num_interior_rings(found[0]) == 1


def test_a_courtyard_with_a_building_in_it_is_not_filled(tmp_path):
    samples = box((10, 60), (10, 60))
    samples[20:40, 20:40] = 0
    samples[25:35, 25:35] = 254  # 9 m² in a courtyard of 36 m²
    found = polygons(finished(samples, (64, 64), Shaping(127, min_area=5, min_hole=100), tmp_path))
    assert len(found) == 2
    assert not shapely.overlaps(*found)
    assert not shapely.contains(*found)


@pytest.mark.parametrize("epsg", [32645, 3857, 4326])
def test_measures_are_geodesic_whatever_the_crs(epsg, tmp_path):
    there = Transformer.from_crs(32645, epsg, always_xy=True)
    (west, north), (east, south) = (there.transform(350_000 + step, 3_060_000 - step) for step in (0, 30))
    frame = Frame(
        Affine((east - west) / 100, 0, west, 0, (south - north) / 100, north), CRS.from_epsg(epsg).to_wkt(), ("a",)
    )
    table = finished(box((20, 80), (30, 80), (100, 100)), (64, 64), Shaping(127), tmp_path, frame)
    (polygon,) = polygons(table)
    degrees = shapely.transform(
        polygon, lambda xy: np.stack(Transformer.from_crs(epsg, 4326, always_xy=True).transform(*xy.T), 1)
    )
    area, perimeter = Geod(ellps="WGS84").geometry_area_perimeter(degrees)
    assert table["area_m2"].to_pylist() == pytest.approx([abs(area)], rel=1e-9)
    assert table["perimeter_m"].to_pylist() == pytest.approx([perimeter], rel=1e-9)
    assert abs(area) == pytest.approx(0.3 * 60 * 0.3 * 50, rel=0.03)


@pytest.mark.parametrize("epsg", [27572, 27561, 4807])
def test_ground_is_measured_where_the_crs_counts_in_grads(epsg):
    there = Transformer.from_crs(4326, epsg, always_xy=True)
    west, north = there.transform(2.3, 48.5)
    size = 0.3 if CRS.from_epsg(epsg).is_projected else 3e-6
    frame = Frame(Affine(size, 0, west, 0, -size, north), CRS.from_epsg(epsg).to_wkt(), ("a",))
    placed = frame.place(np.array([shapely.box(0, 0, 100, 100)]))
    degrees = np.array(there.transform(*shapely.get_coordinates(placed).T, direction="INVERSE")).T
    area, perimeter = Geod(ellps="WGS84").geometry_area_perimeter(shapely.Polygon(degrees))
    ((across, down),) = frame.metres(np.array([[50.0, 50.0]]))
    assert frame.measure(placed)[0] == pytest.approx([abs(area)], rel=1e-3)  # another ellipsoid
    assert frame.measure(placed)[1] == pytest.approx([perimeter], rel=1e-3)
    assert across * down * 10_000 == pytest.approx(abs(area), rel=1e-3)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 300), st.integers(0, 300))
def test_scenes_added_later_do_not_change_ids(tmp_path_factory, down, across):
    samples = blobs((80, 80), 12)
    moved = Frame(FRAME.affine @ Affine.translation(-across, -down), UTM, FRAME.scenes)
    larger = np.pad(samples, ((down, 0), (across, 0)))
    folder = tmp_path_factory.mktemp("ids")
    one = finished(samples, (80, 80), Shaping(100), folder / "one")
    other = finished(larger, (97, 97), Shaping(100), folder / "other", moved)
    assert len(set(one["id"].to_pylist())) == one.num_rows > 2
    assert set(one["id"].to_pylist()) == set(other["id"].to_pylist())


def test_confidence_is_that_of_the_pixels_inside(tmp_path):
    samples = box((10, 60), (10, 60))
    samples[10:20, 10:60] = 127
    (row,) = finished(samples, (33, 33), Shaping(100), tmp_path).to_pylist()
    assert row["confidence"] == pytest.approx((0.2 * 127 + 0.8 * 254) / 254)
    assert row["confidence_p10"] == pytest.approx(0.5)
    assert (row["scene"], row["on_edge"]) == ("a.tif", False)


def test_the_border_and_no_data_are_edges(tmp_path):
    samples = box((0, 30), (0, 30)) | box((50, 80), (50, 80)) | box((90, 110), (90, 110))
    samples[60:70, 80:84] = 255
    table = finished(samples, (60, 60), Shaping(127), tmp_path)
    assert sorted(table["on_edge"].to_pylist()) == [False, True, True]


def test_divided_buildings_know_which_part_is_at_the_edge(tmp_path):
    samples = box((0, 30), (20, 60))
    samples[0:30, 39:41] = 130
    table = finished(samples, (64, 64), Shaping(127, split=True), tmp_path)
    assert table["on_edge"].to_pylist() == [True, True]
    samples = box((20, 60), (0, 40))
    samples[39:41, 0:40] = 130
    samples[20:24, 0:40] = 255
    samples[20:60, 0:4] = 0
    table = finished(samples, (64, 64), Shaping(127, split=True), tmp_path)
    assert table["on_edge"].to_pylist() == [True, False]


def test_dividing_without_samples_is_refused(tmp_path):
    samples = box((5, 30), (20, 60))
    paths = saved(samples, grid(samples.shape, samples.shape), 127, tmp_path)
    (block,), index = paths, weld.weld(paths.items(), tmp_path / "welded.arrow")
    files = finish.Files(paths, tmp_path / "welded.arrow")
    with pytest.raises(ValueError, match=r"Files\.read"):
        finish.finish(index.sources(block), files, FRAME, Shaping(127, split=True))


def test_nothing_gives_an_empty_batch(tmp_path):
    table = finished(np.zeros((50, 50), np.uint8), (30, 30), Shaping(127), tmp_path)
    assert table.num_rows == 0
    assert table.schema.equals(finish.SCHEMA)


def test_rows_survive_their_files(tmp_path):
    table = finished(blobs((90, 90), 20), (90, 90), Shaping(100), tmp_path)
    paths = []
    for number, batch in enumerate(table.to_batches(max_chunksize=3)):
        paths.append(tmp_path / f"{number}.arrow")
        finish.save(batch, paths[-1])
    stored = finish.Stored(tuple(paths))
    assert pa.Table.from_batches(stored).equals(table)
    assert pa.Table.from_batches(stored).equals(table)
