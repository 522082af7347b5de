"""Pixels of windows: equal to what the whole files hold, whatever the window, the cut into scenes and the storage."""

import pickle
import threading
from pathlib import Path
from typing import Any

import imagery
import numpy as np
import pytest
import rasterio
import strategies
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline import config, pixels, survey
from pipeline.mosaic import Mosaic
from tiling.grid import Span, Window

files = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def whole(mosaic: Mosaic) -> Window:
    return Window.of(mosaic.shape)


def mosaic_of(folder: Path, text: str) -> Mosaic:
    pixels.close()  # files of the same name may have been written anew
    return survey.survey(config.load(imagery.region(folder, text)))


def moved(window: Window) -> Affine:
    return imagery.AFFINE @ Affine.translation(window.cols.start, window.rows.start)


def cut(array: NDArray[Any], window: Window) -> NDArray[Any]:
    return array[window.slices]


@files
@given(st.data())
def test_a_mosaic_of_pieces_reads_as_the_whole(tmp_path: Path, data: st.DataObject) -> None:
    shape = data.draw(strategies.shapes)
    image = imagery.noise(*shape, seed=data.draw(st.integers(0, 99)))
    names = []
    for number, part in enumerate(data.draw(strategies.cuts(shape))):
        layout = data.draw(strategies.tiff_layouts)
        names.append(imagery.write(tmp_path / f"{number}.tif", cut(image, part), transform=moved(part), **layout).name)
    mosaic = mosaic_of(tmp_path, f"scenes: [{', '.join(names)}]")
    window = data.draw(strategies.windows(shape))
    found = pixels.read(mosaic, window)
    assert mosaic.shape == shape
    assert np.array_equal(found.rgb, cut(image, window))
    assert found.valid.all()


@files
@given(st.data())
def test_the_first_scene_with_data_wins_and_no_data_is_filled(tmp_path: Path, data: st.DataObject) -> None:
    shape = (30, 40)
    rgb, valid = np.full((*shape, 3), pixels.FILL, np.uint8), np.zeros(shape, bool)
    names = []
    for number in range(data.draw(st.integers(1, 4))):
        part = data.draw(strategies.windows(shape)) if number else Window.of((30, 40))
        image = imagery.noise(*part.shape, seed=number)
        empty = np.random.default_rng(number + 50).random(part.shape) < data.draw(st.sampled_from([0, 0.5, 1]))
        kind = data.draw(st.sampled_from(["nodata", "mask", "alpha"]))
        names.append(write_with_holes(tmp_path / f"{number}.tif", image, empty, kind, moved(part)).name)
        new = ~cut(valid, part) & ~empty
        cut(rgb, part)[new] = image[new]
        cut(valid, part)[new] = True
    mosaic = mosaic_of(tmp_path, f"scenes: [{', '.join(names)}]")
    window = data.draw(strategies.windows(shape))
    found = pixels.read(mosaic, window)
    assert np.array_equal(found.valid, cut(valid, window))
    assert np.array_equal(found.rgb, cut(rgb, window))


def write_with_holes(
    path: Path, image: NDArray[np.uint8], empty: NDArray[np.bool_], kind: str, transform: Affine
) -> Path:
    if kind == "mask":
        return imagery.write(path, image, mask=~empty, transform=transform)
    if kind == "alpha":
        alpha = np.where(empty, 0, 255).astype(np.uint8)
        return imagery.write(path, np.dstack([image, alpha]), photometric="RGB", alpha="YES", transform=transform)
    stored = np.where(empty[..., None], np.uint8(0), image)
    return imagery.write(path, stored, nodata=0, transform=transform)


def test_only_pixels_with_all_three_bands_at_the_value_are_no_data(tmp_path: Path) -> None:
    image = imagery.noise(4, 4)
    image[0, 0], image[0, 1], image[0, 2] = (255, 255, 255), (255, 255, 254), (0, 0, 0)
    imagery.write(tmp_path / "a.tif", image, nodata=0)
    text = "scenes: [a.tif]\npixels: {nodata: "
    tagged, asked = mosaic_of(tmp_path, text + "auto}"), mosaic_of(tmp_path, text + "255}")
    assert np.argwhere(~pixels.read(tagged, whole(tagged)).valid).tolist() == [[0, 2]]
    assert np.argwhere(~pixels.read(asked, whole(asked)).valid).tolist() == [[0, 0]]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64", "uint32"])
def test_scale_maps_its_range_to_the_byte(tmp_path: Path, dtype: str) -> None:
    values = np.linspace(0, 3000, 7 * 9 * 3).reshape(7, 9, 3).astype(dtype)
    imagery.write(tmp_path / "a.tif", values)
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif]\npixels: {scale: [100, 2100]}")
    expected = np.clip(np.rint((values.astype(float) - 100) / 2000 * 255), 0, 255).astype(np.uint8)
    assert np.array_equal(pixels.read(mosaic, whole(mosaic)).rgb, expected)


def test_pixels_that_are_not_finite_hold_no_data(tmp_path: Path) -> None:
    values = np.full((3, 5, 3), 0.5, np.float32)
    values[0, 0, 1], values[1, 2, 0], values[2, 4] = np.nan, np.inf, -9999
    imagery.write(tmp_path / "a.tif", values, nodata=-9999)
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif]\npixels: {scale: [0, 1]}")
    found = pixels.read(mosaic, whole(mosaic))
    assert np.argwhere(~found.valid).tolist() == [[0, 0], [1, 2], [2, 4]]
    assert found.rgb[1, 2].tolist() == list(pixels.FILL)
    assert (found.rgb[found.valid] == 128).all()


def test_bands_are_those_that_are_asked_for(tmp_path: Path) -> None:
    image = np.dstack([imagery.noise(5, 5), imagery.noise(5, 5, seed=1)])
    imagery.write(tmp_path / "a.tif", image)
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif]\npixels: {bands: [5, 3, 3]}")
    assert np.array_equal(pixels.read(mosaic, whole(mosaic)).rgb, image[..., [4, 2, 2]])


def test_a_damaged_block_is_an_error_that_names_file_and_place(tmp_path: Path) -> None:
    path = imagery.write(
        tmp_path / "a.tif", imagery.noise(64, 64), tiled=True, blockxsize=32, blockysize=32, compress="deflate"
    )
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif]")
    assert pixels.read(mosaic, Window.of((32, 64))).valid.all()
    with pytest.raises(
        pixels.SceneError, match=r"a\.tif: cannot be read at rows 30\.\.50, columns 0\.\.60 of the mosaic"
    ):
        pixels.read(mosaic, Window(Span(30, 50), Span(0, 60)))


def test_a_scene_that_is_gone_is_an_error(tmp_path: Path) -> None:
    path = imagery.write(tmp_path / "a.tif", imagery.noise(8, 8))
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif]")
    path.unlink()
    with pytest.raises(pixels.SceneError, match="No such file"):
        pixels.read(mosaic, whole(mosaic))


def test_few_files_stay_open_and_threads_have_their_own(tmp_path: Path) -> None:
    image = imagery.noise(4, 4 * 40)
    for number in range(40):
        part = Window(Span(0, 4), Span(4 * number, 4 * number + 4))
        imagery.write(tmp_path / f"{number:02}.tif", cut(image, part), transform=moved(part))
    mosaic = mosaic_of(tmp_path, "scenes: ['*.tif']")
    before = len(list(Path("/proc/self/fd").iterdir()))
    results: list[NDArray[np.uint8]] = []
    threads = [
        threading.Thread(target=lambda: results.append(pixels.read(mosaic, whole(mosaic)).rgb)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.append(pixels.read(mosaic, whole(mosaic)).rgb)
    assert len(results) == 4
    assert all(np.array_equal(each, image) for each in results)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 4 * pixels.HANDLES


def test_mosaics_travel_to_workers(tmp_path: Path) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(9, 7))
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif]")
    copy = pickle.loads(pickle.dumps(mosaic))  # noqa: S301 - our own
    assert copy == mosaic
    assert np.array_equal(pixels.read(copy, whole(copy)).rgb, imagery.noise(9, 7))


RESAMPLED = {
    "another CRS": "grid: {crs: 'EPSG:32634', resample: true}",
    "degrees": "grid: {crs: 'EPSG:4326', resample: true}",
    "finer": "grid: {resolution: 0.3}",
    "a little coarser": "grid: {resolution: 0.7}",
    "coarser": "grid: {resolution: 1.6}",
}


@pytest.mark.parametrize("grid", RESAMPLED.values(), ids=RESAMPLED)
def test_resampled_pixels_do_not_depend_on_the_window(tmp_path: Path, grid: str) -> None:
    image, generator = imagery.noise(300, 260), np.random.default_rng(5)
    image[100:140, 60:90] = 0
    imagery.write(tmp_path / "a.tif", image, nodata=0)
    mosaic = mosaic_of(tmp_path, f"scenes: [a.tif]\n{grid}")
    once = pixels.read(mosaic, whole(mosaic))
    assert mosaic.scenes[0].resampled
    assert 0.5 < once.valid.mean() < 1
    for _ in range(25):
        rows, cols = (Span(*sorted(generator.choice(size + 1, 2, replace=False))) for size in mosaic.shape)
        part = pixels.read(mosaic, Window(rows, cols))
        assert np.array_equal(part.rgb, cut(once.rgb, Window(rows, cols)))
        assert np.array_equal(part.valid, cut(once.valid, Window(rows, cols)))


@pytest.mark.parametrize("grid", ["grid: {crs: 'EPSG:4326', resample: true}", "grid: {resolution: 0.3}"])
def test_resampling_agrees_with_gdal_s(tmp_path: Path, grid: str) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(200, 300))
    mosaic = mosaic_of(tmp_path, f"scenes: [a.tif]\n{grid}")
    ours = pixels.read(mosaic, whole(mosaic))
    theirs = np.zeros((3, *mosaic.shape), np.uint8)
    with rasterio.open(tmp_path / "a.tif") as source:
        rasterio.warp.reproject(
            rasterio.band(source, [1, 2, 3]), theirs, dst_transform=mosaic.affine, dst_crs=mosaic.crs,
            resampling=rasterio.enums.Resampling.bilinear, tolerance=1e-4,
        )  # fmt: skip
    inside = ours.valid & (theirs.max(axis=0) > 0)
    difference = np.abs(ours.rgb.astype(int) - np.moveaxis(theirs, 0, 2))[inside]
    assert inside.mean() > 0.9
    assert difference.max() <= 2
    assert difference.mean() < 0.1


def test_neighbouring_scenes_are_resampled_without_a_gap(tmp_path: Path) -> None:
    image = imagery.noise(120, 120)
    left, right = Window.of((120, 61)), Window(Span(0, 120), Span(61, 120))
    for name, part in (("a", left), ("b", right)):
        imagery.write(tmp_path / f"{name}.tif", cut(image, part), transform=moved(part))
    imagery.write(tmp_path / "whole.tif", image)
    grid = "grid: {crs: 'EPSG:32634', resample: true}"
    both, one = (mosaic_of(tmp_path, f"scenes: [{names}]\n{grid}") for names in ("a.tif, b.tif", "whole.tif"))
    in_two, at_once = pixels.read(both, whole(both)), pixels.read(one, whole(one))
    assert both.shape == one.shape
    assert np.array_equal(in_two.valid, at_once.valid)


def test_scenes_on_the_grid_are_never_interpolated(tmp_path: Path) -> None:
    image = imagery.noise(50, 50)
    imagery.write(tmp_path / "a.tif", image)
    imagery.write(tmp_path / "b.tif", image, transform=imagery.AFFINE @ Affine.translation(50.4, 0.3))
    mosaic = mosaic_of(tmp_path, "scenes: [a.tif, b.tif]\ngrid: {resample: true}")
    found = pixels.read(mosaic, whole(mosaic))
    assert [scene.resampled for scene in mosaic.scenes] == [False, True]
    assert np.array_equal(found.rgb[:50, :50], image)


def test_real_imagery_reads_as_rasterio_reads_it(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "inria_austin_crop/image.tif"
    mosaic = mosaic_of(tmp_path, f"scenes: [{path}]")
    with rasterio.open(path) as file:
        expected = np.moveaxis(file.read(window=((300, 700), (111, 999))), 0, 2)
    assert np.array_equal(pixels.read(mosaic, Window(Span(300, 700), Span(111, 999))).rgb, expected)
