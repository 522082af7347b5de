"""Real files with real trouble, and real files that were damaged on the way."""

import random
from pathlib import Path

import imagery
import numpy as np
import pytest
import rasterio

from pipeline import config, pixels, run, survey
from pipeline.errors import InputError
from pipeline.mosaic import Mosaic
from tiling.grid import Window

pytestmark = pytest.mark.usefixtures("no_network")
SHANGHAI = "spacenet2_shanghai_unlabelled_16bit/*.tif"


def surveyed(folder: Path, text: str) -> Mosaic:
    pixels.close()
    return survey.survey(config.load(imagery.region(folder, text)))


def whole(mosaic: Mosaic) -> pixels.Pixels:
    return pixels.read(mosaic, Window.of(mosaic.shape))


def refused(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    before = set(folder.rglob("*"))
    assert run.main([str(imagery.region(folder, text))]) == 2
    assert set(folder.rglob("*")) - before == {folder / "region.yaml"} - before
    return capsys.readouterr().err.splitlines()


def test_sixteen_bits_need_a_scale(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes = f"scenes: ['{shared_data / SHANGHAI}']"
    (sentence,) = refused(tmp_path, scenes, capsys)
    assert sentence.endswith("holds uint16 values; say which range becomes 0..255: pixels.scale: [low, high]")
    mosaic = surveyed(tmp_path, f"{scenes}\npixels: {{scale: [100, 900]}}")
    with rasterio.open(mosaic.scenes[0].path) as file:
        values = np.moveaxis(file.read(), 0, 2).astype(float)
    expected = np.clip(np.rint((values - 100) / 800 * 255), 0, 255)
    assert np.abs(whole(mosaic).rgb - expected).max() <= 1  # halves may be rounded either way
    assert 60 < expected.mean() < 200


def test_tiles_off_each_other_s_grid_are_all_named(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = f"scenes: ['{shared_data}/spacenet1_rio_tiles/img??.tif']"
    sentences = refused(tmp_path, scenes, capsys)
    assert len(sentences) == 14
    assert all(sentence.endswith("set grid.resample: true to resample it") for sentence in sentences)
    mosaic = surveyed(tmp_path, f"{scenes}\ngrid: {{resample: true}}\npixels: {{nodata: 0}}")
    assert len(mosaic.scenes) == 15


def test_a_tile_that_is_all_no_data_is_read_as_such(shared_data: Path, tmp_path: Path) -> None:
    mosaic = surveyed(tmp_path, f"scenes: ['{shared_data}/spacenet1_rio_tiles/img58.tif']\npixels: {{nodata: 0}}")
    found = whole(mosaic)
    assert not found.valid.any()
    assert (found.rgb == pixels.FILL).all()


def test_chips_without_a_place_are_all_named(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = refused(tmp_path, f"scenes: ['{shared_data}/inria_austin_chicago_chips/images']", capsys)
    assert len(sentences) == 41
    assert all("is not georeferenced; write its place into the file: gdal_edit.py" in each for each in sentences)


def test_scenes_of_two_countries_are_refused(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"{shared_data}/inria_austin_crop/image.tif, {shared_data}/oam_banepa_nepal/banepa_full_0p26m.tif"
    (sentence,) = refused(tmp_path, f"scenes: [{names}]", capsys)
    assert "is in EPSG:3857, but" in sentence


def test_truncated_copies_are_refused(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "inria_austin_crop/image.tif").read_bytes()
    generator = random.Random(1)  # noqa: S311 - not for secrets
    for _ in range(25):
        (tmp_path / "a.tif").write_bytes(content[: generator.randrange(len(content))])
        with pytest.raises(InputError, match=r"truncated|is not a TIFF|is empty|no directory"):
            surveyed(tmp_path, "scenes: [a.tif]")


def test_bit_flips_are_refused_found_on_reading_or_survived(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "inria_austin_crop/image.tif"
    with rasterio.open(path) as file:
        image, profile = np.moveaxis(file.read(), 0, 2), {"crs": file.crs, "transform": file.transform}
    content = imagery.write(tmp_path / "a.tif", image, compress="deflate", **profile).read_bytes()
    generator = random.Random(2)  # noqa: S311
    outcomes = []
    for _ in range(40):
        damaged = bytearray(content)
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        (tmp_path / "a.tif").write_bytes(damaged)
        outcomes.append(outcome(tmp_path, image))
    assert len(outcomes) == 40
    assert outcomes.count("found") > 10  # libtiff checks no sums: a flip that still decodes changes some pixels


def outcome(folder: Path, image: np.ndarray) -> str:
    try:
        found = whole(surveyed(folder, "scenes: [a.tif]"))
    except InputError:
        return "refused"
    except pixels.SceneError:
        return "found"
    return "harmless" if np.array_equal(found.rgb, image) else "changed"
