"""From files to the mosaic: which scenes, on which grid, inside which area. What is refused is in tests/faults."""

import http.server
import io
import os
import pickle
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagery
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
import strategies
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import config, pixels, survey
from pipeline.errors import InputError
from pipeline.mosaic import Mosaic, Scene
from pipeline.scenes import tiff
from pipeline.scenes.remote import HttpError, HttpFile
from tiling.grid import Span, Window

files = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def surveyed(folder: Path, text: str) -> Mosaic:
    return survey.survey(config.load(imagery.region(folder, text)))


def tiny(path: Path, cols: int = 0, rows: int = 0, **profile: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = imagery.AFFINE @ Affine.translation(cols, rows)
    return imagery.write(path, imagery.noise(8, 10), **({"transform": transform} | profile))


def names(mosaic: Mosaic) -> list[str]:
    return [scene.name for scene in mosaic.scenes]


def test_files_folders_and_globs_give_each_scene_once_and_sorted(tmp_path: Path) -> None:
    for number, name in enumerate(["b.tif", "a.TIFF", "sub/c.tif", "sub/deep/d.tif", "[x] y/e.tif"]):
        tiny(tmp_path / "s" / name, cols=10 * number)
    (tmp_path / "s/notes.txt").write_text("no scene")
    (tmp_path / "s/link.tif").symlink_to("b.tif")
    assert names(surveyed(tmp_path, "scenes: [s]")) == ["a.TIFF", "b.tif"]
    assert names(surveyed(tmp_path, "scenes: [s/b.tif, s]")) == ["b.tif", "a.TIFF"]
    assert names(surveyed(tmp_path, "scenes: ['s/**/*.tif']")) == ["e.tif", "b.tif", "c.tif", "d.tif"]
    assert names(surveyed(tmp_path, "scenes: ['s/[[]x] y/*.tif', 's/[x] y/e.tif']")) == ["e.tif"]
    assert names(surveyed(tmp_path / "s/[x] y", "scenes: ['?.tif']")) == ["e.tif"]


def test_a_glob_leaves_out_what_runs_have_made(tmp_path: Path) -> None:
    """So the second run has the scenes of the first, though rasters were written beside them."""
    text = "scenes: ['s/**/*.tif']\noutput: s/out"
    tiny(tmp_path / "s/a.tif")
    tiny(tmp_path / "s/more/b.tif", cols=10)
    assert names(surveyed(tmp_path, text)) == ["a.tif", "b.tif"]
    tiny(tmp_path / "s/out/masks/a.tif", cols=20)
    with pytest.raises(InputError, match="lies inside it; choose another folder"):
        surveyed(tmp_path, text)  # no run has begun there, so it can only be a scene
    (tmp_path / "s/out/.work").mkdir()
    assert names(surveyed(tmp_path, text)) == ["a.tif", "b.tif"]
    (tmp_path / "s/link").symlink_to("out/masks")
    assert names(surveyed(tmp_path, text)) == ["a.tif", "b.tif"]
    for entry in ("s/out/masks/a.tif", "s/out/**/*.tif"):
        with pytest.raises(InputError, match="lies inside it; choose another folder"):
            surveyed(tmp_path, f"scenes: ['s/**/*.tif', '{entry}']\noutput: s/out")


def test_the_mosaic_is_the_union_on_the_first_scene_s_grid(tmp_path: Path) -> None:
    tiny(tmp_path / "a.tif", cols=100, rows=50)
    tiny(tmp_path / "b.tif", cols=95, rows=61)
    mosaic = surveyed(tmp_path, "scenes: [a.tif, b.tif]")
    assert mosaic.shape == (19, 15)
    assert mosaic.affine == imagery.AFFINE @ Affine.translation(95, 50)
    assert [scene.window for scene in mosaic.scenes] == [
        Window(Span(0, 8), Span(5, 15)),
        Window(Span(11, 19), Span(0, 10)),
    ]
    assert pyproj.CRS.from_wkt(mosaic.crs) == pyproj.CRS("EPSG:32633")


def test_rounding_of_world_coordinates_is_no_other_grid(tmp_path: Path) -> None:
    tiny(tmp_path / "a.tif", transform=Affine(0.298582, 0, 9519391.0656, 0, -0.298582, 3203475.8554))
    shifted = Affine(0.2985821, 0, 9519391.0656 + 0.298582 * 50_000, 0, -0.2985821, 3203475.8554)
    tiny(tmp_path / "b.tif", transform=shifted)
    assert surveyed(tmp_path, "scenes: [a.tif, b.tif]").shape == (8, 50_010)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_scenes_over_a_window_are_found_as_by_looking_at_all(data: st.DataObject) -> None:
    shape = (1000, 700)
    windows = data.draw(st.lists(strategies.windows(shape), min_size=1, max_size=30))
    scenes = tuple(Scene(Path(f"{n}.tif"), window, (1, 2, 3), None, False, None) for n, window in enumerate(windows))
    mosaic = Mosaic(shape, imagery.AFFINE, "", scenes)
    window = data.draw(strategies.windows(shape))
    expected = [number for number, scene in enumerate(scenes) if scene.window.meets(window)]
    assert mosaic.numbers_over(window) == expected
    assert pickle.loads(pickle.dumps(mosaic)).numbers_over(window) == expected  # noqa: S301 - our own


def test_100_000_scenes_are_found_by_place() -> None:
    side = 316
    spans = [Span(start, start + 5000) for start in range(0, side * 5000, 5000)]
    windows = [Window(rows, cols) for rows in spans for cols in spans]
    scenes = tuple(Scene(Path("s.tif"), window, (1, 2, 3), None, False, None) for window in windows)
    mosaic = Mosaic((side * 5000, side * 5000), imagery.AFFINE, "", scenes)
    for number in range(1000):
        window = Window(Span(number * 1500, number * 1500 + 2048), Span(number * 1500, number * 1500 + 2048))
        assert 1 <= len(mosaic.numbers_over(window)) <= 4
    everything = Window.of(mosaic.shape)
    assert len(mosaic.numbers_over(everything)) == side * side


def test_a_giant_scene_among_small_ones_does_not_blow_up_the_index() -> None:
    small = [Window(Span(n, n + 8), Span(0, 8)) for n in range(100)]
    windows = [Window.of((10**6, 10**6)), *small]
    scenes = tuple(Scene(Path("s.tif"), window, (1, 2, 3), None, False, None) for window in windows)
    mosaic = Mosaic((10**6, 10**6), imagery.AFFINE, "", scenes)
    assert len(mosaic.numbers_over(Window.of((1, 1)))) == 2
    assert len(mosaic.numbers_over(Window(Span(10**6 - 1, 10**6), Span(0, 1)))) == 1


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633", "EPSG:3857"])
@pytest.mark.parametrize("name", ["area.geojson", "area.gpkg", "area.fgb", "area.shp"])
def test_an_area_in_any_crs_and_format_is_burnt_by_pixel_centres(tmp_path: Path, crs: str, name: str) -> None:
    if name == "area.geojson" and crs != "EPSG:4326":
        pytest.skip("GeoJSON is EPSG:4326")
    imagery.write(tmp_path / "a.tif", imagery.noise(100, 120))
    triangle = shapely.Polygon([(10.3, 5.2), (110.7, 30.1), (40.4, 95.6)])
    hole = shapely.Point(60, 40).buffer(8)
    store_area(tmp_path / name, triangle.difference(hole), crs)
    mosaic = surveyed(tmp_path, f"scenes: [a.tif]\narea: {name}")
    everything = Window.of((100, 120))
    found = pixels.area_mask(mosaic, everything)
    ys, xs = np.mgrid[:100, :120] + 0.5
    expected = shapely.contains_xy(triangle.difference(hole), xs, ys)
    assert np.count_nonzero(found != expected) <= 2  # a centre within the rounding of two transformations
    generator = np.random.default_rng(1)
    for _ in range(20):
        rows, cols = (Span(*sorted(generator.choice(size + 1, 2, replace=False))) for size in (100, 120))
        part = pixels.area_mask(mosaic, Window(rows, cols))
        assert np.array_equal(part, found[rows.start : rows.stop, cols.start : cols.stop])


def store_area(path: Path, polygon: shapely.Geometry, crs: str) -> None:
    """Write a polygon in pixel coordinates of the default affine as a vector file in ``crs``."""
    to_crs = pyproj.Transformer.from_crs(imagery.UTM, crs, always_xy=True)

    def move(points: np.ndarray) -> np.ndarray:
        x, y = imagery.AFFINE.a * points[:, 0] + imagery.AFFINE.c, imagery.AFFINE.e * points[:, 1] + imagery.AFFINE.f
        return np.column_stack(to_crs.transform(x, y))

    geometry = shapely.transform(shapely.segmentize(polygon, 5), move)
    wkb = np.array([shapely.to_wkb(geometry)], object)
    pyogrio.raw.write(path, wkb, [np.array([1])], ["n"], geometry_type="Polygon", crs=crs)


def test_without_an_area_all_is_inside_and_a_large_area_has_no_edge(tmp_path: Path) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(30, 30))
    window = Window(Span(3, 20), Span(5, 30))
    assert pixels.area_mask(surveyed(tmp_path, "scenes: [a.tif]"), window).all()
    store_area(tmp_path / "area.gpkg", shapely.box(-100, -100, 200, 200), imagery.UTM)
    assert pixels.area_mask(surveyed(tmp_path, "scenes: [a.tif]\narea: area.gpkg"), window).all()


@pytest.mark.parametrize(
    ("grid", "crs", "size"),
    [
        ("resolution: 0.25", "EPSG:32633", (0.25, 0.25)),
        ("crs: 'EPSG:3857', resample: true", "EPSG:3857", (0.74, 0.74)),
        ("crs: 'EPSG:3857', resolution: 1, resample: true", "EPSG:3857", (1.48, 1.48)),
        ("crs: 'EPSG:4326', resolution: 0.5, resample: true", "EPSG:4326", (6.7e-6, 4.5e-6)),
    ],
)
def test_resolution_means_metres_on_the_ground(tmp_path: Path, grid: str, crs: str, size: tuple[float, float]) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(200, 200))
    mosaic = surveyed(tmp_path, f"scenes: [a.tif]\ngrid: {{{grid}}}")
    assert pyproj.CRS.from_wkt(mosaic.crs) == pyproj.CRS(crs)
    assert (mosaic.affine.a, -mosaic.affine.e) == pytest.approx(size, rel=0.02)
    geod = pyproj.Geod(ellps="WGS84")
    corners = [mosaic.affine @ place for place in ((0, 0), (100, 0), (0, 100))]
    lon, lat = pyproj.Transformer.from_crs(mosaic.crs, "EPSG:4326", always_xy=True).transform(
        *zip(*corners, strict=True)
    )
    wanted = {"resolution: 0.25": 0.25, "crs: 'EPSG:3857', resolution: 1, resample: true": 1.0}.get(grid, 0.5)
    for end in (1, 2):
        assert geod.inv(lon[0], lat[0], lon[end], lat[end])[2] / 100 == pytest.approx(wanted, rel=0.005)


def test_facts_are_what_a_region_yaml_needs(tmp_path: Path) -> None:
    tiny(tmp_path / "a.tif", nodata=0)
    values = np.zeros((4, 5, 4), np.uint16)
    imagery.write(tmp_path / "b.tif", values, photometric="RGB", alpha="YES", crs="EPSG:4326")
    first, second = survey.facts([str(tmp_path)])
    assert (first.count, first.dtype, first.nodata, first.alpha, first.shape) == (3, "uint8", 0, None, (8, 10))
    assert (second.count, second.dtype, second.alpha, second.mask) == (4, "uint16", 4, False)
    assert second.colours == ("red", "green", "blue", "alpha")


def test_the_stamp_tells_images_apart_but_not_copies(tmp_path: Path) -> None:
    one, other = tiny(tmp_path / "a.tif"), imagery.write(tmp_path / "b.tif", imagery.noise(8, 10, seed=1))
    (tmp_path / "copy.tif").write_bytes(one.read_bytes())
    os.utime(tmp_path / "copy.tif", (0, 0))
    stamps = [facts.stamp for facts in survey.facts([str(one), str(other), str(tmp_path / "copy.tif")])]
    assert stamps[0] == stamps[2] != stamps[1]


@files
@given(st.data())
def test_a_truncated_tiff_is_either_refused_or_still_whole(tmp_path: Path, data: st.DataObject) -> None:
    image = imagery.noise(*data.draw(strategies.shapes))
    layout = data.draw(strategies.tiff_layouts)
    path = imagery.write(tmp_path / "a.tif", image, **layout)
    if min(image.shape[:2]) > 8 and data.draw(st.booleans()):
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4])
    content = path.read_bytes()
    path = tmp_path / "cut.tif"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        with path.open("rb") as file:
            tiff.check(file, path.stat().st_size)
    except tiff.TiffError:
        return
    with rasterio.open(path, driver="GTiff") as source:
        assert np.array_equal(np.moveaxis(source.read(), 0, 2), image)


def test_a_whole_tiff_is_never_refused_whatever_its_form(tmp_path: Path, shared_data: Path) -> None:
    checked = 0
    for path in sorted(shared_data.rglob("*.tif")):
        with path.open("rb") as file:
            checked += bool(tiff.check(file, path.stat().st_size).stamp)
    assert checked > 100


def test_hundreds_of_scenes_are_surveyed_at_once(tmp_path: Path) -> None:
    content = tiny(tmp_path / "0.tif").read_bytes()
    for number in range(1, 400):
        (tmp_path / f"{number}.tif").write_bytes(content)
    assert len(surveyed(tmp_path, "scenes: ['*.tif']").scenes) == 400


class _Ranges(http.server.BaseHTTPRequestHandler):
    """A file server that answers ranges, and redirects /moved."""

    protocol_version = "HTTP/1.1"
    content: bytes
    port: int

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        if self.path != "/a.tif":
            moved = self.path == "/moved.tif"
            self.send_response(302 if moved else 404)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/a.tif")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range", f"bytes=0-{len(self.content) - 1}")
        first, last = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if body:
            self.wfile.write(self.content[first : last + 1])


@contextmanager
def served(content: bytes) -> Iterator[str]:
    handler = type("Handler", (_Ranges,), {"content": content})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            pixels.close()
            server.shutdown()


def test_scenes_of_listed_hosts_are_read_by_ranges(tmp_path: Path) -> None:
    image = imagery.noise(900, 800)
    path = imagery.write(tmp_path / "a.tif", image, tiled=True, blockxsize=256, blockysize=256)
    with served(path.read_bytes()) as address:
        mosaic = surveyed(tmp_path, f"scenes: [{address}/a.tif]\nremote: [127.0.0.1]")
        found = pixels.read(mosaic, Window(Span(100, 700), Span(50, 800)))
    assert np.array_equal(found.rgb, image[100:700, 50:800])


def test_other_hosts_redirects_and_missing_files_are_refused(tmp_path: Path) -> None:
    with served(b"II") as address:
        for name, sentence in {
            "moved.tif": "cannot be read: the server redirects, which is not followed; list the final address",
            "nix.tif": "cannot be read: the server answers 404 Not Found",
        }.items():
            with pytest.raises(InputError) as caught:
                surveyed(tmp_path, f"scenes: [{address}/{name}]\nremote: [127.0.0.1]")
            assert caught.value.problems == (f"{address}/{name}: {sentence}",)
        with pytest.raises(InputError, match=r"is on 127.0.0.1, which remote does not list; .* remote: \[127.0.0.1\]"):
            surveyed(tmp_path, f"scenes: [{address}/a.tif]\nremote: [data.example.org]")


def test_a_file_over_http_is_a_file() -> None:
    content = random.Random(1).randbytes(3_500_000)  # noqa: S311 - not for secrets
    generator = random.Random(2)  # noqa: S311
    with served(content) as address, HttpFile(f"{address}/a.tif") as ours, io.BytesIO(content) as oracle:
        for _ in range(50):
            place, count = generator.randrange(len(content)), generator.randrange(300_000)
            assert ours.seek(place) == oracle.seek(place)
            assert ours.read(count) == oracle.read(count)
            assert ours.tell() == oracle.tell()
        with pytest.raises(HttpError, match="404"):
            HttpFile(f"{address}/b.tif")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, for whom nothing is forbidden."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_what_may_not_be_read_or_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny(folder / "a.tif").chmod(0)
        tiny(folder / "b.tif", cols=10)
        region = config.load(imagery.region(folder, "scenes: [a.tif, b.tif]\noutput: locked/out"))
        (folder / "locked").mkdir(mode=0o555)
        folder.chmod(0o755)
        with as_nobody(), pytest.raises(InputError) as caught:
            survey.survey(region)
        assert caught.value.problems == (
            f"output {folder}/locked/out: no permission to write in {folder}/locked",
            f"{folder}/a.tif: cannot be read: Permission denied",
        )
