"""The picture that a person looks at first: the mosaic, small, with its footprints; made of the blocks' thumbnails."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tiling.grid import BlockIndex, Grid, Window

# Fits a screen; at 16 Mpx a JPEG of it is about 3 MB.
PREVIEW_SIDE = 1600
NOTHING = (48, 48, 48)
# Confidence from low to high: the colours of the QGIS style.
LOW, HIGH = np.array((255, 170, 40)), np.array((60, 255, 200))


@dataclass(frozen=True, slots=True)
class Album:
    """The thumbnails of a run's blocks, and the picture that they make."""

    folder: Path
    """Where the thumbnails are kept."""
    grid: Grid
    """The blocks."""

    @property
    def factor(self) -> int:
        """Mosaic pixels per picture pixel."""
        return max(1, -(-max(self.grid.shape) // PREVIEW_SIDE))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture, px."""
        rows, cols = self.grid.shape
        return -(-cols // self.factor), -(-rows // self.factor)

    def keep(self, block: BlockIndex, rgb: NDArray[np.uint8]) -> None:
        """Keep a block's thumbnail; ``rgb`` is uint8 (h, w, 3), the block's pixels."""
        path = self._path(block)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).reduce(self.factor).save(path, quality=85)

    def _path(self, block: BlockIndex) -> Path:
        return self.folder / f"{block}.jpg"

    def picture(self) -> Image.Image:
        """The mosaic as far as it was read; the rest is grey."""
        picture = Image.new("RGB", self.size, NOTHING)
        for path in sorted(self.folder.glob("*.jpg")):
            row, col = (int(part) for part in path.stem.split("-"))
            with Image.open(path) as thumbnail:
                picture.paste(thumbnail, self._place(self.grid.window(BlockIndex(row, col))))
        return picture

    def _place(self, window: Window) -> tuple[int, int]:
        return round(window.cols.start / self.factor), round(window.rows.start / self.factor)


def draw(picture: Image.Image, factor: int, footprints: Iterable[tuple[list[NDArray[np.float64]], float]]) -> None:
    """Draw footprints into a picture.

    Args:
        picture: RGB.
        factor: mosaic pixels per picture pixel.
        footprints: rings, (n, 2) x, y in mosaic pixels, and confidence 0..1.
    """
    canvas = ImageDraw.Draw(picture)
    for rings, confidence in footprints:
        colour = tuple(int(value) for value in LOW + (HIGH - LOW) * np.clip(2 * confidence - 1, 0, 1))
        for ring in rings:
            canvas.line([(x, y) for x, y in ring / factor], fill=colour, width=1 if factor > 2 else 2)
