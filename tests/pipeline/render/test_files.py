"""Files of the renderer, read back by rasterio and pyogrio."""

from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely

from pipeline.render.__main__ import main
from pipeline.render.files import Place, missing
from pipeline.render.view import View

SMALL = ["--seed", "3", "--style", "tin_town", "--size", "150", "170"]


def test_scenes_lie_where_they_should(tmp_path: Path) -> None:
    """CRS, transform, size, tiling and colours come back; neighbours share their border."""
    west, east = tmp_path / "west.tif", tmp_path / "east.tif"
    assert main([str(west), str(east), *SMALL, "--crs", "EPSG:32645", "--origin", "350000", "3060000"]) == 0
    with rasterio.open(west) as a, rasterio.open(east) as b:
        assert a.crs.to_epsg() == b.crs.to_epsg() == 32645
        assert (a.height, a.width, a.count, a.dtypes[0]) == (150, 170, 3, "uint8")
        assert a.transform == rasterio.Affine(0.3, 0, 350000, 0, -0.3, 3060000)
        assert b.bounds.left == pytest.approx(a.bounds.right, abs=1e-9)
        assert b.bounds.top == a.bounds.top
        assert a.block_shapes[0] == (256, 256)


def test_truth_is_cut_to_what_is_seen(tmp_path: Path) -> None:
    """One layer for both scenes; burnt, it gives the masks; a building on the border is one polygon."""
    scenes = [tmp_path / "a.tif", tmp_path / "b.tif"]
    truth = tmp_path / "truth.gpkg"
    assert main([*map(str, scenes), *SMALL, "--truth", str(truth), "--mask"]) == 0
    frame = geopandas.read_file(truth, engine="pyogrio")
    assert frame.crs.to_epsg() == 32633
    assert frame.geometry.is_valid.all()
    for path in scenes:
        with rasterio.open(path.with_name(f"{path.stem}_mask.tif")) as file:
            mask, transform = file.read(1), file.transform
        burnt = rasterio.features.rasterize(frame.geometry, mask.shape, transform=transform, default_value=255)
        assert set(np.unique(mask)) == {0, 255}
        assert (burnt == mask).mean() > 0.9995  # a centre may lie on an outline; pieces under 1 m² are left out
    border = shapely.LineString([(500000 + 51, 5500000), (500000 + 51, 5500000 - 45)])
    assert frame.geometry.crosses(border).any()


@pytest.mark.parametrize("corner", ["nw", "ne", "sw", "se"])
def test_a_corner_without_data(tmp_path: Path, corner: str) -> None:
    """Masked in the file or tagged by value, and an eighth of the scene."""
    masked, tagged = tmp_path / "masked.tif", tmp_path / "tagged.tif"
    assert main([str(masked), *SMALL, "--corner", corner, "--compress", "jpeg"]) == 0
    assert main([str(tagged), *SMALL, "--corner", corner, "--nodata", "255"]) == 0
    with rasterio.open(masked) as a, rasterio.open(tagged) as b:
        assert a.nodata is None
        assert b.nodata == 255
        valid = a.dataset_mask() > 0
        assert valid.mean() == pytest.approx(7 / 8, abs=0.01)
        assert (b.read()[:, ~valid] == 255).all()
        assert a.compression.name == "jpeg"
        assert a.photometric.name == "ycbcr"
    corners = {"nw": valid[0, 0], "ne": valid[0, -1], "sw": valid[-1, 0], "se": valid[-1, -1]}
    assert [name for name, has in corners.items() if not has] == [corner]


def test_nothing_is_true_without_data(tmp_path: Path) -> None:
    """Footprints end where the data ends."""
    truth = tmp_path / "truth.geojson"
    assert main([str(tmp_path / "a.tif"), *SMALL, "--corner", "sw", "--truth", str(truth)]) == 0
    frame = geopandas.read_file(truth, engine="pyogrio")
    view = View(0, 0, 150, 170)
    shapes = shapely.transform(frame.geometry.values, lambda points: points - (500000.0, 5500000.0))
    assert shapely.area(shapely.intersection(shapes, missing(view, "sw"))).sum() < 1e-3
    assert shapely.area(shapes).sum() > 100


@pytest.mark.parametrize(
    ("crs", "x", "y"), [("EPSG:4326", -43.5, -22.9), ("EPSG:3857", 9500000.0, 3200000.0), ("EPSG:2277", 3.1e6, 1.0e7)]
)
def test_a_pixel_is_as_long_as_asked_in_any_crs(crs: str, x: float, y: float) -> None:
    """Degrees, stretched and foot-based coordinates: 1,000 pixels of 0.3 m measure 300 m on the ellipsoid."""
    place = Place(crs, x, y)
    transform = place.transform(View(0, 0, 1000, 1000, 0.3))
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    corner, right, down = (to_degrees.transform(*(transform @ at)) for at in ((0, 0), (1000, 0), (0, 1000)))
    geod = pyproj.Geod(ellps="WGS84")
    for end in (right, down):
        assert geod.inv(*corner, *end)[2] == pytest.approx(300, rel=0.008)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--crs", "EPSG:1"], "'EPSG:1' is not known to PROJ"),
        (["--compress", "lzma"], "choose deflate or jpeg"),
        (["--corner", "north"], "choose one of none, nw, ne, sw, se"),
        (["--compress", "jpeg", "--nodata", "0"], "JPEG changes values"),
        (["--style", "moon"], "'moon' is not known"),
        (["--size", "0", "10"], "has no pixel"),
        (["--truth", "truth.shp"], "'.shp' is not written here; choose one of .gpkg, .geojson, .fgb"),
    ],
)
def test_wrong_arguments_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """With one sentence and nothing written."""
    assert main([str(tmp_path / "a.tif"), "--size", "32", "32", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
