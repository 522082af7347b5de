"""Scenes as files: GeoTIFF pictures and masks, footprints in any vector format."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio.raw
import pyproj
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.features import geometry_mask
from rasterio.transform import Affine

from pipeline.errors import InputError
from pipeline.render.scene import Scene
from pipeline.render.view import View

METRES_PER_DEGREE = 111_320.0
"""On the equator of the sphere; good to 0.5 % anywhere, which is enough for rendered places."""
CORNERS = ("none", "nw", "ne", "sw", "se")
"""Corners that can be without data."""
_FORMATS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where on Earth a world's origin lies."""

    crs: str
    """For instance ``EPSG:32633``."""
    x: float
    """Of the world's origin, in units of the CRS."""
    y: float
    """Of the world's origin, in units of the CRS."""

    def __post_init__(self) -> None:
        """Refuse a CRS that is not known."""
        try:
            pyproj.CRS.from_user_input(self.crs)
        except pyproj.exceptions.CRSError as error:
            raise InputError(f"crs: {self.crs!r} is not known to PROJ; write one such as EPSG:32633") from error

    @property
    def units(self) -> tuple[float, float]:
        """Units of the CRS for one metre on the ground, along x and y."""
        crs = pyproj.CRS.from_user_input(self.crs)
        if crs.is_geographic:
            return 1 / (METRES_PER_DEGREE * float(np.cos(np.radians(self.y)))), 1 / METRES_PER_DEGREE
        if crs.to_epsg() == 3857:
            stretch = float(np.cosh(self.y / 6378137.0))
            return stretch, stretch
        metre = 1 / float(crs.axis_info[0].unit_conversion_factor)
        return metre, metre

    def transform(self, view: View) -> Affine:
        """Pixel corners of a view in the CRS."""
        kx, ky = self.units
        left, top = self.x + view.left * kx, self.y + view.top * ky
        return Affine(view.pixel * kx, 0, left, 0, -view.pixel * ky, top)

    def project(self, footprints: NDArray[np.object_]) -> NDArray[np.object_]:
        """World metres to the CRS."""
        kx, ky = self.units
        return np.asarray(shapely.transform(footprints, lambda points: points * (kx, ky) + (self.x, self.y)), object)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a picture is written."""

    compress: str = "deflate"
    """``deflate`` or ``jpeg`` (YCbCr)."""
    quality: int = 85
    """Of JPEG."""
    nodata: int | None = None
    """Value and tag of pixels without data; None writes a mask inside the file instead, if a corner is missing."""
    corner: str = "none"
    """Which corner is without data, one of ``CORNERS``."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if self.compress not in ("deflate", "jpeg"):
            raise InputError(f"compress: {self.compress!r} is not written here; choose deflate or jpeg")
        if self.corner not in CORNERS:
            raise InputError(f"corner: {self.corner!r} is no corner; choose one of {', '.join(CORNERS)}")
        if self.compress == "jpeg" and self.nodata is not None:
            raise InputError("nodata: JPEG changes values, so a nodata tag would not hold; leave it out to get a mask")


def missing(view: View, corner: str) -> shapely.Geometry:
    """The triangle without data in a view's corner, in world metres; empty for ``none``. Half as long as each side."""
    if corner == "none":
        return shapely.Polygon()
    left, bottom, right, top = view.bounds
    width, height = view.cols * view.pixel, view.rows * view.pixel
    x, y = right if "e" in corner else left, bottom if "s" in corner else top
    along = x + width / 2 * (-1 if "e" in corner else 1)
    down = y + height / 2 * (1 if "s" in corner else -1)
    return shapely.Polygon([(x, y), (along, y), (x, down)])


def valid_pixels(view: View, corner: str) -> NDArray[np.bool_]:
    """(H, W) where a scene has data: pixels whose centres lie outside the missing triangle."""
    if corner == "none":
        return np.ones(view.shape, np.bool_)
    return np.asarray(geometry_mask([missing(view, corner)], view.shape, view.transform), np.bool_)


def write_image(path: Path, scene: Scene, view: View, place: Place, encoding: Encoding) -> None:
    """A tiled GeoTIFF of three bands."""
    valid = valid_pixels(view, encoding.corner)
    image = np.where(valid[:, :, None], scene.image, encoding.nodata or 0).astype(np.uint8)
    profile = _profile(view, place, 3)
    if encoding.compress == "jpeg":
        profile |= {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": encoding.quality}
    if encoding.nodata is not None:
        profile["nodata"] = encoding.nodata
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(image, 2, 0))
        if encoding.compress != "jpeg":
            file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        if encoding.nodata is None and not valid.all():
            file.write_mask(valid)


def write_mask(path: Path, scene: Scene, view: View, place: Place) -> None:
    """A GeoTIFF of one band, 255 on buildings, 0 elsewhere."""
    with rasterio.open(path, "w", **_profile(view, place, 1)) as file:
        file.write(scene.mask * np.uint8(255), 1)


def _profile(view: View, place: Place, count: int) -> dict[str, object]:
    return {
        "driver": "GTiff", "dtype": "uint8", "count": count, "height": view.rows, "width": view.cols,
        "crs": place.crs, "transform": place.transform(view), "compress": "deflate", "predictor": 2,
        "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip


def check_format(path: Path) -> None:
    """Refuse names whose ending is no vector format."""
    if path.suffix not in _FORMATS:
        raise InputError(f"truth: {path.suffix!r} is not written here; choose one of {', '.join(_FORMATS)}")


def write_footprints(path: Path, footprints: NDArray[np.object_], place: Place) -> None:
    """Polygons in world metres as a layer in the place's CRS; the ending of the name chooses the format."""
    check_format(path)
    path.unlink(missing_ok=True)
    geometry = shapely.to_wkb(place.project(footprints))
    pyogrio.raw.write(
        path, geometry, [], [], driver=_FORMATS[path.suffix], layer=path.stem, geometry_type="Polygon", crs=place.crs
    )
