"""Scenes on another pixel grid than the mosaic's, interpolated so that no pixel depends on the window it is read with.

GDAL's warper chooses approximations and filters for each chunk of output, so that neighbouring tiles would see other
values where they overlap. Here the source position of a pixel is a function of its place in the mosaic alone: exact on
a lattice fixed to the mosaic, linear between.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.mosaic import Mosaic
from tiling.grid import Span, Window

STEP = 64  # px between lattice points: from one UTM zone into the next, 19 m of straight line bend by 0.0001 px
STRIPE = 128  # rows at a time: coordinates are float64, and 2048 columns of them then take 4 MiB
FAR = -1e12  # CRS units: where a position has no counterpart; far outside every scene, and finite

Floats = NDArray[np.float64]
Read = Callable[[Window], tuple[NDArray[np.uint8], NDArray[np.bool_]]]
"""Reads a window of the scene's own pixels: (h, w, 3) uint8 and (h, w) bool."""


@dataclass(frozen=True, slots=True)
class Warp:
    """From the mosaic's pixels to a scene's."""

    affine: Affine
    """Of the mosaic."""
    transformer: Transformer
    """From the mosaic's CRS to the scene's."""
    inverse: Affine
    """The scene's CRS to its pixels."""
    shape: tuple[int, int]
    """(height, width) of the scene."""
    samples: int
    """Positions per pixel and axis; more than 1 where the scene is finer than the mosaic, or it would alias."""

    @classmethod
    def to(cls, mosaic: Mosaic, crs: str, affine: Affine, shape: tuple[int, int], window: Window) -> "Warp":
        """To a scene of ``shape`` with that CRS and affine, which covers ``window`` of the mosaic."""
        transformer = Transformer.from_crs(mosaic.crs, crs, always_xy=True)
        ratio = max(own / covered for own, covered in zip(shape, window.shape, strict=True))
        return cls(mosaic.affine, transformer, ~affine, shape, max(1, math.ceil(ratio - 0.1)))

    def read(self, window: Window, read: Read, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
        """Fill ``rgb`` (h, w, 3) and ``valid`` (h, w) of a window of the mosaic from the scene's own pixels."""
        for stripe in _stripes(window):
            inside = stripe.within(window)
            self._stripe(stripe, read, rgb[inside], valid[inside])

    def _stripe(self, window: Window, read: Read, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
        rows, cols = (np.arange(span.start, span.stop, dtype=np.float64) + 0.5 for span in (window.rows, window.cols))
        offsets = (np.arange(self.samples) + 0.5) / self.samples - 0.5
        positions = [self.positions(rows + dy, cols + dx) for dy in offsets for dx in offsets]
        around = self._around(positions)
        if around is None:
            valid[...] = False
            return
        patch = _Patch(around, *read(around))
        centre = self.positions(rows, cols)
        valid[...] = patch.nearest(*centre)
        rgb[...] = patch.mean(positions)

    def _around(self, positions: list[tuple[Floats, Floats]]) -> Window | None:
        """The scene's pixels that interpolation at ``positions`` needs; None: all of them lie elsewhere."""
        height, width = self.shape
        inside = [(ys > -1) & (ys < height + 1) & (xs > -1) & (xs < width + 1) for ys, xs in positions]
        if not any(each.any() for each in inside):
            return None
        ys, xs = (
            np.concatenate([each[axis][near] for each, near in zip(positions, inside, strict=True)]) for axis in (0, 1)
        )
        spans = (Span(math.floor(each.min() - 0.5), math.floor(each.max() - 0.5) + 2) for each in (ys, xs))
        around = Window(*spans).clip(self.shape)
        return around if around.area else None  # all of them within a pixel beyond the edge

    def positions(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """The scene's (ys, xs), each (rows, cols), at pixel coordinates of the mosaic; far off where there are none."""
        row_nodes, row_weights = _lattice(rows)
        col_nodes, col_weights = _lattice(cols)
        ys, xs = self._exact(row_nodes, col_nodes)
        return tuple(_between(values, row_weights, col_weights) for values in (ys, xs))  # type: ignore[return-value]

    def _exact(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        y, x = np.meshgrid(rows, cols, indexing="ij")
        east, north = self.transformer.transform(*_applied(self.affine, x, y))
        east, north = (np.where(np.isfinite(each), each, FAR) for each in (east, north))
        xs, ys = _applied(self.inverse, east, north)
        return ys, xs


def _stripes(window: Window) -> Iterator[Window]:
    return (Window(rows, window.cols) for rows in window.rows.pieces(STRIPE))


def _applied(affine: Affine, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _lattice(places: Floats) -> tuple[Floats, tuple[NDArray[np.int64], Floats]]:
    """Lattice nodes around ``places``; and for each place the node before it and its share of the way to the next."""
    before = np.floor(places / STEP).astype(np.int64)
    first = before.min()
    nodes = np.arange(first, before.max() + 2) * float(STEP)
    return nodes, (before - first, places / STEP - before)


def _between(nodes: Floats, rows: tuple[NDArray[np.int64], Floats], cols: tuple[NDArray[np.int64], Floats]) -> Floats:
    """Bilinear interpolation of (row nodes, col nodes) at places along both axes."""
    (row, down), (col, across) = rows, cols
    lines = nodes[row] * (1 - down)[:, None] + nodes[row + 1] * down[:, None]
    return np.asarray(lines[:, col] * (1 - across) + lines[:, col + 1] * across)


@dataclass(frozen=True, slots=True)
class _Patch:
    """Some pixels of a scene, to be interpolated between."""

    window: Window
    rgb: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    def nearest(self, ys: Floats, xs: Floats) -> NDArray[np.bool_]:
        """Whether the pixel that holds a position has data."""
        inside, row, col = self._locate(np.floor(ys), np.floor(xs))
        return inside & self.valid[row, col]

    def mean(self, positions: list[tuple[Floats, Floats]]) -> NDArray[np.uint8]:
        """Colour averaged over positions, each bilinear between its neighbours; those without data do not count."""
        total = np.zeros((*positions[0][0].shape, 4), np.float32)
        for ys, xs in positions:
            self._add(total, ys - 0.5, xs - 0.5)
        weight = np.maximum(total[..., 3:], np.finfo(np.float32).tiny)
        return np.rint(total[..., :3] / weight).astype(np.uint8)

    def _add(self, total: NDArray[np.float32], ys: Floats, xs: Floats) -> None:
        top, left = np.floor(ys), np.floor(xs)
        down, across = (ys - top).astype(np.float32), (xs - left).astype(np.float32)
        for dy, row_weight in ((0, 1 - down), (1, down)):
            for dx, col_weight in ((0, 1 - across), (1, across)):
                inside, row, col = self._locate(top + dy, left + dx)
                weight = np.where(inside & self.valid[row, col], row_weight * col_weight, np.float32(0))
                total[..., :3] += self.rgb[row, col] * weight[..., None]
                total[..., 3] += weight

    def _locate(self, rows: Floats, cols: Floats) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
        """Which of the scene's pixels lie in the patch, and their indices in it (0 elsewhere)."""
        (top, left), (height, width) = (self.window.rows.start, self.window.cols.start), self.window.shape
        rows, cols = rows - top, cols - left
        inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
        row, col = (np.where(inside, each, 0).astype(np.intp) for each in (rows, cols))
        return inside, row, col
