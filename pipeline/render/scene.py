"""One window of a world as picture, mask and footprints."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from pipeline.errors import InputError
from pipeline.render.camera import draw_camera, photograph, through_jpeg
from pipeline.render.canvas import paint
from pipeline.render.elements import Building
from pipeline.render.grid import Grid
from pipeline.render.light import Sun, draw_sun, illuminate, sunward
from pipeline.render.world import World, contents

OVERSAMPLE = 2
"""Painted pixels per pixel and axis: edges come out anti-aliased."""
CROWN_REACH = 8.0
"""Trees and roofs up to this far outside a window are painted, m."""


@dataclass(frozen=True, slots=True)
class Window:
    """Pixels of a world: row 0 and column 0 meet at its origin, rows run south."""

    row: int
    """First row, may be negative."""
    col: int
    """First column, may be negative."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    pixel: float = 0.3
    """Ground resolution, m."""

    def __post_init__(self) -> None:
        """Refuse windows that no picture can be made of."""
        if min(self.height, self.width) < 1:
            raise InputError(f"size: {self.height} x {self.width} px has no pixel; the least is 1 x 1")
        if not 0.05 <= self.pixel <= 2.0:
            raise InputError(
                f"pixel: {self.pixel} m is outside 0.05..2.0 m; nearest is {min(max(self.pixel, 0.05), 2.0)}"
            )

    @property
    def transform(self) -> Affine:
        """World metres of pixel corners."""
        return Affine(self.pixel, 0, self.col * self.pixel, 0, -self.pixel, -self.row * self.pixel)

    @property
    def polygon(self) -> shapely.Polygon:
        """What it covers, world metres."""
        left, top = self.transform.c, self.transform.f
        return shapely.Polygon.from_bounds(left, top - self.height * self.pixel, left + self.width * self.pixel, top)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen and what is true."""

    image: NDArray[np.uint8]
    """(H, W, 3) red, green, blue."""
    mask: NDArray[np.uint8]
    """(H, W): 1 where a pixel's centre lies on a footprint, else 0."""
    footprints: NDArray[np.object_]
    """(N,) shapely polygons in world metres: every building that meets the window, whole."""


def render(world: World, window: Window) -> Scene:
    """Picture, mask and footprints of a window (about 1 Mpx/s on one core); the same arguments give the same pixels."""
    camera = draw_camera(world.seed)
    seen = Grid(window.row, window.col, window.height, window.width, window.pixel)
    image = photograph(expose(world, window), seen, camera)
    footprints = _footprints(contents(world, window.polygon.bounds).buildings, window)
    return Scene(through_jpeg(image, camera.quality), burn(footprints, window), footprints)


def expose(world: World, window: Window) -> NDArray[np.float32]:
    """(3, H, W) linear light that reaches the camera; a part of a scene, exposed alone, is that part."""
    sun = draw_sun(world.seed)
    grid = _painted_grid(window, sun)
    row, col, rows, cols = (number * OVERSAMPLE for number in (window.row, window.col, window.height, window.width))
    core = Grid(row, col, rows, cols, grid.pixel)
    return illuminate(paint(contents(world, grid.bounds), grid), grid, sun, world.seed, core)


def _painted_grid(window: Window, sun: Sun) -> Grid:
    """The oversampled window with room for shadows and crowns from outside, on whole pixels of the window."""
    pixel = window.pixel / OVERSAMPLE
    room = int(np.ceil(CROWN_REACH / window.pixel)) * OVERSAMPLE
    top, bottom, left, right = (room + side for side in sunward(sun, pixel))
    row, col = window.row * OVERSAMPLE, window.col * OVERSAMPLE
    # ^ the grid starts on a multiple of 4, as what is computed at a quarter of the pixels must not depend on the window
    top, left = top + (row - top) % 4, left + (col - left) % 4
    rows, cols = window.height * OVERSAMPLE + top + bottom, window.width * OVERSAMPLE + left + right
    return Grid(row - top, col - left, rows, cols, pixel)


def _footprints(buildings: list[Building], window: Window) -> NDArray[np.object_]:
    """Polygons that meet the window."""
    shapes = np.array([building.footprint for building in buildings], object)
    return np.asarray(shapes[shapely.intersects(shapes, window.polygon)] if len(shapes) else shapes, object)


def burn(footprints: NDArray[np.object_], window: Window) -> NDArray[np.uint8]:
    """(H, W) uint8 0 or 1 by the centre rule."""
    shape = (window.height, window.width)
    if not len(footprints):
        return np.zeros(shape, np.uint8)
    return np.asarray(rasterize(list(footprints), shape, transform=window.transform, dtype="uint8"))
