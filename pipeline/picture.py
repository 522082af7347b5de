"""The picture that a person looks at first: the mosaic, small, with its footprints; made of the blocks' thumbnails."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tiling.grid import BlockIndex, Grid, Window

if TYPE_CHECKING:
    import pyarrow as pa

# Fits a screen; at 16 Mpx a JPEG of it is about 3 MB.
PREVIEW_SIDE = 1600
NOTHING = (48, 48, 48)
# Rows of a thumbnail that are made at a time.
STRIP = 32
# Confidence from low to high: colours that stand out from roofs, trees and streets.
LOW, HIGH = np.array((255, 170, 40)), np.array((60, 255, 200))


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings of footprints."""

    points: NDArray[np.float64]
    """(n, 2) x, y in mosaic pixels."""
    offsets: NDArray[np.int64]
    """Ring i is ``points[offsets[i]:offsets[i + 1]]``."""
    confidence: NDArray[np.float64]
    """Of the footprint of each ring, 0..1."""

    @classmethod
    def of(cls, batch: "pa.RecordBatch", affine: Affine) -> Self:
        """The rings of a record batch of ``finish.SCHEMA``, whose CRS coordinates are those of an affine mosaic."""
        rings, owner = shapely.get_rings(shapely.from_wkb(batch["geometry"].to_numpy(False)), return_index=True)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        offsets = np.searchsorted(ring, np.arange(len(rings) + 1))
        return cls(np.column_stack(~affine @ points.T), offsets, batch["confidence"].to_numpy()[owner])


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
        thumbnail = Image.new("RGB", (-(-rgb.shape[1] // self.factor), -(-rgb.shape[0] // self.factor)))
        rows = STRIP * self.factor
        for number, top in enumerate(range(0, len(rgb), rows)):  # a strip at a time: PIL takes four bytes a pixel
            thumbnail.paste(Image.fromarray(rgb[top : top + rows]).reduce(self.factor), (0, number * STRIP))
        thumbnail.save(path, quality=85)

    def lacks(self, block: BlockIndex) -> bool:
        """Whether a block has no thumbnail that reads and is of the picture's scale."""
        return self._thumbnail(block) is None

    def _thumbnail(self, block: BlockIndex) -> Image.Image | None:
        """The thumbnail of a block, if it reads and is of the picture's scale: its worker may have been killed."""
        expected = tuple(-(-side // self.factor) for side in reversed(self.grid.window(block).shape))
        try:
            with Image.open(self._path(block)) as thumbnail:
                thumbnail.load()
                return thumbnail if thumbnail.size == expected else None
        except (OSError, SyntaxError):  # cut short, or not a picture at all
            return None

    def _path(self, block: BlockIndex) -> Path:
        return self.folder / f"{block}.jpg"

    def picture(self) -> Image.Image:
        """The mosaic as far as it was read; the rest is grey."""
        picture = Image.new("RGB", self.size, NOTHING)
        for path in sorted(self.folder.glob("*.jpg")):
            block = BlockIndex.parse(path.stem)
            if thumbnail := self._thumbnail(block):
                picture.paste(thumbnail, self._place(self.grid.window(block)))
        return picture

    def _place(self, window: Window) -> tuple[int, int]:
        return round(window.cols.start / self.factor), round(window.rows.start / self.factor)


def draw(picture: Image.Image, factor: int, footprints: Iterable[Rings]) -> None:
    """Draw footprints into a picture; ``factor`` mosaic pixels become one."""
    canvas, width = ImageDraw.Draw(picture), 1 if factor > 2 else 2
    for each in footprints:
        points, share = each.points / factor, np.clip(2 * each.confidence - 1, 0, 1)
        colours = (LOW + (HIGH - LOW) * share[:, None]).astype(int).tolist()
        for (start, stop), colour in zip(pairwise(each.offsets.tolist()), colours, strict=True):
            canvas.line(points[start:stop].ravel().tolist(), fill=tuple(colour), width=width)
