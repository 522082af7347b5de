"""Small labelled data sets, written once, in every layout that train.yaml knows."""

from pathlib import Path

import geopandas
import pytest
from places import TINY, place, write_tif, write_voc


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """inria/{images,gt}, chips/{images,gt}, footprints.geojson in EPSG:4326, voc/."""
    root = tmp_path_factory.mktemp("data")
    for number, name in enumerate(["austin1", "austin6", "tyrol-w2", "tyrol-w7"]):
        each = place(number)
        write_tif(root / "inria" / "images" / f"{name}.tif", each.image)
        write_tif(root / "inria" / "gt" / f"{name}.tif", each.mask)
    for number in range(3):
        each = place(10 + number)
        write_tif(root / "chips" / f"chip_{number}.tif", each.image)
        write_tif(root / "chips" / f"chip_{number}_mask.tif", each.mask)
    boxes = geopandas.GeoSeries(place(0).boxes, crs="EPSG:32633").to_crs("EPSG:4326")
    boxes.to_file(root / "footprints.geojson", driver="GeoJSON")
    write_voc(root / "voc")
    return root


@pytest.fixture
def settings_file(root: Path, tmp_path: Path) -> Path:
    """A train.yaml of eight steps on the miniature of the Inria layout."""
    path = tmp_path / "train.yaml"
    path.write_text(TINY.format(root=root))
    return path
