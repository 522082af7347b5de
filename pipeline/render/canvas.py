"""Painting a site: which material shows at every pixel, how bright and how high it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.render import noise
from pipeline.render.arrays import Array
from pipeline.render.elements import Patch, Site, Tree
from pipeline.render.materials import NUMBER
from pipeline.render.roofs import raise_roofs
from pipeline.render.trees import SIDE, VARIANTS, stamps
from pipeline.render.view import View

RAGGED = 0.35
"""How far soft ground frays over its drawn edge, m (one deviation)."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is seen straight from above."""

    material: NDArray[np.uint8]
    """(R, C) rows of the material table."""
    tone: Array
    """(R, C) factor on brightness."""
    height: Array
    """(R, C) m above the ground."""
    leafy: NDArray[np.bool_]
    """(R, C) whether a crown shows."""


def paint(site: Site, view: View) -> Canvas:
    """Ground, then roofs, small things, crowns."""
    canvas = _ground(site, view)
    roofs = raise_roofs(view, [part for building in site.buildings for part in building.parts])
    materials = np.array([part.material for building in site.buildings for part in building.parts], np.uint8)
    canvas.height.flat[roofs.at] = roofs.height
    canvas.tone.flat[roofs.at] = roofs.tone
    if len(roofs.at):
        canvas.material.flat[roofs.at] = materials[roofs.part]
    _things(canvas, site.details, view)
    for tree in site.trees:
        _crown(canvas, tree, view)
    return canvas


def _draw(patches: list[Patch], view: View, image: Image.Image, first: int) -> None:
    """Number patches from ``first`` on an image of labels."""
    draw = ImageDraw.Draw(image)
    for number, patch in enumerate(patches):
        points = np.rint(view.pixels(patch.ring))
        # ^ Pillow cuts decimals toward zero, which would depend on where the view begins
        if (points.max(axis=0) >= 0).all() and (points.min(axis=0) <= (view.cols, view.rows)).all():
            draw.polygon(points.ravel().tolist(), fill=first + number)


def _labels(patches: list[Patch], view: View, first: int = 1) -> NDArray[np.int32]:
    image = Image.new("I", (view.cols, view.rows))
    _draw(patches, view, image, first)
    return np.array(image)


def _ground(site: Site, view: View) -> Canvas:
    """Streets and pavements, soft ground with ragged edges over them, paving on top."""
    below = site.streets + site.base
    labels = _labels(below, view)
    natural = _ragged(_labels(site.natural, view, len(below) + 1), view)
    np.copyto(labels, natural, where=natural > 0)
    paved = _labels(site.paved, view, len(below) + len(site.natural) + 1)
    np.copyto(labels, paved, where=paved > 0)
    patches = below + site.natural + site.paved
    material = np.array([NUMBER["old_asphalt"]] + [patch.material for patch in patches], np.uint8)
    tone = np.array([1.0] + [patch.tone for patch in patches], np.float32)
    height = np.zeros(labels.shape, np.float32)
    return Canvas(material.take(labels), tone.take(labels), height, np.zeros(labels.shape, np.bool_))


def _ragged(labels: NDArray[np.int32], view: View) -> NDArray[np.int32]:
    """Labels looked up a little to the side, so that lawns and fields have no ruled edges."""
    reach, found = RAGGED / view.pixel, np.empty_like(labels)
    flat, cols = labels.ravel(), np.arange(view.cols, dtype=np.int32)
    for top in range(0, view.rows, 64):
        ys = view.ys[top : top + 64]
        rows = np.arange(top, top + len(ys), dtype=np.int32)[:, None]
        down = (noise.read(1.3, 21, ys, view.xs) * reach).astype(np.int32) + rows
        right = (noise.read(1.3, 22, ys, view.xs) * reach).astype(np.int32) + cols
        at = np.clip(down, 0, view.rows - 1) * view.cols + np.clip(right, 0, view.cols - 1)
        flat.take(at, out=found[top : top + 64], mode="clip")
    return found


def _things(canvas: Canvas, patches: list[Patch], view: View) -> None:
    """Small things take the height of what they stand on (its median would be truer, but they are small)."""
    labels = _labels(patches, view).ravel()
    at = np.flatnonzero(labels)
    if not len(at):
        return
    which = labels[at] - 1
    canvas.material.flat[at] = np.array([patch.material for patch in patches], np.uint8)[which]
    canvas.tone.flat[at] = np.array([patch.tone for patch in patches], np.float32)[which]
    canvas.height.flat[at] += np.array([patch.height for patch in patches], np.float32)[which]


def _crown(canvas: Canvas, tree: Tree, view: View) -> None:
    """Put a crown where it is higher than what is there."""
    centre = view.pixels(tree.place)[0]
    radius = tree.radius / view.pixel
    low = np.ceil(centre - radius).astype(int)
    high = np.floor(centre + radius).astype(int) + 1
    c0, r0 = np.maximum(low, 0)
    c1, r1 = np.minimum(high, (view.cols, view.rows))
    if c0 >= c1 or r0 >= r1:
        return
    scale = SIDE / (2 * radius)
    cols = np.clip(((np.arange(c0, c1) - centre[0] + radius) * scale), 0, SIDE - 1).astype(int)
    rows = np.clip(((np.arange(r0, r1) - centre[1] + radius) * scale), 0, SIDE - 1).astype(int)
    turn = int(abs(tree.place[0, 0] * 97 + tree.place[0, 1] * 131))
    stamp = stamps()[tree.species, turn % VARIANTS]
    if turn & 16:
        stamp = stamp.T
    crown = stamp[rows[:, None], cols] * np.float32(tree.height)
    window = (slice(r0, r1), slice(c0, c1))
    taller = crown > canvas.height[window]
    np.copyto(canvas.height[window], crown, where=taller)
    np.copyto(canvas.tone[window], np.float32(tree.tone), where=taller)
    canvas.material[window][taller] = tree.material
    canvas.leafy[window] |= taller
