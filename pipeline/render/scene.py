"""One window of a world as picture, mask and footprints."""

from collections.abc import Iterator
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
PIECE = 1536
"""Largest side painted at once, px."""
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
    """Picture, mask and footprints of a window (about 1 Mpx/s on one core); the same arguments give the same pixels.

    Worked in pieces of `PIECE` px, so memory beyond the picture's own stays under 0.6 GiB.
    """
    light = np.empty((3, window.height, window.width), np.float32)
    found: dict[bytes, shapely.Geometry] = {}
    for piece in _pieces(window):
        r, c = piece.row - window.row, piece.col - window.col
        light[:, r : r + piece.height, c : c + piece.width], shapes = _look(world, piece)
        found |= {shape.wkb: shape for shape in shapes}
    camera, footprints = draw_camera(world.seed), np.array(list(found.values()), object)
    seen = Grid(window.row, window.col, window.height, window.width, window.pixel)
    image = photograph(light, seen, camera)
    return Scene(through_jpeg(image, camera.quality), burn(footprints, window), footprints)


def expose(world: World, window: Window) -> NDArray[np.float32]:
    """(3, H, W) linear light that reaches the camera; a part of a scene, exposed alone, is that part."""
    return _look(world, window)[0]


def _look(world: World, window: Window) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
    """The light of a window and the footprints in it."""
    sun = draw_sun(world.seed)
    grid = _painted_grid(window, sun)
    row, col, rows, cols = (number * OVERSAMPLE for number in (window.row, window.col, window.height, window.width))
    core = Grid(row, col, rows, cols, grid.pixel)
    plan = contents(world, grid.bounds)
    return illuminate(paint(plan, grid), grid, sun, world.seed, core), _footprints(plan.buildings, window)


def _pieces(window: Window) -> Iterator[Window]:
    """The window in parts of at most PIECE x PIECE px."""
    for top in range(0, window.height, PIECE):
        for left in range(0, window.width, PIECE):
            height, width = min(PIECE, window.height - top), min(PIECE, window.width - left)
            yield Window(window.row + top, window.col + left, height, width, window.pixel)


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
