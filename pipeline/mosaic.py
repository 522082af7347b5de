"""The mosaic: all scenes of a region on one pixel grid. Values only; nothing here opens a file."""

from dataclasses import dataclass
from pathlib import Path

from affine import Affine

from tiling.grid import Window


@dataclass(frozen=True, slots=True)
class Scene:
    """One GeoTIFF and its place in the mosaic."""

    path: Path
    """The file."""
    window: Window
    """The mosaic's pixels that it covers; may reach past the mosaic only when resampled."""
    bands: tuple[int, int, int]
    """1-based numbers of its red, green and blue bands."""
    nodata: float | None
    """Value of pixels without data (all three bands equal it); None: by mask, alpha or not at all."""
    masked: bool
    """It carries an alpha band or a mask that says where data are."""
    scale: tuple[float, float] | None
    """(low, high) mapped to 0..255; None for uint8 input."""
    resampled: bool = False
    """It does not share the mosaic's grid and is warped on reading."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Scenes on one pixel grid; where they overlap, the first one with a valid pixel wins."""

    shape: tuple[int, int]
    """(height, width) in pixels."""
    affine: Affine
    """Pixel (x, y) to CRS coordinates; north up, never rotated."""
    crs: str
    """WKT 2 of the coordinate reference system."""
    scenes: tuple[Scene, ...]
    """In the order that decides overlaps."""
    area: bytes | None = None
    """WKB of the polygon to process, in mosaic pixel coordinates; None: all of it."""

    def scenes_over(self, window: Window) -> list[Scene]:
        """The scenes that share a pixel with ``window``, first one first."""
        return [scene for scene in self.scenes if scene.window.meets(window)]
