"""Sun, sky and season: from materials and heights to light."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.render import noise
from pipeline.render.canvas import Canvas
from pipeline.render.grid import Grid
from pipeline.render.materials import table

Array = NDArray[np.float32]
SHADOW_REACH = 45.0
"""Longest shadow that is cast, m."""


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


def sunward(sun: Sun, pixel: float) -> tuple[int, int, int, int]:
    """Pixels that a picture must be widened by (top, bottom, left, right) to receive all shadows."""
    right, down, up = sun.toward
    reach = SHADOW_REACH / pixel
    x, y = right / np.hypot(right, down) * reach, down / np.hypot(right, down) * reach
    return int(max(-y, 0)), int(max(y, 0)), int(max(-x, 0)), int(max(x, 0))


def illuminate(canvas: Canvas, grid: Grid, sun: Sun, seed: int) -> Array:
    """(3, R, C) float32 light that leaves every surface, linear, 1 = white in full sun."""
    direct = _incidence(canvas, grid, sun) * (1 - _shadow(canvas.height, grid, sun))
    open_sky = _openness(canvas.height, grid)
    colours = _albedo(canvas, grid, seed)
    for channel, share in enumerate(sun.sky):
        colours[channel] *= (1 - share) * direct + share * open_sky
    return colours


def _albedo(canvas: Canvas, grid: Grid, seed: int) -> Array:
    """Colours with grain and blotches."""
    first, second, contrast = table(seed)
    coarse = noise.read(1.6, 31, grid.ys, grid.xs)
    mix = np.clip(0.5 + 0.4 * coarse, 0, 1)
    grain = noise.rough(0.35, 32, grid.ys, grid.xs) * contrast[:, 0][canvas.material]
    grain += noise.rough(0.8, 33, grid.ys, grid.xs) * contrast[:, 1][canvas.material]
    factor = canvas.tone * np.clip(1 + 1.9 * grain, 0.2, 2.2)
    colours = np.empty((3, grid.rows, grid.cols), np.float32)
    for channel in range(3):
        low = first[:, channel][canvas.material]
        colours[channel] = (low + (second - first)[:, channel][canvas.material] * mix) * factor
    return colours


def _smaller(a: Array, b: Array) -> Array:
    """Of two slopes the flatter, 0 where they disagree: walls do not glow, ridges stay sharp."""
    return np.where(a * b > 0, np.where(np.abs(a) < np.abs(b), a, b), np.float32(0))


def _incidence(canvas: Canvas, grid: Grid, sun: Sun) -> Array:
    """Cosine of the sun's angle to the surface, 1 on flat ground."""
    height, step = canvas.height, np.float32(1 / grid.pixel)
    down = np.diff(height, axis=0, prepend=height[:1], append=height[-1:]) * step
    right = np.diff(height, axis=1, prepend=height[:, :1], append=height[:, -1:]) * step
    dy, dx = _smaller(down[:-1], down[1:]), _smaller(right[:, :-1], right[:, 1:])
    soft = np.where(canvas.leafy, np.float32(0.45), np.float32(1))
    dx, dy = np.clip(dx, -2, 2) * soft, np.clip(dy, -2, 2) * soft
    x, y, z = sun.toward
    return np.asarray(np.maximum((z - dx * x - dy * y) / (np.sqrt(1 + dx * dx + dy * dy) * z), 0), np.float32)


def _shadow(height: Array, grid: Grid, sun: Sun) -> Array:
    """1 where something between a pixel and the sun is higher than the ray, soft over half a metre.

    The highest obstacle over 2^k steps follows from that over 2^(k-1): a whole shadow costs a handful of shifts.
    """
    right, down, up = sun.toward
    flat = np.hypot(right, down)
    sx, sy, fall = right / flat, down / flat, up / flat * grid.pixel
    highest = _moved(height, sx, sy) - np.float32(fall)
    reach = 1
    while reach * grid.pixel < SHADOW_REACH / 2:
        np.maximum(highest, _moved(highest, sx * reach, sy * reach) - np.float32(fall * reach), out=highest)
        reach *= 2
    return np.clip((highest - height) * 2.0, 0, 1)


def _moved(field: Array, x: float, y: float) -> Array:
    """The field as seen from x, y pixels before it; 0 beyond its border."""
    c, r = round(x), round(y)
    moved = np.zeros_like(field)
    rows, cols = field.shape
    moved[max(-r, 0) : rows - max(r, 0), max(-c, 0) : cols - max(c, 0)] = field[max(r, 0) : rows + min(r, 0), max(c, 0) : cols + min(c, 0)]
    return moved


def _openness(height: Array, grid: Grid) -> Array:
    """Share of the sky that is seen: less beside high things. Taken from a quarter of the pixels."""
    small = height[::4, ::4]
    around = ndimage.uniform_filter(small, max(3, round(6.0 / (4 * grid.pixel))))
    share = 1 / (1 + 0.16 * np.maximum(around - small, 0))
    return np.asarray(share.repeat(4, axis=0).repeat(4, axis=1)[: height.shape[0], : height.shape[1]], np.float32)
