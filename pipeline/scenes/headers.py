"""What the header of one scene says. Two readers look at it: ours first, for sizes and offsets, then GDAL's."""

import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from pipeline.scenes import tiff
from pipeline.scenes.gdal import ERRORS, GDAL_OPTIONS, opened
from pipeline.scenes.remote import HttpError, HttpFile
from pipeline.scenes.sources import Source

THREADS = 8  # a header takes 1.6 ms of one core, and longer where the disk is far away
SCENES_PER_THREAD = 16  # fewer do not repay starting it


class HeaderError(ValueError):
    """Why a scene cannot be opened: the rest of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the header of one scene says."""

    source: Source
    """The file, or the URL."""
    shape: tuple[int, int]
    """(height, width) in pixels."""
    affine: Affine
    """Pixel (x, y) to CRS coordinates."""
    crs: CRS | None
    """Coordinate reference system."""
    dtype: str
    """Type of its values, as numpy names it."""
    colours: tuple[str, ...]
    """What the file says that each band is: red, green, blue, alpha, gray, palette, undefined …"""
    nodata: float | None
    """Its no-data tag."""
    mask: bool
    """It has an internal mask."""
    pixel_size: tuple[float, float] | None
    """(x, y) as written in its pixel scale tag."""
    georeferenced: bool
    """It carries a geotransform."""
    gcps: bool
    """It is placed by ground control points instead of a geotransform."""
    stamp: str
    """Digest of its size, its block tables and a sample of its bytes."""

    @property
    def count(self) -> int:
        """Number of bands, alpha included."""
        return len(self.colours)

    @property
    def alpha(self) -> int | None:
        """1-based number of its alpha band."""
        return self.colours.index("alpha") + 1 if "alpha" in self.colours else None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in its CRS."""
        height, width = self.shape
        left, top = self.affine @ (0, 0)
        right, bottom = self.affine @ (width, height)
        return left, bottom, right, top


def headers(sources: Sequence[Source], problems: list[str]) -> list[Facts]:
    """The facts of all scenes that can be opened, in order; sentences on the others go to ``problems``."""
    found = []
    with warnings.catch_warnings():  # the threads of the pool share this one's filters
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # told in our own words, with the cure
        with ThreadPoolExecutor(min(THREADS, len(sources) // SCENES_PER_THREAD + 1)) as pool:
            for source, facts in zip(sources, pool.map(_attempt, sources), strict=True):
                if isinstance(facts, Facts):
                    found.append(facts)
                else:
                    problems.append(f"{source}: {facts}")
    return found


def _attempt(source: Source) -> Facts | str:
    try:
        return header(source)
    except (HeaderError, tiff.TiffError, HttpError) as error:
        return str(error)


def header(source: Source) -> Facts:
    """The facts of one scene.

    Raises:
        HeaderError: it cannot be opened.
        tiff.TiffError: it is not a sound TIFF.
        HttpError: its server does not answer as it should.
    """
    layout = _remote_layout(source) if isinstance(source, str) else _local_layout(source)
    try:
        with rasterio.Env(**GDAL_OPTIONS), opened(source) as dataset:
            return _facts(source, dataset, layout)
    except ERRORS as error:
        raise HeaderError(f"GDAL cannot open it: {' '.join(str(error).split())}") from error


def _remote_layout(url: str) -> tiff.Layout:
    with HttpFile(url) as file:
        return tiff.check(cast(BinaryIO, file), file.size)


def _local_layout(path: Path) -> tiff.Layout:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device would wait for ever
            raise HeaderError("is not a regular file")
        with path.open("rb") as file:
            return tiff.check(file, status.st_size)
    except OSError as error:
        raise HeaderError(f"cannot be read: {error.strerror or error}") from error


def _facts(source: Source, dataset: Any, layout: tiff.Layout) -> Facts:
    return Facts(
        source=source,
        shape=dataset.shape,
        affine=dataset.transform,
        crs=dataset.crs or None,
        dtype=_common(dataset.dtypes),
        colours=tuple(colour.name for colour in dataset.colorinterp),
        nodata=dataset.nodata,
        mask=any(MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags for flags in dataset.mask_flag_enums),
        pixel_size=layout.pixel_size,
        georeferenced=layout.georeferenced and not dataset.transform.is_identity,
        gcps=not layout.georeferenced and bool(dataset.gcps[0]),
        stamp=layout.stamp,
    )


def _common(dtypes: Sequence[str]) -> str:
    """The type of all bands; TIFF has one for all, and libtiff refuses others."""
    return dtypes[0] if len(set(dtypes)) == 1 else "mixed"
