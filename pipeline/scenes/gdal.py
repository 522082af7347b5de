"""How GDAL is set up wherever this project reads a scene, how it opens one and a part of it, and how it fails."""

from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError  # GDAL's errors pass rasterio in this form too, and it has no public name
from rasterio.env import set_gdal_config
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window as RasterWindow

from pipeline.config import is_remote
from pipeline.scenes.remote import HttpFile
from pipeline.scenes.sources import Source
from tiling.grid import Window

OWN_ERRORS = (RasterioError, CRSError, CPLE_BaseError)
ERRORS = (*OWN_ERRORS, OSError, ValueError)

CACHE_BYTES = 128 << 20
"""Of blocks in GDAL's cache: strips that neighbouring tiles of a 5000 px scene share take 30 MB, for 4 threads."""

# Once, for all that this process and those forked from it read or write: else 5 % of the machine, which no plan could
# state. An ``Env`` with this option would take it back, and from all threads, as soon as one of them leaves it.
set_gdal_config("GDAL_CACHEMAX", CACHE_BYTES)

GDAL_OPTIONS: dict[str, str | int | bool] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no sidecar files: a scene is one file, and none may point elsewhere
    "GDAL_PAM_ENABLED": False,  # no .aux.xml either, neither read nor written beside the user's scenes
    "GDAL_GEOREF_SOURCES": "INTERNAL",  # no world files
    "GDAL_NUM_THREADS": 1,  # blocks are read in parallel already
}


def raster_window(window: Window) -> RasterWindow:
    """The window in rasterio's words."""
    return RasterWindow(window.cols.start, window.rows.start, len(window.cols), len(window.rows))


def opened(source: Source) -> Any:
    """A scene as a rasterio dataset; the GTiff driver only, so that no other format can point elsewhere."""
    if isinstance(source, str):
        return rasterio.open(source, driver="GTiff", opener=_open, sharing=False)
    return rasterio.open(source, driver="GTiff", sharing=False)


def _open(path: str, mode: str = "rb") -> HttpFile:
    if mode not in ("r", "rb") or not is_remote(path):  # rasterio first tries it with a word
        raise OSError(f"{path} is not a scene to be read")
    return HttpFile(path)
