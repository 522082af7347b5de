"""Exported files, read back by other programs: GDAL's tools, pyogrio, geopandas, pyarrow, rasterio, sqlite."""

import errno
import json
import resource
import shutil
import sqlite3
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS

from pipeline import export, names
from pipeline.errors import Interrupted, OutputError, PipelineError
from pipeline.export import rasters
from pipeline.footprints.finish import SCHEMA
from pipeline.mosaic import Mosaic, Scene
from tiling.grid import Span, Window

CRS_WKT = CRS.from_epsg(32645).to_wkt()
ABOUT = export.Metadata(
    crs=CRS_WKT,
    name="test",
    model="ternausnet11",
    sha256="ab" * 32,
    run="run-1",
    date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    licence="CC BY 4.0",
)


def batches(count, size=7):
    """Footprints in batches: squares with a courtyard in every third."""
    rows = []
    for index in range(count):
        west, south = 350_000 + 20 * (index % 10), 3_060_000 + 20 * (index // 10)
        square = shapely.box(west, south, west + 10, south + 10, ccw=True)
        if index % 3 == 0:
            square = square.difference(shapely.box(west + 3, south + 3, west + 6, south + 6))
        confidence = 0.4 + 0.6 * index / max(count - 1, 1)
        rows.append([f"{index:016x}", square.area, square.length, confidence, 0.3, "a.tif", index % 2 == 0, square.wkb])
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in SCHEMA]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA).to_batches(max_chunksize=size)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """40 footprints in every format."""
    return export.export(batches(40), tmp_path_factory.mktemp("export"), list(export.FORMATS), ABOUT)


def truth():
    return pa.Table.from_batches(batches(40)).to_pandas()


def read(path) -> geopandas.GeoDataFrame:
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return geopandas.read_file(path, layer="footprints")


def test_what_is_published_has_names_by_which_it_can_be_withdrawn():
    folder, scene = Path("out"), Scene(Path("tile é.1.tif"), Window.of((1, 1)), (1, 2, 3), None, False, None)
    files = [export.vector_path(folder, name) for name in export.FORMATS]
    assert folder / names.GEOPACKAGE in files
    files += [export.mask_path(folder / names.MASKS, scene), *(folder / name for name in (names.COG, names.PREVIEW))]
    assert all(names.OURS.fullmatch(str(path.relative_to(folder))) for path in [*files, folder / names.PAGE])


@pytest.mark.parametrize("name", export.FORMATS)
def test_geopandas_reads_every_format(files, name):
    frame, expected = read(files[name]).sort_values("id"), truth()
    assert frame["id"].tolist() == expected["id"].tolist()
    for column in ("area_m2", "perimeter_m", "confidence", "confidence_p10"):
        assert frame[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-12)
    assert frame["on_edge"].astype(bool).tolist() == expected["on_edge"].tolist()
    assert frame["scene"].tolist() == expected["scene"].tolist()
    wanted = geopandas.GeoSeries.from_wkb(expected["geometry"], crs=CRS_WKT)
    assert frame.crs == (CRS.from_epsg(4326) if name == "geojson" else CRS.from_wkt(CRS_WKT))
    found = frame.geometry.to_crs(CRS_WKT).reset_index(drop=True)
    assert shapely.hausdorff_distance(found.values, wanted.values).max() <= (0.02 if name == "geojson" else 0)
    assert shapely.area(shapely.symmetric_difference(found.values, wanted.values)).max() <= (
        0.5 if name == "geojson" else 0
    )
    assert (frame.geometry.geom_type == "Polygon").all()


@pytest.mark.parametrize("name", ["gpkg", "flatgeobuf", "geojson"])
def test_gdals_own_tools_read_every_format(files, name):
    if shutil.which("ogrinfo") is None:
        pytest.skip("ogrinfo is not installed")
    answer = subprocess.run(
        ["ogrinfo", "-so", "-ro", str(files[name]), "footprints"], capture_output=True, text=True, check=True
    )
    assert "Feature Count: 40" in answer.stdout
    assert "Geometry: Polygon" in answer.stdout
    assert "on_edge: Integer(Boolean)" in answer.stdout
    assert not answer.stderr


@pytest.mark.parametrize("name", export.FORMATS)
def test_no_footprints_give_a_valid_empty_layer(tmp_path, name):
    path = export.export([], tmp_path, [name], ABOUT)[name]
    frame = read(path)
    assert len(frame) == 0
    assert frame.crs == (CRS.from_epsg(4326) if name == "geojson" else CRS.from_wkt(CRS_WKT))
    if name != "geojson":  # a collection of nothing has no columns
        assert set(SCHEMA.names) - {"geometry"} <= set(frame.columns)


@pytest.mark.parametrize("name", export.FORMATS)
def test_the_same_rows_give_the_same_bytes(tmp_path, files, name):
    again = export.export(iter(batches(40, size=3)), tmp_path, [name], ABOUT)[name]
    assert again.read_bytes() == files[name].read_bytes()


def test_the_geopackage_is_1_2_with_rtree_style_and_provenance(files):
    database = sqlite3.connect(f"file:{files['gpkg']}?mode=ro", uri=True)
    one = lambda query: database.execute(query).fetchall()  # noqa: E731
    assert one("PRAGMA user_version") == [(10200,)]
    assert one("PRAGMA integrity_check") == [("ok",)]
    assert one("SELECT count(*) FROM rtree_footprints_geom") == [(40,)]
    assert one("SELECT f_table_name, f_geometry_column, useAsDefault FROM layer_styles") == [("footprints", "geom", 1)]
    assert one("SELECT table_name, data_type, last_change FROM gpkg_contents ORDER BY 1") == [
        ("footprints", "features", "2026-01-02T03:04:05.000Z"),
        ("layer_styles", "attributes", "2026-01-02T03:04:05.000Z"),
    ]
    database.close()
    about = pyogrio.read_info(files["gpkg"], layer="footprints")["layer_metadata"]
    assert about["model"] == "ternausnet11"
    assert about["weights_sha256"] == "ab" * 32
    assert about["run"] == "run-1"
    assert about["date"] == "2026-01-02T03:04:05+00:00"
    assert about["licence"] == "CC BY 4.0"


def test_geoparquet_is_1_1_with_a_covering_and_skips_by_it(tmp_path):
    path = export.export(batches(40), tmp_path, ["parquet"], ABOUT)["parquet"]
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0"
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert column["orientation"] == "counterclockwise"
    part = geopandas.read_parquet(path, bbox=(350_015, 3_060_000, 350_035, 3_060_005))
    assert len(part) == 1
    assert pq.read_metadata(path).metadata[b"weights_sha256"] == b"ab" * 32


def test_geojson_is_rfc_7946(files):
    collection = json.loads(files["geojson"].read_text())
    assert "crs" not in collection
    for feature in collection["features"]:
        rings = feature["geometry"]["coordinates"]
        assert shapely.is_ccw(shapely.LinearRing(rings[0]))
        assert not any(shapely.is_ccw(shapely.LinearRing(ring)) for ring in rings[1:])
        for longitude, latitude in rings[0]:
            assert round(longitude, 9) == longitude
            assert round(latitude, 9) == latitude
            assert 85 < longitude < 87


def test_geojson_leaves_a_polygon_with_a_narrow_neck_in_one_piece(tmp_path):
    west, south = 350_000, 3_060_000
    parts = (0, 0, 10, 10), (10, 5, 12, 5.004), (12, 0, 20, 10)  # m
    neck = shapely.union_all([shapely.box(west + a, south + b, west + c, south + d) for a, b, c, d in parts])
    (batch,) = batches(1)
    batch = batch.set_column(SCHEMA.get_field_index("geometry"), SCHEMA.field("geometry"), pa.array([neck.wkb]))
    path = export.export([batch], tmp_path, ["geojson"], ABOUT)["geojson"]
    (feature,) = json.loads(path.read_text())["features"]
    assert feature["geometry"]["type"] == "Polygon"


@pytest.mark.parametrize("mark", ["-wal", "-shm"])
def test_a_geopackage_that_is_open_elsewhere_is_left_alone(tmp_path, mark):
    path = export.export(batches(3), tmp_path, ["gpkg"], ABOUT)["gpkg"]
    before = path.read_bytes()
    Path(f"{path}{mark}").touch()
    for attempt in (lambda: export.export(batches(5), tmp_path, ["gpkg"], ABOUT), lambda: export.check(tmp_path)):
        with pytest.raises(PipelineError, match="close it in QGIS, run again; what is done is kept") as told:
            attempt()
        assert not isinstance(told.value, OutputError)
        assert told.value.exit_code == 1, "2 says that nothing was computed"
    assert path.read_bytes() == before


FAILURES = {
    "a request to end": (KeyboardInterrupt("now"), KeyboardInterrupt, "now"),
    "the alarm of a run": (Interrupted(), Interrupted, "it resumes"),
    "a broken disk": (OSError(errno.EIO, "Input/output error", "1.arrow"), OSError, "cannot be written .*'1.arrow'"),
    "a damaged file": (pa.ArrowInvalid("not an Arrow file"), OSError, "cannot be written .*not an Arrow file"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", export.FORMATS)
def test_what_goes_wrong_with_the_rows_is_told_and_leaves_what_was_there(tmp_path, name, failure):
    path = export.export(batches(3), tmp_path, [name], ABOUT)[name]
    before = path.read_bytes()
    error, kind, said = FAILURES[failure]

    def failing():
        yield from batches(5)
        raise error

    with pytest.raises(kind, match=said):
        export.export(failing(), tmp_path, [name], ABOUT)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def write(name, folder):
    """One of the files that are exported, written by GDAL or Arrow."""
    if name in export.FORMATS:
        return export.export(batches(400), folder, [name], ABOUT)[name]
    region = mosaic()
    read_window = reader(np.random.default_rng(0).integers(0, 254, region.shape, dtype=np.uint8), [])
    if name == "masks":
        return export.write_masks(folder, region, read_window, 127)[0]
    export.write_cog(folder / "probability.tif", region, read_window)
    return folder / "probability.tif"


@contextmanager
def largest_file(size):
    """No file can grow beyond ``size`` bytes, whoever writes it: to a library, a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", [*export.FORMATS, "cog", "masks"])
def test_a_full_disk_is_told_and_no_part_of_a_file_is_left(tmp_path, name):
    whole = write(name, tmp_path)
    content = whole.read_bytes()
    for size in (*(int(len(content) * share) for share in (0, 0.2, 0.5, 0.8, 0.9, 0.99)), len(content) - 1):
        with largest_file(size), pytest.raises(OSError, match="cannot be written") as told:
            write(name, tmp_path)
        assert str(told.value).startswith(f"{whole}: ")
        assert len(str(told.value).replace(str(tmp_path), "")) < 200
        assert whole.read_bytes() == content
        assert not list(tmp_path.glob(".*"))


def mosaic(shape=(1300, 900), corner=(350_000.0, 3_060_000.0)):
    """Two scenes side by side, the right one 200 rows lower."""
    windows = Window.of((1100, 500)), Window(Span(200, 1300), Span(500, 900))
    scenes = [
        Scene(Path(f"scenes/{name}.tif"), window, (1, 2, 3), None, False, None)
        for name, window in zip("ab", windows, strict=True)
    ]
    return Mosaic(shape, Affine(0.3, 0, corner[0], 0, -0.3, corner[1]), CRS_WKT, tuple(scenes))


def samples(shape):
    rows, cols = np.indices(shape)
    values = ((rows // 7 + cols // 11) % 255).astype(np.uint8)
    values[100:200, 100:200] = 255
    return values


def reader(array, seen):
    def read_window(window):
        seen.append(window.area)
        return array[window.slices]

    return read_window


def test_the_cog_is_one_with_overviews_and_holds_every_sample(tmp_path):
    region, seen = mosaic(), []
    array = samples(region.shape)
    export.write_cog(tmp_path / "probability.tif", region, reader(array, seen))
    with rasterio.open(tmp_path / "probability.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.array_equal(file.read(1), array)
        assert (file.nodata, file.scales, file.offsets) == (255, (1 / 254,), (0.0,))
        assert file.transform == region.affine
        assert file.crs == CRS.from_wkt(CRS_WKT)
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(512, 512)]
    assert max(seen) <= 512 * 900
    assert [entry.name for entry in tmp_path.iterdir()] == ["probability.tif"]


def test_what_is_read_at_once_does_not_grow_with_the_width(tmp_path):
    shape, seen = (600, 20_000), []
    scene = Scene(Path("scenes/wide.tif"), Window.of(shape), (1, 2, 3), None, False, None)
    region = Mosaic(shape, Affine(0.3, 0, 350_000, 0, -0.3, 3_060_000), CRS_WKT, (scene,))
    array = samples(shape)
    export.write_cog(tmp_path / "probability.tif", region, reader(array, seen))
    (mask,) = export.write_masks(tmp_path / "masks", region, reader(array, seen), 127)
    assert max(seen) <= 4 << 20
    for path, expected in ((tmp_path / "probability.tif", array), (mask, 255 * ((array >= 127) & (array < 255)))):
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), expected)


def test_a_cog_is_made_of_the_plain_file_by_whom_the_caller_says(tmp_path):
    region, asked = mosaic(), []

    def call(task, plain, path):
        asked.append((task, plain.exists(), path.exists()))
        task(plain, path)

    export.write_cog(tmp_path / "probability.tif", region, reader(samples(region.shape), []), call)
    assert asked == [(rasters.to_cog, True, False)]


class FileMade(Exception):  # noqa: N818
    """Enough is known of a file."""


@pytest.mark.parametrize("name", ["cog", "masks"])
def test_files_beyond_4_gib_are_big_ones(tmp_path, monkeypatch, name):
    create = rasterio.open

    def huge(path, mode, **profile):
        create(path, mode, **profile | {"height": 90_000, "width": 90_000, "sparse_ok": True}).close()
        raise FileMade(path.read_bytes()[:4])

    monkeypatch.setattr(rasters.rasterio, "open", huge)
    with pytest.raises(FileMade) as made:
        write(name, tmp_path)
    assert made.value.args == (b"II+\0",)


def test_masks_are_named_and_placed_as_their_scenes(tmp_path):
    region = mosaic()
    array = samples(region.shape)
    paths = export.write_masks(tmp_path / "masks", region, reader(array, []), 127)
    assert [path.name for path in paths] == ["a.tif", "b.tif"]
    for path, scene in zip(paths, region.scenes, strict=True):
        mine = array[scene.window.within(Window.of((1300, 900)))]
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), np.where((mine >= 127) & (mine < 255), 255, 0))
            assert (file.count, file.dtypes, file.nodata) == (1, ("uint8",), None)
            corner = region.affine @ (scene.window.cols.start, scene.window.rows.start)
            assert file.transform @ (0, 0) == pytest.approx(corner, abs=1e-6)
