"""Small GeoTIFFs for tests, written by rasterio as people's own software would write them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

UTM = "EPSG:32633"
AFFINE = Affine(0.5, 0, 500_000, 0, -0.5, 5_300_000)


def noise(height: int, width: int, seed: int = 0, low: int = 1, high: int = 255) -> NDArray[np.uint8]:
    """(height, width, 3) of random values from ``low`` to ``high``, both included."""
    return np.random.default_rng(seed).integers(low, high, (height, width, 3), dtype=np.uint8, endpoint=True)


def write(path: Path, pixels: NDArray[Any], mask: NDArray[np.bool_] | None = None, **profile: Any) -> Path:
    """Write (h, w, bands) as a GeoTIFF; ``mask`` becomes an internal mask. The profile overrides the defaults."""
    height, width, count = pixels.shape
    settings = {
        "driver": "GTiff",
        "dtype": pixels.dtype.name,
        "crs": UTM,
        "transform": AFFINE,
        "photometric": None,
    } | profile
    settings = {key: value for key, value in settings.items() if value is not None}
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),  # some tests want it so
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", height=height, width=width, count=count, **settings) as file,
    ):
        file.write(np.moveaxis(pixels, 2, 0))
        if mask is not None:
            file.write_mask(mask)
    return path


def region(folder: Path, text: str) -> Path:
    """A region.yaml with a name and ``text``."""
    path = folder / "region.yaml"
    path.write_text(f"name: test\n{text}\n")
    return path


def create(path: Path, height: int, width: int, **profile: Any) -> None:
    """A GeoTIFF of three uint8 bands to which nothing is written."""
    settings = {"driver": "GTiff", "dtype": "uint8", "count": 3, "crs": UTM, "transform": AFFINE} | profile
    rasterio.open(path, "w", height=height, width=width, **settings).close()
