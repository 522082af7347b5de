"""The demo's imagery is what its README says: drawn by the command that stands there."""

import shlex
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from pipeline.render.__main__ import main

DEMO = Path(__file__).parents[3] / "configs" / "demo"


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo drawn anew by the README's command."""
    folder = tmp_path_factory.mktemp("demo")
    command = (DEMO / "README.md").read_text().split("python -m pipeline.render", 1)[1].split("\n\n", 1)[0]
    words = shlex.split(command.replace("\\\n", " "))
    assert main([word.replace("configs/demo", str(folder)) for word in words]) == 0
    return folder


@pytest.mark.parametrize("name", ["west.tif", "east.tif"])
def test_scenes_come_out_again(again: Path, name: str) -> None:
    """Equal but for what another JPEG library or another CPU's rounding may change by a few levels."""
    with rasterio.open(DEMO / name) as old, rasterio.open(again / name) as new:
        assert old.profile == new.profile
        assert np.array_equal(old.dataset_mask(), new.dataset_mask())
        difference = np.abs(old.read().astype(int) - new.read())
    assert difference.mean() < 0.5
    assert (difference > 24).mean() < 1e-3


def test_footprints_come_out_again(again: Path) -> None:
    """The same buildings, wall by wall, all valid and in data."""
    old, new = (geopandas.read_file(folder / "truth.gpkg", engine="pyogrio") for folder in (DEMO, again))
    assert old.crs == new.crs
    assert shapely.equals_exact(old.geometry.values, new.geometry.values, 0.002).all()
    assert old.geometry.is_valid.all()
    assert len(old) > 150


def test_the_demo_is_a_region_of_two_scenes() -> None:
    """Neighbours on one grid, buildings across their border, a corner without data, small enough to ship."""
    with rasterio.open(DEMO / "west.tif") as west, rasterio.open(DEMO / "east.tif") as east:
        border = west.bounds.right
        assert east.bounds.left == pytest.approx(border, abs=1e-6)
        assert west.dataset_mask().all()
        assert 0.05 < (east.dataset_mask() == 0).mean() < 0.2
        assert all(side % 32 for side in west.shape)
    boxes = geopandas.read_file(DEMO / "truth.gpkg", engine="pyogrio").bounds
    assert ((boxes.minx < border - 1) & (boxes.maxx > border + 1)).sum() >= 3
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 2_500_000
