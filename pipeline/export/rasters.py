"""Probabilities as a Cloud-Optimised GeoTIFF, and per-scene masks in the Inria contest's form; read by window."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetWriter
from rasterio.shutil import copy
from rasterio.windows import Window as RasterWindow

from pipeline.export.writing import writing
from pipeline.footprints.marching import is_inside
from pipeline.mosaic import Mosaic, Scene
from pipeline.samples import NO_DATA, SAMPLE_MAX
from tiling.grid import Span, Window

Read = Callable[[Window], NDArray[np.uint8]]
"""Samples of a window of the mosaic, uint8 (h, w); 255 is no data."""
Rows = Callable[[Span], NDArray[np.uint8]]
"""Values of some rows of a file, uint8 (h, w)."""
STRIP = 512
"""Rows read at once, px: the height of a tile of the file."""
TILED = {"driver": "GTiff", "dtype": "uint8", "count": 1, "tiled": True, "blockxsize": STRIP, "blockysize": STRIP}
COG = {"compress": "DEFLATE", "predictor": "YES", "blocksize": STRIP, "resampling": "AVERAGE", "bigtiff": "IF_SAFER"}


def write_cog(path: Path, mosaic: Mosaic, read: Read) -> None:
    """Write the samples of a mosaic as a COG with overviews; scale and offset give probabilities.

    Args:
        path: The file, written durably.
        mosaic: Shape, affine and CRS.
        read: Gives the samples of a window.

    Raises:
        OSError: The file cannot be written.
    """

    def samples(rows: Span) -> NDArray[np.uint8]:
        return read(Window(rows, Span(0, mosaic.shape[1])))

    with writing(path) as scratch:
        plain = scratch.with_suffix(".plain.tif")
        try:
            _write_plain(plain, mosaic, samples)
            copy(plain, scratch, driver="COG", **COG)
        finally:
            plain.unlink(missing_ok=True)
        _check(scratch, samples)


def _write_plain(path: Path, mosaic: Mosaic, samples: Rows) -> None:
    profile = _profile(mosaic.shape, mosaic.affine, mosaic.crs) | {
        "nodata": NO_DATA,
        "compress": "zstd",
        "zstd_level": 1,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.scales, file.offsets = (1 / SAMPLE_MAX,), (0.0,)
        file.set_band_description(1, "probability of building")
        _fill(file, samples)


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

    def mask(rows: Span) -> NDArray[np.uint8]:
        part = Window(rows.moved(window.rows.start), window.cols)
        return is_inside(source[0](part), source[1]).astype(np.uint8) * np.uint8(255)

    with rasterio.open(path, "w", **_profile(window.shape, affine, mosaic.crs), compress="deflate") as file:
        _fill(file, mask)
    _check(path, mask)


def _fill(file: DatasetWriter, values: Rows) -> None:
    """Write all rows of a file."""
    for rows in Span(0, file.height).pieces(STRIP):
        file.write(values(rows), 1, window=_place(Window(rows, Span(0, file.width))))


def _check(path: Path, values: Rows) -> None:
    """Read all rows back: what GDAL cannot write when it closes a GeoTIFF is lost without an error, and reads as zeros.

    Raises:
        OSError: a row is not as it was written.
    """
    with rasterio.open(path) as file:
        for rows in Span(0, file.height).pieces(STRIP):
            if not np.array_equal(file.read(1, window=_place(Window(rows, Span(0, file.width)))), values(rows)):
                raise OSError(
                    f"rows {rows.start}..{rows.stop} do not read back as they were written; is the disk full?"
                )


def _profile(shape: tuple[int, int], affine: Affine, crs: str) -> dict[str, object]:
    return {
        **TILED,
        "height": shape[0],
        "width": shape[1],
        "transform": affine,
        "crs": crs,
    }


def _place(window: Window) -> RasterWindow:
    return RasterWindow(window.cols.start, window.rows.start, *window.shape[::-1])
