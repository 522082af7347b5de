"""``python -m pipeline.run`` as a user runs it: one region of two scenes, its outputs read back by other programs."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rioxarray  # noqa: F401 - registers the accessor
import xarray
from affine import Affine
from runs import finish
from small import AFFINE, texture, write_region, write_scene

from pipeline import config
from pipeline.run import main

SHAPE, CUT = (330, 500), 210


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("region")
    image = texture(SHAPE)
    image[:60, :60] = 0
    write_scene(folder / "scenes/west.tif", image[:, :CUT], nodata=0)
    write_scene(folder / "scenes/east.tif", image[:, CUT:], AFFINE @ Affine.translation(CUT, 0), nodata=0)
    keys = {"tiles": {"size": 480}, "footprints": {"min_area": 1.0, "formats": ["gpkg", "parquet", "geojson"]}}
    return write_region(folder, weights, ["scenes/*.tif"], **keys)


@pytest.fixture(scope="module")
def output(region: Path) -> Path:
    done = finish(region)
    assert done.returncode == 0, done.stderr
    assert "footprints in" in done.stderr
    return region.parent / "out"


def test_the_report_adds_up(output: Path) -> None:
    report = json.loads((output / "run.json").read_text())
    counts = report["counts"]
    assert report["status"] == "done"
    assert (
        counts["pixels"] == SHAPE[0] * SHAPE[1] == sum(counts[k] for k in ("predicted", "no_data", "outside", "failed"))
    )
    assert counts["no_data"] == 60 * 60
    assert {path.name for path in (output / ".work").iterdir()} == {"journal.jsonl", "lease.lock", "thumbnails"}


def test_the_report_holds_the_config(region: Path, output: Path) -> None:
    told = json.loads((output / "run.json").read_text())["config"]
    assert config.Region.model_validate(told) == config.load(region)


def test_xarray_opens_the_probabilities(output: Path) -> None:
    with xarray.open_zarr(output / "probability.zarr", decode_coords="all") as data:
        probability = data["probability"].load()
    assert probability.rio.crs.to_epsg() == 26914
    assert probability.shape == SHAPE
    assert tuple(probability.rio.transform(recalc=False))[:6] == pytest.approx(tuple(AFFINE)[:6], abs=1e-9)
    assert float(probability.x[0]) == pytest.approx(AFFINE.c + 0.15)
    values = probability.to_numpy()
    assert np.isnan(values[:60, :60]).all()
    assert np.nanmin(values) >= 0
    assert np.nanmax(values) <= 1
    assert np.isnan(values).sum() == 60 * 60


def test_the_geopackage_is_as_promised(output: Path) -> None:
    info = pyogrio.read_info(output / "footprints.gpkg", layer="footprints")
    report = json.loads((output / "run.json").read_text())
    columns = ["id", "area_m2", "perimeter_m", "confidence", "confidence_p10", "scene", "on_edge"]
    assert list(info["fields"]) == columns
    assert info["crs"] == "EPSG:26914"
    assert info["features"] == report["footprints"] > 0
    frame = pyogrio.read_dataframe(output / "footprints.gpkg", layer="footprints")
    assert frame.geometry.is_valid.all()
    assert frame["id"].is_unique
    assert set(frame["scene"]) <= {"west.tif", "east.tif"}


def test_buildings_go_on_across_the_border_of_two_scenes(output: Path) -> None:
    frame = pyogrio.read_dataframe(output / "footprints.gpkg", layer="footprints")
    border = AFFINE.c + CUT * AFFINE.a
    bounds = frame.geometry.bounds
    assert ((bounds.minx < border - 1) & (bounds.maxx > border + 1)).any()


def test_a_second_run_says_that_it_is_done(region: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in output.glob("[!.]*.*")}
    assert main([str(region)]) == 0
    assert "already done" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in output.glob("[!.]*.*")} == before


def test_another_configuration_is_refused_with_the_difference(
    region: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(region), "--set", "tiles.halo=128"]) == 2
    said = capsys.readouterr().err
    assert "tiles.halo: was auto, is now 128" in said
    assert "--overwrite" in said
    assert (output / "footprints.gpkg").exists()


def test_a_config_error_names_place_key_rule_and_cure(region: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(region), "--set", "tiles.size=500"]) == 2
    assert "tiles.size: 500 is not a multiple of 32; nearest are 480 and 512" in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_and_writes_nothing(region: Path, tmp_path: Path) -> None:
    planned = finish(region, "--dry-run", "--set", f"output={tmp_path / 'fresh'}")
    assert planned.returncode == 0, planned.stderr
    assert "330 × 500 px, 2 scenes" in planned.stdout
    assert not (tmp_path / "fresh").exists()
