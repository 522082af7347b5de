"""One view of a world as picture, mask and footprints."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from pipeline.errors import InputError
from pipeline.render.arrays import Array
from pipeline.render.camera import draw_camera, photograph, through_jpeg
from pipeline.render.canvas import paint
from pipeline.render.elements import Building
from pipeline.render.light import Sun, draw_sun, illuminate, sunward
from pipeline.render.view import View
from pipeline.render.world import World, contents

OVERSAMPLE = 2
"""Painted pixels per pixel and axis: edges come out anti-aliased."""
PIECE = 1536
"""Largest side painted at once, px."""
CROWN_REACH = 8.0
"""Trees and roofs up to this far outside a view are painted, m."""
FINEST, COARSEST = 0.05, 2.0
"""Ground resolutions between which pictures are drawn, m."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen and what is true."""

    image: NDArray[np.uint8]
    """(H, W, 3) red, green, blue."""
    mask: NDArray[np.uint8]
    """(H, W): 1 where a pixel's centre lies on a footprint, else 0."""
    footprints: NDArray[np.object_]
    """(N,) shapely polygons in world metres: every building that meets the view, whole."""


def render(world: World, view: View) -> Scene:
    """Picture, mask and footprints of a view (about 1 Mpx/s on one core); the same arguments give the same pixels.

    Worked in pieces of ``PIECE`` px, so memory beyond the picture's own stays under 0.6 GiB.

    Raises:
        InputError: the view's pixels are finer or coarser than pictures are drawn.
    """
    _check_pixel(view.pixel)
    light = np.empty((3, *view.shape), np.float32)
    found: dict[bytes, shapely.Geometry] = {}
    for piece in view.pieces(PIECE):
        r, c = piece.row - view.row, piece.col - view.col
        light[:, r : r + piece.rows, c : c + piece.cols], shapes = _look(world, piece)
        found |= {shape.wkb: shape for shape in shapes}
    camera, footprints = draw_camera(world.seed), np.array(list(found.values()), object)
    image = photograph(light, view, camera)
    return Scene(through_jpeg(image, camera.quality), burn(footprints, view), footprints)


def _check_pixel(pixel: float) -> None:
    if not FINEST <= pixel <= COARSEST:
        nearest = min(max(pixel, FINEST), COARSEST)
        raise InputError(f"pixel: {pixel} m is outside {FINEST}..{COARSEST} m; nearest is {nearest}")


def expose(world: World, view: View) -> Array:
    """(3, H, W) linear light that reaches the camera; a part of a scene, exposed alone, is that part."""
    return _look(world, view)[0]


def _look(world: World, view: View) -> tuple[Array, NDArray[np.object_]]:
    """The light of a view and the footprints in it."""
    sun = draw_sun(world.seed)
    painted = _painted(view, sun)
    site = contents(world, painted.bounds)
    light = illuminate(paint(site, painted), painted, sun, world.seed, view.finer(OVERSAMPLE))
    return light, _footprints(site.buildings, view)


def _painted(view: View, sun: Sun) -> View:
    """The oversampled view with room for shadows and crowns from outside, on whole pixels of the view."""
    core = view.finer(OVERSAMPLE)
    room = int(np.ceil(CROWN_REACH / view.pixel)) * OVERSAMPLE
    top, bottom, left, right = (room + side for side in sunward(sun, core.pixel))
    return core.widened(top + (core.row - top) % 4, bottom, left + (core.col - left) % 4, right)
    # ^ it starts on a multiple of 4, as what is computed at a quarter of the pixels must not depend on the view


def _footprints(buildings: list[Building], view: View) -> NDArray[np.object_]:
    """Polygons that meet the view."""
    shapes = np.array([building.footprint for building in buildings], object)
    return np.asarray(shapes[shapely.intersects(shapes, view.polygon)] if len(shapes) else shapes, object)


def burn(footprints: NDArray[np.object_], view: View) -> NDArray[np.uint8]:
    """(H, W) uint8 0 or 1 by the centre rule."""
    if not len(footprints):
        return np.zeros(view.shape, np.uint8)
    return np.asarray(rasterize(list(footprints), view.shape, transform=view.transform, dtype="uint8"))
