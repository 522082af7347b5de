"""Labelled scenes: an image, where its labels are, and the part of it that is meant. Read by window, never whole."""

import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from models.metrics import IGNORE
from pipeline.errors import InputError
from pipeline.scenes.gdal import raster_window
from tiling.grid import Window

Image = NDArray[np.uint8]
"""(h, w, 3) uint8 RGB."""
Labels = NDArray[np.uint8]
"""(h, w) uint8: class indices, 1 is building; ``IGNORE`` where there is no label."""


DRIVERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""By the ending, else GTiff: named, because others read further files, and a VRT may be called .tif."""


@dataclass(frozen=True, slots=True)
class LabelledScene:
    """An image with its labels, and the part of it that belongs to a split."""

    source: str
    """The data set, or the city, whose scores it counts towards."""
    image: Path
    """GeoTIFF, PNG or JPEG with three bands of uint8."""
    labels: Path
    """A mask on the image's grid, or a vector file of footprints in any CRS."""
    form: Literal["mask", "footprints", "classes"]
    """mask: not 0 is building; footprints: burnt by the centre rule; classes: the values are class indices."""
    part: Window
    """The pixels of the image that are meant."""


def opened(path: Path) -> DatasetReader:
    """The file's handle, kept open; one per process, since processes may not share them.

    Raises:
        RasterioIOError: it is no GeoTIFF, PNG or JPEG.
    """
    return _opened(path, os.getpid())


@lru_cache(maxsize=128)
def _opened(path: Path, _: int) -> DatasetReader:
    """Workers are forked: they inherit this cache, and by their process number leave its handles alone."""
    with warnings.catch_warnings():
        # Images and masks pair by pixel: chips without a georeference are as good as others.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver=DRIVERS.get(path.suffix.lower(), "GTiff"))


def whole(path: Path) -> Window:
    """All pixels of an image."""
    height, width = opened(path).shape
    return Window.of((height, width))


def read_image(scene: LabelledScene, window: Window) -> Image:
    """The pixels of ``window``, which lies inside the image."""
    pixels: Image = opened(scene.image).read((1, 2, 3), window=raster_window(window))
    return pixels.transpose(1, 2, 0)


def read_labels(scene: LabelledScene, window: Window) -> Labels:
    """The labels of ``window``, which lies inside the image; ``IGNORE`` where the image has no data."""
    if scene.form == "footprints":
        labels = _burnt(scene, window)
    else:
        labels = opened(scene.labels).read(1, window=raster_window(window))
        labels = (labels > 0).astype(np.uint8) if scene.form == "mask" else labels
    valid = opened(scene.image).dataset_mask(window=raster_window(window))
    return np.where(valid, labels, np.uint8(IGNORE))


def _burnt(scene: LabelledScene, window: Window) -> Labels:
    return burn(_footprints(scene.image, scene.labels), window)


def burn(tree: shapely.STRtree, window: Window) -> Labels:
    """(h, w) uint8: 1 where the centre of a pixel of ``window`` lies in a polygon of ``tree``, which is in pixels."""
    left, top = window.cols.start, window.rows.start
    met = tree.query(shapely.box(left, top, window.cols.stop, window.rows.stop))
    if not len(met):
        return np.zeros(window.shape, np.uint8)
    affine = Affine(1, 0, left, 0, 1, top)  # the polygons' plane is that of the pixels, y downwards
    burnt: Labels = rasterize(list(tree.geometries[met]), window.shape, transform=affine, dtype="uint8")
    return burnt


@lru_cache(maxsize=1024)  # crops come from all images in turn: with fewer trees than images nearly each is built anew
def _footprints(image: Path, vectors: Path) -> shapely.STRtree:
    raster = opened(image)
    if raster.crs is None:
        raise InputError(f"{image}: has no CRS, so that footprints cannot be placed on it")
    height, width = raster.shape
    whole_image = Window.of((height, width))
    return shapely.STRtree(footprints_in_pixels(vectors, raster.transform, raster.crs.to_wkt(), whole_image))


def footprints_in_pixels(vectors: Path, affine: Affine, crs: str, window: Window) -> NDArray[np.object_]:
    """The polygons of a vector file that meet ``window`` of a raster with ``affine`` and ``crs``, in its pixels (x, y).

    Raises:
        InputError: the file cannot be read, or does not say what its CRS is.
    """
    layer, own = layer_of(vectors)
    to_vectors = Transformer.from_crs(crs, own, always_xy=True)
    rows, cols = window.rows, window.cols
    corners = [affine @ corner for corner in product((cols.start, cols.stop), (rows.start, rows.stop))]
    (left, bottom), (right, top) = np.min(corners, 0), np.max(corners, 0)
    bounds = to_vectors.transform_bounds(left, bottom, right, top)
    found = pyogrio.raw.read(vectors, layer=layer, columns=[], bbox=bounds)[2]
    to_pixels = ~affine

    def placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = to_vectors.transform(points[:, 0], points[:, 1], direction="INVERSE")
        return np.column_stack(to_pixels @ (np.asarray(x), np.asarray(y)))

    polygons: NDArray[np.object_] = shapely.transform(shapely.from_wkb(found), placed)
    return polygons


def layer_of(vectors: Path) -> tuple[str, str]:
    """Name and CRS of the first layer of a vector file: a styled GeoPackage has a second one, of styles.

    Raises:
        InputError: the file cannot be read, or does not say what its CRS is.
    """
    try:
        layer = str(pyogrio.list_layers(vectors)[0][0])
        crs = pyogrio.read_info(vectors, layer=layer)["crs"]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, IndexError) as error:
        why = "holds no layer of polygons that GDAL can read" if vectors.exists() else "does not exist"
        raise InputError(f"{vectors}: {why}; footprints are a GeoPackage, GeoJSON, FlatGeobuf or Shapefile") from error
    if not crs:
        raise InputError(
            f"{vectors}: has no CRS, so that footprints cannot be placed; write one: ogr2ogr -a_srs EPSG:<code>"
        )
    return layer, str(crs)
