"""How roofs rise: the height, tone and material of every roofed pixel, all parts of a scene at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from pipeline.render import noise
from pipeline.render.arrays import Array
from pipeline.render.elements import Part
from pipeline.render.materials import MATERIALS
from pipeline.render.view import View

CHUNK = 1 << 15
"""Pixels worked on at a time: their numbers fit a cache."""
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
    "tile": Weave(0.9, 0.36, 0.04, 0.12),
    "slate": Weave(0.5, 0.3, 0.05, 0.08),
    "shingle": Weave(1.0, 0.3, 0.05, 0.05),
    "metal_rust": Weave(0.9, 3.0, 0.16, 0.10),
    "metal": Weave(0.9, 3.6, 0.05, 0.12),
    "fibre": Weave(1.1, 1.8, 0.10, 0.16),
    "bitumen": Weave(1.0, 8.0, 0.05, 0.06),
    "membrane": Weave(2.0, 12.0, 0.03, 0.05),
    "roof": Weave(4.0, 4.0, 0.06, 0.03),
}
"""By the start of the material's name; the first that fits."""


def _weave(name: str) -> Weave:
    return next((weave for prefix, weave in _WEAVES.items() if name.startswith(prefix)), Weave(9.0, 9.0, 0.0, 0.0))


_TABLE = np.array([(w.across, w.down, w.sheet, w.seam) for w in map(_weave, MATERIALS)], np.float32)


@dataclass(frozen=True, slots=True)
class Roofs:
    """Roofed pixels of a view."""

    at: NDArray[np.int64]
    """(N,) flat indices of pixels."""
    part: NDArray[np.int64]
    """(N,) number of the part that shows there."""
    height: Array
    """(N,) m."""
    tone: Array
    """(N,) factor on brightness: seams, sheets, ridges, dirt."""


def raise_roofs(view: View, parts: list[Part]) -> Roofs:
    """Height and pattern of every roofed pixel; where a wing meets a main part the higher one shows."""
    layers = [_layer(view, parts, layer) for layer in (0, 1)]
    height = np.full((2, view.rows * view.cols), -1, np.float32)
    for layer, roofs in enumerate(layers):
        height[layer, roofs.at] = roofs.height
    main, wing = layers
    shows_main = height[1, main.at] <= main.height
    shows_wing = height[0, wing.at] < wing.height
    return Roofs(
        np.concatenate([main.at[shows_main], wing.at[shows_wing]]),
        np.concatenate([main.part[shows_main], wing.part[shows_wing]]),
        np.concatenate([main.height[shows_main], wing.height[shows_wing]]),
        np.concatenate([main.tone[shows_main], wing.tone[shows_wing]]),
    )


def _layer(view: View, parts: list[Part], layer: int) -> Roofs:
    numbers = [number for number, part in enumerate(parts) if part.layer == layer]
    shapes = [({"type": "Polygon", "coordinates": [parts[n].ring[[0, 1, 2, 3, 0]].tolist()]}, n + 1) for n in numbers]
    if shapes:
        labels = rasterize(shapes, view.shape, transform=view.transform, dtype="int32").ravel()
    else:
        labels = np.zeros(view.rows * view.cols, np.int32)
    at = np.flatnonzero(labels)
    part = labels[at].astype(np.int64) - 1
    height, tone = np.empty(len(at), np.float32), np.empty(len(at), np.float32)
    if len(at):
        tables = _tables(view, parts)
        for start in range(0, len(at), CHUNK):
            some = slice(start, start + CHUNK)
            height[some], tone[some] = _surface(view, tables, at[some], part[some])
    return Roofs(at, part, height, tone)


def _tables(view: View, parts: list[Part]) -> tuple[Array, Array]:
    """(P, 8) frames and (P, 5) roof numbers; centres are told from the view's corner, so single precision suffices."""
    frames = _frames(parts) - np.array([view.left, view.top, 0, 0, 0, 0, 0, 0])
    numbers = [(part.shape, part.eave, part.slope, part.material, part.tone) for part in parts]
    return frames.astype(np.float32), np.array(numbers, np.float32)


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


def _surface(
    view: View, tables: tuple[Array, Array], at: NDArray[np.int64], part: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Height (m) and tone of pixels, each within its part."""
    frame, numbers = tables[0].take(part, axis=0).T, tables[1].take(part, axis=0).T
    rows, cols = np.divmod(at, view.cols)
    pixel = np.float32(view.pixel)
    dx = (cols.astype(np.float32) + 0.5) * pixel - frame[0]
    dy = (rows.astype(np.float32) + 0.5) * -pixel - frame[1]
    u, v, half = dx * frame[2] + dy * frame[3], dx * frame[4] + dy * frame[5], (frame[6], frame[7])
    height = numbers[1] + numbers[2] * _rise(numbers[0], u, v, half) + _parapet(numbers[0], u, v, half)
    return height, _pattern(numbers, u, v, half)


def _rise(shape: Array, u: Array, v: Array, half: tuple[Array, Array]) -> Array:
    """Distance climbed from the eaves, m, for a slope of 1; any number for flat roofs, whose slope is 0."""
    length, span = half
    rise = span - np.abs(v)
    np.minimum(rise, length - np.abs(u), out=rise, where=shape == 2)
    np.add(v, span, out=rise, where=shape == 3)
    rare = np.flatnonzero(shape >= 4)
    if len(rare):
        vault = np.sqrt(np.maximum(1 - (v[rare] / span[rare]) ** 2, 0)) * span[rare]
        rise[rare] = np.where(shape[rare] == 4, np.mod(u[rare] + length[rare], 7.0), vault)
    return rise


def _parapet(shape: Array, u: Array, v: Array, half: tuple[Array, Array]) -> Array:
    """The raised rim of flat roofs, m."""
    rim = np.minimum(half[0] - np.abs(u), half[1] - np.abs(v)) < 0.28
    return np.where((shape == 0) & rim & (half[1] > 2.5), np.float32(0.45), np.float32(0))


def _pattern(numbers: Array, u: Array, v: Array, half: tuple[Array, Array]) -> Array:
    """Tone of seams, sheets, ridge and dirt; a part's own tone is what tells it from others."""
    weave = _TABLE.take(numbers[3].astype(np.int64), axis=0).T
    across, down = (u + half[0]) / weave[0], (v + half[1]) / weave[1]
    i, j = across.astype(np.int64), down.astype(np.int64)
    key = (i * noise.SIZE + j + numbers[4].view(np.int32)) & (noise.SIZE**2 - 1)
    sheet = noise.tile(0.0, 9).ravel().take(key)
    seam = (across - i < 0.14) | ((down - j < 0.1) & (weave[1] > 1))
    habit = np.float32(4) * (np.mod(numbers[4] * 97, 1) - np.float32(0.5))
    ridge = np.where((numbers[0] == 1) & (np.abs(v) < 0.16), np.float32(0.09) * habit, np.float32(0))
    dirt = np.float32(0.05) * habit * v / half[1]
    return np.asarray(numbers[4] * (1 + weave[2] * sheet - weave[3] * seam + ridge + dirt), np.float32)
