"""Real imagery, where it lies beside the checkout: real formats, no data without a tag, a geographic CRS."""

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyogrio
import pytest
import yaml
from runs import finish


@pytest.fixture(params=["cheap", pytest.param("shipped", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, weights: Path) -> dict[str, str]:
    """A network whose cost is nothing beside that of the imagery, or the one that comes with the project."""
    return {"weights": str(weights)} if request.param == "cheap" else {}


def produced(folder: Path, **keys: Any) -> tuple[dict[str, Any], Any]:
    """run.json and the footprints of a region."""
    path = folder / "region.yaml"
    path.write_text(yaml.safe_dump({"name": "real", "output": "out", **keys}), encoding="utf-8")
    done = finish(path)
    assert done.returncode == 0, done.stderr
    print(done.stderr.splitlines()[-1])
    report = json.loads((folder / "out/run.json").read_text())
    return report, pyogrio.read_dataframe(folder / "out/footprints.gpkg", layer="footprints")


def test_rio_as_one_region_with_empty_scenes(shared_data: Path, tmp_path: Path, model: dict[str, str]) -> None:
    numbers = (57, 58, 59) if model else range(50, 65)
    scenes = [str(shared_data / "spacenet1_rio_tiles" / f"img{number}.tif") for number in numbers]
    grid = {"resample": True}  # the tiles do not share one grid
    report, found = produced(tmp_path, scenes=scenes, pixels={"nodata": 0}, grid=grid, model=model)
    counts = report["counts"]
    assert counts["pixels"] == counts["predicted"] + counts["no_data"]
    assert counts["no_data"] > 438 * 406, "img58 alone has no data at all"
    assert found.crs.to_epsg() == 4326
    geodesic = found.to_crs(6933).area  # cylindrical equal area
    assert math.isclose(geodesic.sum(), found["area_m2"].sum(), rel_tol=2e-3)


def test_a_real_inria_crop(shared_data: Path, tmp_path: Path, model: dict[str, str]) -> None:
    report, found = produced(tmp_path, scenes=[str(shared_data / "inria_austin_crop/image.tif")], model=model)
    assert report["counts"]["predicted"] == 1_000_000
    assert found.crs.to_epsg() == 26914


def test_the_folder_of_a_dense_town_never_takes_more_than_the_plan_says(shared_data: Path, tmp_path: Path) -> None:
    """With the shipped network, whose probabilities are what real ones are, and everything that can be asked for."""
    keys = {
        "scenes": [str(shared_data / "oam_banepa_nepal/banepa_labelled_0p26m.tif")],
        "footprints": {"formats": ["gpkg", "parquet", "flatgeobuf", "geojson"]},
        "probability": {"cog": True, "masks": True},
    }
    with taken(tmp_path / "out") as most:
        report, _ = produced(tmp_path, **keys)
    limit = re.match(r"([\d.]+) MiB", report["plan"]["disk"])
    assert limit
    assert 4 << 20 < most[0] <= float(limit[1]) * (1 << 20)


@contextmanager
def taken(folder: Path) -> Iterator[list[int]]:
    """The most bytes that files of a folder take meanwhile."""
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            with suppress(FileNotFoundError):  # one that was renamed meanwhile
                most[0] = max(most[0], sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_banepa_mosaic_with_white_holes(shared_data: Path, tmp_path: Path) -> None:
    scenes = [str(shared_data / "oam_banepa_nepal/banepa_full_0p26m.tif")]
    report, found = produced(tmp_path, scenes=scenes, pixels={"nodata": 255})
    counts = report["counts"]
    assert counts["pixels"] == 5632 * 4352 == counts["predicted"] + counts["no_data"]
    assert counts["no_data"] > 0
    assert found.geometry.is_valid.all()
