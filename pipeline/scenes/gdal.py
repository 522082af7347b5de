"""How GDAL is set up wherever this project opens a scene, and how it fails."""

from rasterio._err import CPLE_BaseError  # GDAL's errors pass rasterio in this form too, and it has no public name
from rasterio.errors import CRSError, RasterioError

ERRORS = (RasterioError, CRSError, CPLE_BaseError, OSError, ValueError)

CACHE_BYTES = (
    128 << 20
)  # strips that neighbouring tiles of a 5000 px scene share: 5000 · 2048 · 3 B = 30 MB, for 4 threads

GDAL_OPTIONS: dict[str, str | int | bool] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no sidecar files: a scene is one file, and none may point elsewhere
    "GDAL_PAM_ENABLED": False,  # no .aux.xml either, neither read nor written beside the user's scenes
    "GDAL_GEOREF_SOURCES": "INTERNAL",  # no world files
    "GDAL_CACHEMAX": CACHE_BYTES,  # else 5 % of the machine, which no plan could state
    "GDAL_NUM_THREADS": 1,  # blocks are read in parallel already
}
