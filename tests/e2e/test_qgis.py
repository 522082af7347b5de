"""QGIS itself, headless, opens what we export: layers, CRS, style, map tip, and a picture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from test_export import ABOUT, batches, mosaic, reader, samples

from pipeline import export

PYTHON = "/usr/bin/python3"
ENVIRONMENT = {"PATH": os.defpath, "QT_QPA_PLATFORM": "offscreen", "LC_ALL": "C.UTF-8"}


def has_qgis():
    try:
        return not subprocess.run(
            [PYTHON, "-c", "import qgis.core"], capture_output=True, check=False, env=ENVIRONMENT
        ).returncode
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not has_qgis(), reason=f"{PYTHON} has no qgis.core (apt-get install python3-qgis)")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What QGIS says of each file, and its picture."""
    folder = tmp_path_factory.mktemp("qgis")
    files = export.export(batches(60), folder, ["gpkg", "flatgeobuf", "geojson"], ABOUT)
    cog = folder / "probability.tif"
    export.write_cog(cog, mosaic(), reader(samples((1300, 900)), []))
    command = [
        PYTHON,
        str(Path(__file__).with_name("qgis_probe.py")),
        str(folder / "map.png"),
        *map(str, files.values()),
        str(cog),
    ]
    home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=ENVIRONMENT | home)
    return dict(
        zip(("gpkg", "flatgeobuf", "geojson", "cog"), json.loads(answer.stdout), strict=True)
    ), folder / "map.png"


@pytest.mark.parametrize("name", ["gpkg", "flatgeobuf", "geojson"])
def test_every_vector_file_is_a_valid_layer(seen, name):
    layer = seen[0][name]
    assert layer["opens"]
    assert layer["crs"] == ("EPSG:4326" if name == "geojson" else "EPSG:32645")
    assert layer["features"] == 60
    assert layer["valid"]
    assert [field for field in layer["fields"] if field != "fid"] == [
        "id", "area_m2", "perimeter_m", "confidence", "confidence_p10", "scene", "on_edge",
    ]  # fmt: skip


def test_the_geopackage_brings_its_style(seen):
    layer = seen[0]["gpkg"]
    assert (layer["renderer"], layer["attribute"], layer["classes"]) == ("graduatedSymbol", "confidence", 5)
    assert layer["drawn"] == ["0", "1", "2", "3", "4"]
    assert not layer["labels"]
    assert "confidence 0.40" in layer["tip"]
    assert "a.tif" in layer["tip"]
    assert "[%" not in layer["tip"]


def test_qgis_draws_the_footprints_in_the_styles_colours(seen):
    picture = np.asarray(Image.open(seen[1]).convert("RGB")).reshape(-1, 3).astype(int)
    for colour in ((215, 25, 28), (253, 174, 97), (255, 255, 191), (171, 217, 233), (44, 123, 182)):
        blended = 255 + (np.array(colour) - 255) * 130 / 255
        assert (np.abs(picture - blended).max(axis=1) <= 3).sum() > 50, colour


def test_qgis_shows_probabilities_from_the_cog(seen):
    cog = seen[0]["cog"]
    assert cog["opens"]
    assert cog["size"] == [1300, 900]
    assert cog["nodata"] == 255
    assert cog["scale"] == pytest.approx(1 / 254)
    assert cog["pyramids"] >= 2
