"""Sun, sky and season: from materials and heights to light."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.render import noise
from pipeline.render.arrays import Array
from pipeline.render.canvas import Canvas
from pipeline.render.materials import table
from pipeline.render.view import View

SHADOW_REACH = 45.0
"""Longest shadow that is cast, m."""
GRAIN = 1.9
"""Factor on the contrasts of materials, set by eye and by band-pass deviations of real scenes of 0.3 m."""
BAND = 64
"""Rows worked on at a time."""
TALLEST = 24.0
"""What higher things cast is cut here, m: eaves of 22 m and their roofs."""


@dataclass(frozen=True, slots=True)
class Sun:
    """Where the light comes from and how it divides."""

    azimuth: float
    """rad, clockwise from north."""
    elevation: float
    """rad."""
    sky: tuple[float, float, float]
    """Light of the sky, as a share of what falls on open flat ground, for red, green, blue."""

    @property
    def toward(self) -> tuple[float, float, float]:
        """Unit vector to the sun: rightwards, downwards in the picture, up."""
        flat = np.cos(self.elevation)
        return float(flat * np.sin(self.azimuth)), float(-flat * np.cos(self.azimuth)), float(np.sin(self.elevation))


def draw_sun(seed: int) -> Sun:
    """The sun of a world: any direction (both hemispheres), 28 to 68 degrees high."""
    rng = np.random.default_rng([seed, 21])
    level, blue = rng.uniform(0.06, 0.27), rng.uniform(0.0, 0.35)
    sky = (level * (1 - blue / 2), level, level * (1 + blue))
    return Sun(float(rng.uniform(0, 2 * np.pi)), float(np.radians(rng.uniform(28, 68))), sky)


def reach_of(sun: Sun) -> float:
    """Length of the longest shadow that is cast, m."""
    return min(SHADOW_REACH, TALLEST / float(np.tan(sun.elevation)))


def sunward(sun: Sun, pixel: float) -> tuple[int, int, int, int]:
    """Pixels that a picture must be widened by (top, bottom, left, right) to receive all shadows."""
    right, down, _ = sun.toward
    reach = reach_of(sun) / pixel
    x, y = right / np.hypot(right, down) * reach, down / np.hypot(right, down) * reach
    return int(max(-y, 0)), int(max(y, 0)), int(max(-x, 0)), int(max(x, 0))


def illuminate(canvas: Canvas, view: View, sun: Sun, seed: int, core: View) -> Array:
    """(3, R / 2, C / 2) float32 light that leaves the surfaces of ``core``, linear, 1 = white in full sun.

    ``core`` is a part of ``view``; each value is the mean of 2 x 2 painted pixels. Worked in bands that fit a cache,
    which makes it about twice as fast.
    """
    lit, open_sky = _lit(canvas.height, view, sun), _openness(canvas.height, view)
    look = table(seed)
    light = np.empty((3, core.rows // 2, core.cols // 2), np.float32)
    cols = slice(core.col - view.col, core.col - view.col + core.cols)
    for top in range(0, core.rows, BAND):
        band = replace(core, row=core.row + top, rows=min(BAND, core.rows - top))
        rows = slice(band.row - view.row, band.row - view.row + band.rows)
        direct = _incidence(canvas, rows, cols, view, sun) * lit[rows, cols]
        colours = _albedo(canvas.material[rows, cols], canvas.tone[rows, cols], band, look)
        out = light[:, top // 2 : (top + band.rows) // 2]
        _combine(colours, direct, open_sky[rows, cols], sun, out)
    return light


def _combine(colours: Array, direct: Array, open_sky: Array, sun: Sun, out: Array) -> None:
    """Sun and sky on the surfaces, averaged over 2 x 2 pixels into ``out``."""
    for channel, share in enumerate(sun.sky):
        full = colours[channel] * ((1 - share) * direct + share * open_sky)
        pairs = full[::2] + full[1::2]
        out[channel] = (pairs[:, ::2] + pairs[:, 1::2]) * np.float32(0.25)


def _albedo(material: NDArray[np.uint8], tone: Array, band: View, look: tuple[Array, Array, Array]) -> Array:
    """(3, R, C) colours with grain and blotches."""
    first, second, contrast = look
    mix = np.clip(0.5 + 0.4 * noise.read(1.6, 31, band.ys, band.xs), 0, 1)
    grain = noise.rough(0.35, 32, band.ys, band.xs) * contrast[:, 0].take(material)
    grain += noise.rough(0.8, 33, band.ys, band.xs) * contrast[:, 1].take(material)
    factor = tone * np.clip(1 + GRAIN * grain, 0.2, 2.2)
    colours = np.empty((3, *material.shape), np.float32)
    for channel in range(3):
        low, high = first[:, channel], second[:, channel]
        colours[channel] = (low.take(material) + (high - low).take(material) * mix) * factor
    return colours


def _smaller(a: Array, b: Array) -> Array:
    """Of two slopes the flatter, 0 where they disagree: walls do not glow, ridges stay sharp."""
    return np.where(a * b > 0, np.where(np.abs(a) < np.abs(b), a, b), np.float32(0))


def _incidence(canvas: Canvas, rows: slice, cols: slice, view: View, sun: Sun) -> Array:
    """Cosine of the sun's angle to the surface, 1 on flat ground, for rows and columns that do not touch the border."""
    step = np.float32(1 / view.pixel)
    high = canvas.height[rows.start - 1 : rows.stop + 1, cols.start - 1 : cols.stop + 1]
    down, right = np.diff(high[:, 1:-1], axis=0) * step, np.diff(high[1:-1], axis=1) * step
    dy, dx = _smaller(down[:-1], down[1:]), _smaller(right[:, :-1], right[:, 1:])
    soft = np.where(canvas.leafy[rows, cols], np.float32(0.45), np.float32(1))
    dx, dy = np.clip(dx, -2, 2) * soft, np.clip(dy, -2, 2) * soft
    x, y, z = sun.toward
    return np.asarray(np.maximum((z - dx * x - dy * y) / (np.sqrt(1 + dx * dx + dy * dy) * z), 0), np.float32)


def _lit(height: Array, view: View, sun: Sun) -> Array:
    """0 where something between a pixel and the sun is higher than the ray, else 1; soft over half a metre.

    The highest obstacle over 2^k steps follows from that over 2^(k-1): a whole shadow costs a handful of shifts.
    """
    right, down, up = sun.toward
    flat = np.hypot(right, down)
    sx, sy, fall = right / flat, down / flat, up / flat * view.pixel
    highest = _moved(height, sx, sy) - np.float32(fall)
    reach = 1
    while reach * view.pixel < reach_of(sun) / 2:
        np.maximum(highest, _moved(highest, sx * reach, sy * reach) - np.float32(fall * reach), out=highest)
        reach *= 2
    highest -= height
    highest *= -2
    highest += 1
    return np.clip(highest, 0, 1, out=highest)


def _moved(field: Array, x: float, y: float) -> Array:
    """The field as seen from x, y pixels before it; 0 beyond its border."""
    c, r = round(x), round(y)
    moved = np.zeros_like(field)
    (to_rows, from_rows), (to_cols, from_cols) = (
        _overlap(length, step) for length, step in zip(field.shape, (r, c), strict=True)
    )
    moved[to_rows, to_cols] = field[from_rows, from_cols]
    return moved


def _overlap(length: int, step: int) -> tuple[slice, slice]:
    """Where ``length`` pixels and the same moved by ``step`` overlap: (to, from)."""
    return slice(max(-step, 0), length - max(step, 0)), slice(max(step, 0), length + min(step, 0))


def _openness(height: Array, view: View) -> Array:
    """Share of the sky that is seen: less beside high things. Taken from a quarter of the pixels."""
    small = height[::4, ::4]
    around = ndimage.uniform_filter(small, max(3, round(6.0 / (4 * view.pixel))))
    share = 1 / (1 + 0.16 * np.maximum(around - small, 0))
    return np.asarray(share.repeat(4, axis=0).repeat(4, axis=1)[: height.shape[0], : height.shape[1]], np.float32)
