"""The part of a world that a picture shows, and its pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

from pipeline.errors import InputError
from pipeline.render.arrays import Points

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top, m."""


@dataclass(frozen=True, slots=True)
class View:
    """Pixels of a world: row r covers y from -r to -(r + 1) pixels, column c covers x from c to c + 1 pixels."""

    row: int
    """First row, may be negative."""
    col: int
    """First column, may be negative."""
    rows: int
    """Height, px."""
    cols: int
    """Width, px."""
    pixel: float = 0.3
    """Side of a pixel on the ground, m."""

    def __post_init__(self) -> None:
        """Refuse views of nothing."""
        if min(self.shape) < 1:
            raise InputError(f"size: {self.rows} x {self.cols} px has no pixel; the least is 1 x 1")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), px."""
        return self.rows, self.cols

    @property
    def left(self) -> float:
        """The left border: x, m."""
        return self.col * self.pixel

    @property
    def top(self) -> float:
        """The upper border: y, m."""
        return -self.row * self.pixel

    @property
    def bounds(self) -> Bounds:
        """Its borders, world metres."""
        return self.left, self.top - self.rows * self.pixel, self.left + self.cols * self.pixel, self.top

    @property
    def polygon(self) -> shapely.Polygon:
        """What it covers, world metres."""
        return shapely.Polygon.from_bounds(*self.bounds)

    @property
    def transform(self) -> Affine:
        """World metres of pixel corners."""
        return Affine(self.pixel, 0, self.left, 0, -self.pixel, self.top)

    @property
    def ys(self) -> NDArray[np.int64]:
        """(rows,) numbers of the rows in the world."""
        return np.arange(self.row, self.row + self.rows)

    @property
    def xs(self) -> NDArray[np.int64]:
        """(cols,) numbers of the columns in the world."""
        return np.arange(self.col, self.col + self.cols)

    def pixels(self, ring: Points) -> Points:
        """(N, 2) world points as (column, row) with 0 at the first pixel's centre."""
        return (ring - (self.left, self.top)) * (1 / self.pixel, -1 / self.pixel) - 0.5

    def finer(self, times: int) -> "View":
        """The same ground in pixels whose side is a ``times``-th."""
        row, col, rows, cols = (number * times for number in (self.row, self.col, *self.shape))
        return View(row, col, rows, cols, self.pixel / times)

    def widened(self, top: int, bottom: int, left: int, right: int) -> "View":
        """With so many more pixels on each side."""
        rows, cols = self.rows + top + bottom, self.cols + left + right
        return replace(self, row=self.row - top, col=self.col - left, rows=rows, cols=cols)

    def pieces(self, side: int) -> Iterator["View"]:
        """Parts of at most side x side px that cover it, each pixel once."""
        for top in range(0, self.rows, side):
            for left in range(0, self.cols, side):
                rows, cols = min(side, self.rows - top), min(side, self.cols - left)
                yield View(self.row + top, self.col + left, rows, cols, self.pixel)
