"""Probabilities as a Cloud-Optimised GeoTIFF, and per-scene masks in the Inria contest's form; read by window."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.shutil import copy

from models.samples import NO_DATA, SAMPLE_MAX
from pipeline.export.writing import FAILURES, reason, writing
from pipeline.footprints.marching import is_inside
from pipeline.mosaic import Mosaic, Scene
from pipeline.scenes.gdal import raster_window
from tiling.grid import Span, Window

Read = Callable[[Window], NDArray[np.uint8]]
"""Samples of a window of the mosaic, or values of one of a file, uint8 (h, w); of samples, 255 is no data."""
Call = Callable[..., Any]
"""Calls a function with arguments, here or elsewhere."""
SIDE = 512
"""Of a tile of the files, px."""
PART = SIDE, 16 * SIDE
"""Rows and columns that are held at once, px: whole tiles, 4 MiB, however wide the region."""
TILED = {"driver": "GTiff", "dtype": "uint8", "count": 1, "tiled": True, "blockxsize": SIDE, "blockysize": SIDE}
BIG = {"bigtiff": "IF_SAFER"}
"""By itself, GDAL takes a compressed file for one that stays below 4 GiB, and fails when it does not."""
COG = {"compress": "DEFLATE", "predictor": "YES", "blocksize": SIDE, "resampling": "AVERAGE", **BIG}


def at_once(task: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function here and now."""
    return task(*arguments)


def write_cog(path: Path, mosaic: Mosaic, read: Read, call: Call = at_once) -> None:
    """Write the samples of a mosaic as a COG with overviews; scale and offset give probabilities.

    Args:
        path: The file, written durably.
        mosaic: Shape, affine and CRS.
        read: Gives the samples of a window.
        call: Lets another process do what takes minutes in one go.

    Raises:
        OSError: The file cannot be written.
    """
    with writing(path) as scratch:
        plain = scratch.with_suffix(".plain.tif")
        try:
            _write_plain(plain, mosaic, read)
            call(to_cog, plain, scratch)
        finally:
            plain.unlink(missing_ok=True)
        _check(scratch, read)


def to_cog(plain: Path, path: Path) -> None:
    """Make a COG of a GeoTIFF; GDAL heeds nobody meanwhile, in a large region for minutes.

    Raises:
        OSError: It cannot be written.
    """
    try:
        copy(plain, path, driver="COG", **COG)
    except FAILURES as error:
        raise OSError(reason(error)) from None  # GDAL's own errors do not travel between processes


def _write_plain(path: Path, mosaic: Mosaic, read: Read) -> None:
    profile = _profile(mosaic.shape, mosaic.affine, mosaic.crs) | {
        "nodata": NO_DATA,
        "compress": "zstd",
        "zstd_level": 1,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.scales, file.offsets = (1 / SAMPLE_MAX,), (0.0,)
        file.set_band_description(1, "probability of building")
        _fill(file, read)


def mask_path(folder: Path, scene: Scene) -> Path:
    """Where the mask of a scene lies."""
    return folder / f"{Path(scene.name).stem}.tif"


def write_masks(folder: Path, mosaic: Mosaic, read: Read, level: int) -> list[Path]:
    """Write for each scene a mask with 255 for building, named and georeferenced as the scene.

    Args:
        folder: Where the masks go; made when absent.
        mosaic: The scenes and their windows.
        read: Gives the samples of a window of the mosaic.
        level: The least sample that is building.

    Returns:
        The files, in the scenes' order.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for scene in mosaic.scenes:
        paths.append(mask_path(folder, scene))
        with writing(paths[-1]) as scratch:
            _write_mask(scratch, scene, mosaic, (read, level))
    return paths


def _write_mask(path: Path, scene: Scene, mosaic: Mosaic, source: tuple[Read, int]) -> None:
    window = scene.window.clip(mosaic.shape)
    affine = mosaic.affine @ Affine.translation(window.cols.start, window.rows.start)

    def mask(part: Window) -> NDArray[np.uint8]:
        samples = source[0](part.moved(window.rows.start, window.cols.start))
        return is_inside(samples, source[1]).astype(np.uint8) * np.uint8(255)

    with rasterio.open(path, "w", **_profile(window.shape, affine, mosaic.crs), compress="deflate") as file:
        _fill(file, mask)
    _check(path, mask)


def _fill(file: DatasetWriter, values: Read) -> None:
    """Write all of a file."""
    for part in _parts(file.shape):
        file.write(values(part), 1, window=raster_window(part))


def _check(path: Path, values: Read) -> None:
    """Read all of it back: what GDAL cannot write when it closes a GeoTIFF is lost without an error and reads as zeros.

    Raises:
        OSError: a pixel is not as it was written.
    """
    with rasterio.open(path) as file:
        for part in _parts(file.shape):
            if not np.array_equal(file.read(1, window=raster_window(part)), values(part)):
                rows, cols = part.rows, part.cols
                place = f"rows {rows.start}..{rows.stop}, columns {cols.start}..{cols.stop}"
                raise OSError(f"{place} do not read back as they were written; is the disk full?")


def _parts(shape: tuple[int, int]) -> Iterator[Window]:
    """Windows that partition a file, from left to right and row by row of its tiles."""
    for rows in Span(0, shape[0]).pieces(PART[0]):
        for cols in Span(0, shape[1]).pieces(PART[1]):
            yield Window(rows, cols)


def _profile(shape: tuple[int, int], affine: Affine, crs: str) -> dict[str, object]:
    return {
        **TILED,
        **BIG,
        "height": shape[0],
        "width": shape[1],
        "transform": affine,
        "crs": crs,
    }
