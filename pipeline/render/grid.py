"""The pixel grid that a picture is painted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.render.elements import Points


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixels of a world: row r covers y from -r to -(r + 1) pixels, column c covers x from c to c + 1 pixels."""

    row: int
    """First row, may be negative."""
    col: int
    """First column."""
    rows: int
    """Height, px."""
    cols: int
    """Width, px."""
    pixel: float
    """Side of a pixel, m."""

    @property
    def left(self) -> float:
        """The left border: x, m."""
        return self.col * self.pixel

    @property
    def top(self) -> float:
        """The upper border: y, m."""
        return -self.row * self.pixel

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top, m."""
        return self.left, self.top - self.rows * self.pixel, self.left + self.cols * self.pixel, self.top

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
