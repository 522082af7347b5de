"""How roofs rise: the height, tone and material of every roofed pixel, all parts of a scene at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from pipeline.render import noise
from pipeline.render.elements import Part
from pipeline.render.grid import Grid
from pipeline.render.materials import MATERIALS

Array = NDArray[np.float32]
SHAPES = ("flat", "gable", "hip", "shed", "saw", "vault")
"""Shapes of roofs, by number."""


@dataclass(frozen=True, slots=True)
class Weave:
    """The regular pattern of a roof covering."""

    across: float
    """Spacing of seams along the ridge, m; 0 for none."""
    down: float
    """Spacing of courses down the slope, m."""
    sheet: float
    """Relative contrast between sheets."""
    seam: float
    """Relative darkness of seams."""


_WEAVES = {
    "tile": Weave(0.9, 0.36, 0.04, 0.12), "slate": Weave(0.5, 0.3, 0.05, 0.08), "shingle": Weave(1.0, 0.3, 0.05, 0.05),
    "metal_rust": Weave(0.9, 3.0, 0.16, 0.10), "metal": Weave(0.9, 3.6, 0.05, 0.12), "fibre": Weave(1.1, 1.8, 0.10, 0.16),
    "bitumen": Weave(1.0, 8.0, 0.05, 0.06), "membrane": Weave(2.0, 12.0, 0.03, 0.05), "roof": Weave(4.0, 4.0, 0.06, 0.03),
}  # fmt: skip


def _weave(name: str) -> Weave:
    return next((weave for prefix, weave in _WEAVES.items() if name.startswith(prefix)), Weave(9.0, 9.0, 0.0, 0.0))


_TABLE = np.array([(w.across, w.down, w.sheet, w.seam) for w in map(_weave, MATERIALS)], np.float32)


@dataclass(frozen=True, slots=True)
class Roofs:
    """Roofed pixels of a grid."""

    at: NDArray[np.int64]
    """(N,) flat indices of pixels."""
    part: NDArray[np.int64]
    """(N,) number of the part that shows there."""
    height: Array
    """(N,) m."""
    tone: Array
    """(N,) factor on brightness: seams, sheets, ridges, dirt."""


def raise_roofs(grid: Grid, parts: list[Part]) -> Roofs:
    """Height and pattern of every roofed pixel; where a wing meets a main part the higher one shows."""
    layers = [_layer(grid, parts, layer) for layer in (0, 1)]
    height = np.full((2, grid.rows * grid.cols), -1, np.float32)
    for layer, roofs in enumerate(layers):
        height[layer, roofs.at] = roofs.height
    main, wing = layers
    shows_main = height[1, main.at] <= main.height
    shows_wing = height[0, wing.at] < wing.height
    merged = [
        np.concatenate([getattr(main, name)[shows_main], getattr(wing, name)[shows_wing]]) for name in ("at", "part", "height", "tone")
    ]
    return Roofs(*merged)


def _layer(grid: Grid, parts: list[Part], layer: int) -> Roofs:
    numbers = [number for number, part in enumerate(parts) if part.layer == layer]
    shapes = [({"type": "Polygon", "coordinates": [parts[n].ring[[0, 1, 2, 3, 0]].tolist()]}, n + 1) for n in numbers]
    transform = Affine(grid.pixel, 0, grid.left, 0, -grid.pixel, grid.top)
    if shapes:
        labels = rasterize(shapes, (grid.rows, grid.cols), transform=transform, dtype="int32").ravel()
    else:
        labels = np.zeros(grid.rows * grid.cols, np.int32)
    at = np.flatnonzero(labels)
    part = labels[at].astype(np.int64) - 1
    return Roofs(at, part, *_surface(grid, parts, at, part))


def _frames(parts: list[Part]) -> Array:
    """(P, 8): centre, inverse axes (pixels' offset to shares of the sides), length, span of every part."""
    rings = np.array([part.ring for part in parts]).reshape(-1, 4, 2)
    centre = rings.mean(axis=1)
    u = (rings[:, 1] - rings[:, 0] + rings[:, 2] - rings[:, 3]) / 2
    v = (rings[:, 3] - rings[:, 0] + rings[:, 2] - rings[:, 1]) / 2
    cross = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    length, span = np.hypot(u[:, 0], u[:, 1]), np.hypot(v[:, 0], v[:, 1])
    a, b = length / cross, span / cross
    return np.column_stack([centre, v[:, 1] * a, -v[:, 0] * a, -u[:, 1] * b, u[:, 0] * b, length / 2, span / 2])


def _surface(grid: Grid, parts: list[Part], at: NDArray[np.int64], part: NDArray[np.int64]) -> tuple[Array, Array]:
    """Height (m) and tone of pixels, each within its part."""
    if not len(at):
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    frame = _frames(parts)
    near = frame[:, :2] - (grid.left, grid.top)
    rows, cols = np.divmod(at, grid.cols)
    # offsets are taken from the grid's corner, so that single precision suffices far from the world's origin
    dx = ((cols + 0.5) * grid.pixel - near[part, 0]).astype(np.float32)
    dy = (-(rows + 0.5) * grid.pixel - near[part, 1]).astype(np.float32)
    g = frame[:, 2:].astype(np.float32)[part]
    u, v = dx * g[:, 0] + dy * g[:, 1], dx * g[:, 2] + dy * g[:, 3]
    half = g[:, 4], g[:, 5]
    numbers = np.array([(p.shape, p.eave, p.slope, p.material, p.tone) for p in parts], np.float32)[part]
    rise = _rise(numbers[:, 0].astype(np.int64), u, v, half)
    height = numbers[:, 1] + np.maximum(numbers[:, 2], 0.001) * rise + _parapet(numbers[:, 0], u, v, half)
    return height.astype(np.float32), _pattern(numbers, u, v, half, part)


def _rise(shape: NDArray[np.int64], u: Array, v: Array, half: tuple[Array, Array]) -> Array:
    """Distance climbed from the eaves, m, for a slope of 1."""
    length, span = half
    down = span - np.abs(v)
    end = length - np.abs(u)
    saw = np.mod(u + length, 7.0)
    vault = np.sqrt(np.maximum(1 - (v / span) ** 2, 0)) * span
    options = [0 * down, down, np.minimum(down, end), v + span, saw, vault]
    return np.choose(shape, options)


def _parapet(shape: Array, u: Array, v: Array, half: tuple[Array, Array]) -> Array:
    """The raised rim of flat roofs, m."""
    rim = np.minimum(half[0] - np.abs(u), half[1] - np.abs(v)) < 0.28
    return np.where((shape == 0) & rim & (half[1] > 2.5), np.float32(0.45), np.float32(0))


def _pattern(numbers: Array, u: Array, v: Array, half: tuple[Array, Array], part: NDArray[np.int64]) -> Array:
    """Tone of seams, sheets, ridge and dirt."""
    weave = _TABLE[numbers[:, 3].astype(np.int64)]
    across, down = (u + half[0]) / weave[:, 0], (v + half[1]) / weave[:, 1]
    i, j = np.floor(across), np.floor(down)
    sheet = noise.tile(0.0, 9)[(i.astype(np.int64) + part * 37) % noise.SIZE, (j.astype(np.int64) + part * 101) % noise.SIZE]
    seam = (across - i < 0.14) | ((down - j < 0.1) & (weave[:, 1] > 1))
    habit = noise.tile(0.0, 10)[part % noise.SIZE, 0]
    ridge = np.where((numbers[:, 0] == 1) & (np.abs(v) < 0.16), 0.09 * habit, 0)
    dirt = 0.05 * habit * v / half[1]
    return np.asarray(numbers[:, 4] * (1 + weave[:, 2] * sheet - weave[:, 3] * seam + ridge + dirt), np.float32)
