"""``--init`` writes a region.yaml that a run accepts, filled in from the scenes."""

from pathlib import Path

import imagery
import numpy as np
import pytest
from affine import Affine

from pipeline import config, init, run, survey
from pipeline.errors import InputError

AFFINE = Affine(0.3, 0, 500_000, 0, -0.3, 5_300_000)
"""At the resolution that the project's weights were trained at."""


def scenes(folder: Path, count: int = 2, **profile: object) -> Path:
    """Neighbouring scenes from west to east."""
    folder.mkdir(parents=True)
    for number in range(count):
        affine = AFFINE @ Affine.translation(300 * number, 0)
        imagery.write(folder / f"{number}.tif", imagery.noise(300, 300, number), **{"transform": affine} | profile)
    return folder


def made(folder: Path, path: Path) -> tuple[config.Region, str]:
    told = init.write(str(folder), path)
    return config.load(path), told


def test_it_is_what_a_run_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path = scenes(tmp_path / "Old Town!/scenes"), tmp_path / "region.yaml"
    assert run.main([str(path), "--init", str(folder)]) == 0
    said = capsys.readouterr().out
    region = config.load(path)
    assert region.name == "Old-Town"
    assert region.output == tmp_path / "out/Old-Town"
    assert survey.survey(region).shape == (300, 600)
    assert "refuse" not in said
    assert said.endswith(f"next: python -m pipeline.run {path} --dry-run\n")


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path = scenes(tmp_path / "scenes"), tmp_path / "region.yaml"
    path.write_text("mine")
    assert run.main([str(path), "--init", str(folder)]) == InputError.exit_code
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "mine"


def test_it_may_lie_among_the_scenes(tmp_path: Path) -> None:
    folder = scenes(tmp_path / "town")
    region, _ = made(folder, folder / "region.yaml")
    assert region.scenes == (str(folder / "*.tif"),)
    assert survey.survey(region).shape == (300, 600)


@pytest.mark.parametrize("name", ["a # b", "it's: [x]", "{y}", "- z", "ü"])
def test_names_that_yaml_would_misread(tmp_path: Path, name: str) -> None:
    folder = scenes(tmp_path / name)
    region, _ = made(folder, tmp_path / "region.yaml")
    assert len(survey.survey(region).scenes) == 2


@pytest.mark.parametrize("value", [0, 255])
def test_patches_of_one_value_are_no_data(tmp_path: Path, value: int) -> None:
    pixels = imagery.noise(300, 300, low=10, high=240)
    pixels[:80, 200:] = value
    imagery.write(tmp_path / "a.tif", pixels)
    region, told = made(tmp_path / "a.tif", tmp_path / "region.yaml")
    assert region.pixels.nodata == value
    assert f"pixels.nodata: {value}" in told


@pytest.mark.parametrize("profile", [{"nodata": 0}, {}])
def test_no_data_is_not_guessed_without_need(tmp_path: Path, profile: dict[str, object]) -> None:
    pixels = imagery.noise(300, 300, low=10, high=240)
    if profile:
        pixels[:80, 200:] = 0
    else:
        pixels[np.random.default_rng(0).random((300, 300)) < 0.05] = 255  # bright specks, no patches
    imagery.write(tmp_path / "a.tif", pixels, **profile)
    assert made(tmp_path / "a.tif", tmp_path / "region.yaml")[0].pixels.nodata == "auto"


def test_values_beyond_bytes_get_a_scale(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(100, 1100, (300, 300, 3)).astype(np.uint16)
    imagery.write(tmp_path / "a.tif", pixels)
    low, high = made(tmp_path / "a.tif", tmp_path / "region.yaml")[0].pixels.scale
    assert (low, high) == pytest.approx((120, 1080), abs=5)


def test_one_band_is_grey(tmp_path: Path) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(300, 300)[:, :, :1])
    region, told = made(tmp_path / "a.tif", tmp_path / "region.yaml")
    assert region.pixels.bands == (1, 1, 1)
    assert "refuse" not in told


def test_of_two_bands_the_first_is_grey(tmp_path: Path) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(300, 300)[:, :, :2])
    region, told = made(tmp_path / "a.tif", tmp_path / "region.yaml")
    assert region.pixels.bands == (1, 1, 1)
    assert "fewer than three bands; the first is taken as grey" in told


def test_patches_of_zeros_are_no_data_beyond_bytes_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(200, 2000, (300, 300, 3)).astype(np.uint16)
    pixels[:, :140] = 0
    imagery.write(tmp_path / "a.tif", pixels)
    region, _ = made(tmp_path / "a.tif", tmp_path / "region.yaml")
    assert region.pixels.nodata == 0
    assert region.pixels.scale[0] > 200


DEGREES = Affine(3e-6, 0, 15, 0, -3e-6, 45)


@pytest.mark.parametrize(
    "profile",
    [
        {"crs": 'LOCAL_CS["x",UNIT["metre",1]]'},
        {"crs": "EPSG:4326"},
        {"crs": "EPSG:32633", "transform": DEGREES},
    ],
)
def test_a_size_that_cannot_be_is_not_told(tmp_path: Path, profile: dict[str, object]) -> None:
    region, told = made(scenes(tmp_path / "scenes", 1, **profile), tmp_path / "region.yaml")
    assert region.grid.resolution == "auto"
    assert "m a pixel" not in told


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nix: no such folder; make it first"):
        init.write(str(scenes(tmp_path / "scenes", 1)), tmp_path / "nix/region.yaml")


def test_scenes_of_two_grids_are_resampled(tmp_path: Path) -> None:
    folder = scenes(tmp_path / "scenes", 1)
    shifted = AFFINE @ Affine.translation(300.4, 0)
    imagery.write(folder / "b.tif", imagery.noise(300, 300), transform=shifted)
    region, told = made(folder, tmp_path / "region.yaml")
    assert region.grid.resample
    assert "grid.resample: true" in told


def test_scenes_coarser_than_the_weights_are_resampled(tmp_path: Path) -> None:
    folder = scenes(tmp_path / "scenes", 1, transform=imagery.AFFINE)
    region, told = made(folder, tmp_path / "region.yaml")
    assert region.grid.resolution == 0.3
    assert "the weights were trained at it" in told


def test_what_it_cannot_cure_it_tells(tmp_path: Path) -> None:
    folder = scenes(tmp_path / "scenes", 1, crs=None)
    _, told = made(folder, tmp_path / "region.yaml")
    assert "a run would still refuse this:" in told
    assert "has no coordinate reference system" in told


def test_a_folder_without_scenes_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    with pytest.raises(InputError, match="holds no"):
        init.write(str(tmp_path / "scenes"), tmp_path / "region.yaml")
    assert not (tmp_path / "region.yaml").exists()


def test_real_imagery(tmp_path: Path, shared_data: Path) -> None:
    region, told = made(shared_data / "oam_banepa_nepal/banepa_full_0p26m.tif", tmp_path / "region.yaml")
    assert region.pixels.nodata == 255  # white holes without a tag
    assert region.name == "oam_banepa_nepal"
    assert "refuse" not in told


def test_usage_without_a_region(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main([])
    assert stop.value.code == InputError.exit_code
    assert "--init" in capsys.readouterr().err
