"""The polygon of a region: read from a vector file, and brought into the mosaic's pixel coordinates.

Only four formats are accepted, told by their first bytes: GDAL has vector drivers that read other files, databases and
URLs. Of the four an ESRI Shapefile alone has others beside it, of the same name: ``.shx``, ``.dbf``, ``.prj``.
"""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from pipeline.errors import InputError, collecting
from pipeline.mosaic import Mosaic

BYTES_MAX = 64 << 20  # a country's boundary at full detail is about 10 MiB
DENSIFY = 1000.0  # m; a straight edge of that length bends less than 0.03 m from one CRS to another (L² · tan φ / 8 R)
DEGREE = 111_320.0  # m of a degree at the equator
FORMATS = {b"{": "GeoJSON", b"SQLite format 3": "GPKG", b"fgb\x03": "FlatGeobuf", b"\0\0\x27\x0a": "ESRI Shapefile"}


def problems(path: Path | None) -> list[str]:
    """Sentences on an area's file, before the mosaic is known."""
    found: list[str] = []
    with collecting(found):
        if path is not None:
            _polygons(path)
    return found


def within(mosaic: Mosaic, path: Path | None) -> Mosaic:
    """The mosaic with the polygon of ``path`` as its area.

    Raises:
        InputError: the file is not usable, or its polygons do not meet the mosaic.
    """
    if path is None:
        return mosaic
    crs, polygons = _polygons(path)
    try:
        area = _in_pixels(polygons, crs, mosaic)
    except ProjError as error:
        cure = "is its own CRS right, and is it of this region?"
        raise InputError(f"area {path}: cannot be brought into the scenes' CRS: {error}; {cure}") from error
    height, width = mosaic.shape
    if not shapely.intersects(area, shapely.box(0, 0, width, height)):
        raise InputError(f"area {path}: does not meet the scenes; is its coordinate reference system right?")
    return replace(mosaic, area=shapely.to_wkb(area))


def _polygons(path: Path) -> tuple[CRS, NDArray[np.object_]]:
    """CRS and polygons of a vector file."""
    import pyogrio  # noqa: PLC0415 - most regions have no area, and it brings pandas along where that is installed

    name = _format(path)
    try:
        meta, _, wkb, _ = pyogrio.raw.read(path, columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, ValueError, RuntimeError) as error:
        raise InputError(f"area {path}: cannot be read as {name}: {' '.join(str(error).split())}") from error
    geometries = shapely.from_wkb(wkb, on_invalid="ignore") if wkb is not None else np.array([], object)
    parts = shapely.get_parts(geometries[~shapely.is_missing(geometries)])
    polygons = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    polygons = polygons[~shapely.is_empty(polygons)]
    if not len(polygons):
        raise InputError(f"area {path}: holds no polygon")
    if not np.isfinite(shapely.get_coordinates(polygons)).all():
        raise InputError(f"area {path}: has coordinates that are not finite")
    if not meta["crs"]:
        raise InputError(f"area {path}: declares no coordinate reference system; write one: ogr2ogr -a_srs EPSG:<code>")
    crs = CRS.from_user_input(meta["crs"])
    _refuse_no_degrees(path, crs, polygons)
    return crs, polygons


def _refuse_no_degrees(path: Path, crs: CRS, polygons: NDArray[np.object_]) -> None:
    """Refuse what GeoJSON without a CRS most often is: metres, which its standard takes for degrees."""
    left, bottom, right, top = shapely.total_bounds(polygons)
    if crs.is_geographic and (max(-left, right) > 360 or max(-bottom, top) > 90):
        raise InputError(
            f"area {path}: has coordinates like {left:.6g}, {bottom:.6g} and declares degrees, as GeoJSON without a "
            f"coordinate reference system does; write the right one: ogr2ogr -a_srs EPSG:<code> area.gpkg {path.name}"
        )


def _format(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"area {path}: is not a regular file")
        if status.st_size > BYTES_MAX:
            raise InputError(f"area {path}: is larger than {BYTES_MAX >> 20} MiB; simplify it")
        with path.open("rb") as file:
            head = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    except OSError as error:
        raise InputError(f"area {path}: cannot be read: {error.strerror or error}") from error
    name = next((name for start, name in FORMATS.items() if head.startswith(start)), None)
    if name is None:
        raise InputError(f"area {path}: is not a {', '.join(FORMATS.values())}; convert it: ogr2ogr area.gpkg")
    return name


def _in_pixels(polygons: NDArray[np.object_], crs: CRS, mosaic: Mosaic) -> Any:
    """The union of the polygons in pixel coordinates; edges are divided first, because straight lines bend."""
    step = DENSIFY / DEGREE if crs.is_geographic else DENSIFY
    to_mosaic = Transformer.from_crs(crs, CRS.from_wkt(mosaic.crs), always_xy=True)
    to_pixels = ~mosaic.affine

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(to_pixels @ to_mosaic.transform(points[:, 0], points[:, 1], errcheck=True))

    moved = shapely.transform(shapely.segmentize(polygons, step), move)
    return shapely.union_all(shapely.make_valid(moved))
