"""The mosaic: all scenes of a region on one pixel grid. Values only; nothing here opens a file."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low

from affine import Affine

from tiling.grid import Window

CELLS_PER_SCENE = (
    8  # on average; a scene of the median size lies in 4 cells, and the index stays smaller than the scenes
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One GeoTIFF and its place in the mosaic."""

    path: Path | str
    """The file; text when it is a URL."""
    window: Window
    """The mosaic's pixels that it covers."""
    bands: tuple[int, int, int]
    """1-based numbers of its red, green and blue bands."""
    nodata: float | None
    """Value of pixels without data (all three bands equal it); None: by mask, alpha or not at all."""
    masked: bool
    """It carries an alpha band or a mask that says where data are."""
    scale: tuple[float, float] | None
    """(low, high) mapped to 0..255; None: its values are taken as they are, uint8."""
    resampled: bool = False
    """It does not share the mosaic's grid and is warped on reading."""
    stamp: str = ""
    """Hex digest of its size, its block table and a sample of its bytes: another stamp is another image."""

    @property
    def name(self) -> str:
        """File name, as in reports."""
        return Path(self.path).name


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
    _index: "_Buckets" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", _Buckets.over([scene.window for scene in self.scenes]))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled without its index, which is rebuilt faster than it is sent."""
        return Mosaic, (self.shape, self.affine, self.crs, self.scenes, self.area)

    def numbers_over(self, window: Window) -> list[int]:
        """The places in ``scenes`` of the scenes that share a pixel with ``window``, ascending."""
        return [number for number in self._index.near(window) if self.scenes[number].window.meets(window)]


@dataclass(frozen=True, slots=True)
class _Buckets:
    """A spatial index: square cells, and the numbers of the windows that touch each."""

    side: int
    cells: dict[tuple[int, int], list[int]]

    @classmethod
    def over(cls, windows: list[Window]) -> "_Buckets":
        side = max(1, median_low([max(window.shape) for window in windows])) if windows else 1
        while sum(_cells(window, side)[2] for window in windows) > CELLS_PER_SCENE * len(windows):
            side *= 2
        cells: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, window in enumerate(windows):
            for cell in _touched(window, side):
                cells[cell].append(number)
        return cls(side, dict(cells))

    def near(self, window: Window) -> list[int]:
        """Numbers, ascending, of the windows that may meet ``window``."""
        rows, cols, count = _cells(window, self.side)
        if count > len(self.cells):  # a window larger than everything: look at what is there, not at what could be
            touched = [cell for cell in self.cells if cell[0] in rows and cell[1] in cols]
        else:
            touched = [cell for cell in _touched(window, self.side) if cell in self.cells]
        return sorted({number for cell in touched for number in self.cells[cell]})


def _cells(window: Window, side: int) -> tuple[range, range, int]:
    rows, cols = (range(span.start // side, -(-span.stop // side)) for span in (window.rows, window.cols))
    return rows, cols, len(rows) * len(cols)


def _touched(window: Window, side: int) -> Iterator[tuple[int, int]]:
    rows, cols, _ = _cells(window, side)
    return ((row, col) for row in rows for col in cols)
