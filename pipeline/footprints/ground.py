"""From mosaic pixels to the ground: metres per pixel at a place, geodesic areas and perimeters, stable names."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer

from pipeline.footprints.arrays import Float, Int, Polygons

PHASES = 1000
"""Names quantise positions to a thousandth of a pixel, so that another origin of the mosaic gives the same name."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the mosaic's pixels lie on the ground."""

    affine: Affine
    """Pixel (x, y) to CRS coordinates; north up."""
    crs: str
    """WKT of the coordinate reference system."""
    scenes: tuple[str, ...]
    """File names of the scenes, by index."""

    def place(self, polygons: Polygons) -> Polygons:
        """Polygons in mosaic pixels to the CRS."""
        return np.asarray(shapely.transform(polygons, self._to_crs))

    def _to_crs(self, points: Float) -> Float:
        scale, shift = np.array([self.affine.a, self.affine.e]), np.array([self.affine.c, self.affine.f])
        return np.asarray(points * scale + shift)

    def metres(self, places: Float) -> Float:
        """Size of a pixel on the ground, (n, 2) m along x and y, at (n, 2) places in mosaic pixels."""
        geod, to_degrees = _earth(self.crs)
        here = to_degrees(self._to_crs(places))
        sizes = []
        for step in ((1.0, 0.0), (0.0, 1.0)):
            there = to_degrees(self._to_crs(places + step))
            sizes.append(geod.inv(*here, *there)[2])
        return np.stack(sizes, axis=1).reshape(-1, 2)

    def measure(self, polygons: Polygons) -> tuple[Float, Float]:
        """Geodesic area (m²) and perimeter with courtyards (m) of polygons in the CRS."""
        if not len(polygons):
            return np.zeros(0), np.zeros(0)
        geod, to_degrees = _earth(self.crs)
        _, points, (rings, parts) = shapely.to_ragged_array(polygons)
        lon, lat = to_degrees(points)
        pairs = [geod.polygon_area_perimeter(lon[a:b], lat[a:b]) for a, b in pairwise(rings.tolist())]
        areas, perimeters = np.abs(np.array(pairs)).T
        areas[np.setdiff1d(np.arange(len(areas)), parts[:-1])] *= -1  # courtyards
        return np.add.reduceat(areas, parts[:-1]), np.add.reduceat(perimeters, parts[:-1])

    def names(self, row: Int, col: Int) -> list[str]:
        """Stable names of buildings by their first samples: a digest of the CRS and the sample's place."""
        authority = _authority(self.crs)
        x, y = (
            np.rint((at + 0.5 + shift / scale) * PHASES).astype(np.int64)
            for at, scale, shift in ((col, self.affine.a, self.affine.c), (row, self.affine.e, self.affine.f))
        )
        return [
            blake2b(f"{authority} {a} {b}".encode(), digest_size=8).hexdigest()
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]


@lru_cache(maxsize=4)
def _earth(crs: str) -> tuple[Geod, Callable[[Float], Float]]:
    """The CRS's ellipsoid, and the way from (n, 2) points in the CRS to (2, n) degrees east and north on it."""
    reference = CRS.from_wkt(crs)
    geodetic = reference.geodetic_crs or CRS.from_epsg(4326)
    transformer = Transformer.from_crs(reference, geodetic, always_xy=True)
    unit = math.degrees(geodetic.axis_info[0].unit_conversion_factor)  # French ones count in grads
    return reference.get_geod() or Geod(ellps="WGS84"), lambda points: unit * np.array(transformer.transform(*points.T))


@lru_cache(maxsize=4)
def _authority(crs: str) -> str:
    """A short, stable name of a CRS: EPSG code where it has one."""
    reference = CRS.from_wkt(crs)
    authority = reference.to_authority()
    return ":".join(authority) if authority else reference.to_wkt()
