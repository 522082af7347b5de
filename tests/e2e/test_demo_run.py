"""The demo as the README runs it: it finds the buildings, and cuts none at the border of its two scenes."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from runs import finish

DEMO = Path(__file__).parents[2] / "configs/demo.yaml"
BORDER = 392_306.0  # easting at which west.tif ends and east.tif begins, m


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("demo") / "out"
    done = finish(DEMO, "--set", f"output={output}")
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def truth() -> geopandas.GeoDataFrame:
    return pyogrio.read_dataframe(DEMO.parent / "demo/truth.gpkg")


def matches(found: np.ndarray, true: np.ndarray, least: float = 0.5) -> int:
    """Pairs of polygons whose intersection over union is at least ``least``; above a half they are one to one."""
    one, two = shapely.STRtree(true).query(found, predicate="intersects")
    common = shapely.area(shapely.intersection(found[one], true[two]))
    return int((common / (shapely.area(found[one]) + shapely.area(true[two]) - common) > least).sum())


def test_the_demo_finds_the_buildings(demo: Path, truth: geopandas.GeoDataFrame) -> None:
    found = pyogrio.read_dataframe(demo / "footprints.gpkg", layer="footprints")
    f1 = 2 * matches(found.geometry.values, truth.geometry.values) / (len(found) + len(truth))
    assert f1 >= 0.86, f"object F1 {f1:.3f}"


def test_no_building_is_cut_at_the_border_of_the_scenes(demo: Path) -> None:
    found = pyogrio.read_dataframe(demo / "footprints.gpkg", layer="footprints").geometry.values
    minx, _, maxx, _ = shapely.bounds(found).T
    assert ((minx < BORDER - 1) & (maxx > BORDER + 1)).any()
    along = shapely.box(BORDER - 0.05, 5_819_000, BORDER + 0.05, 5_821_000)
    walls = shapely.length(shapely.intersection(shapely.boundary(found), along))
    assert walls.max() < 1.0, (
        "a cut would leave a straight wall along the border; an outline that crosses it leaves 0.1 m"
    )


def test_the_corner_without_data_has_no_buildings(demo: Path) -> None:
    counts = json.loads((demo / "run.json").read_text())["counts"]
    assert counts["no_data"] > 100_000
    assert counts["failed"] == 0
