"""What is evaluated: scenes with predictions and with the truth. Here: those of a finished run."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioIOError
from rasterio.features import shapes
from rasterio.io import DatasetReader

from models.metrics import IGNORE
from models.samples import level
from pipeline import store
from pipeline.durable import read_json
from pipeline.errors import InputError
from pipeline.evaluation.scoring import Read, windows
from pipeline.footprints.arrays import Polygons
from pipeline.footprints.ground import Frame
from pipeline.names import REPORT, STORE
from pipeline.scenes.gdal import raster_window
from pipeline.training.scenes import burn, footprints_in_pixels, layer_of, opened
from tiling.grid import Span, Window

SPECK = 1.0
"""m²; pieces smaller than it are no buildings: they come from cutting at the edge of a scene or of a mask."""


PHASE = 0.05
"""Pixels that a mask may lie off the run's grid: rounding in files."""
STRETCH = 1e-4
"""By which its pixel size may differ: half a pixel over an Inria scene."""


READABLE = (".gpkg", ".fgb", ".geojson")
"""Endings of a run's footprints that every GDAL reads, best first; GeoParquet needs a plugin."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A scene to evaluate. Pixels are counted in its own grid, from its upper left corner."""

    name: str
    """Of the image."""
    city: str
    """What its scores are summed with."""
    shape: tuple[int, int]
    """Height and width, px."""
    samples: Read
    """uint8 samples of a window, 255 where there is no prediction."""
    labels: Read
    """uint8 labels of a window."""
    predicted: Callable[[], Polygons]
    """Predicted buildings, in its pixels."""
    true: Callable[[], Polygons]
    """True buildings, in its pixels."""
    metres: tuple[float, float]
    """Width and height of a pixel on the ground, m."""
    origin: tuple[int, int] = (0, 0)
    """Row and column of its upper left pixel in the mosaic that was predicted in blocks."""

    @property
    def whole(self) -> Window:
        """All of it."""
        return Window.of(self.shape)

    def on_the_ground(self, polygons: Polygons) -> Polygons:
        """Polygons in its pixels, cut to it, in metres; specks are dropped."""
        # repaired first: people's polygons cross themselves, and such cannot be cut
        cut = shapely.intersection(shapely.make_valid(polygons), shapely.box(0, 0, self.shape[1], self.shape[0]))
        parts = shapely.get_parts(cut)
        flat = shapely.transform(parts[shapely.get_type_id(parts) == 3], lambda points: points * self.metres)
        found: Polygons = flat[shapely.area(flat) >= SPECK]
        return found


def city_of(name: str) -> str:
    """A scene's name without the number: austin of austin1."""
    return re.sub(r"[\W_]*\d+$", "", name) or name


def of_run(run: "Run", truth: Path) -> list[Subject]:
    """The scenes of a finished run that ``truth`` covers.

    ``truth`` is a vector file of footprints, a mask, or a folder of masks. A mask with a CRS lies where it says, on the
    run's grid; one without is that of the scene of its name.

    Raises:
        InputError: the truth does not fit the run.
    """
    if truth.is_dir() or _is_raster(truth):
        masks = sorted(path for path in truth.iterdir() if _is_raster(path)) if truth.is_dir() else [truth]
        return [run.with_mask(mask) for mask in masks] or _nothing(truth)
    layer_of(truth)  # refuses what is no vector file before anything is scored
    return [run.with_vectors(name, window, truth) for name, window in run.scenes]


def _nothing(truth: Path) -> list[Subject]:
    raise InputError(f"{truth}: holds no mask (.tif, .png)")


def _is_raster(path: Path) -> bool:
    return path.suffix.lower() in (".tif", ".tiff", ".png")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, opened."""

    output: Path
    """Its folder."""
    content: dict[str, Any]
    """Its run.json."""
    footprints: Path
    """The vector file of what it found."""
    shape: tuple[int, int]
    """Height and width of the mosaic, px."""
    block: tuple[int, int]
    """The same of a block."""
    affine: Affine
    """Pixel (x, y) of the mosaic to its CRS."""
    crs: str
    """WKT."""

    @classmethod
    def of(cls, output: Path) -> "Run":
        """The run in ``output``.

        Raises:
            InputError: it is no finished run, or left no footprints that can be read.
        """
        content = read_json(output / REPORT)
        if content is None:
            raise InputError(f"{output}: is no finished run; it has no run.json")
        grid, affine, crs = store.layout(output / STORE)
        return cls(output, content, _footprints(output), grid.shape, grid.block_shape, affine, crs)

    @property
    def level(self) -> int:
        """The sample from which the run called a pixel building."""
        return level(float(self.content["threshold"]))

    @property
    def scenes(self) -> list[tuple[str, Window]]:
        """The scenes by the names of their files without ending, which may repeat, with their windows in the mosaic."""
        listed = self.content["fingerprint"]["scenes"]
        found = [(Path(name).stem, Window(Span(*at[:2]), Span(*at[2:]))) for name, _, *at in listed]
        return [(name, window.clip(self.shape)) for name, window in found]

    def with_vectors(self, name: str, window: Window, vectors: Path) -> Subject:
        """The scene ``name``, with footprints as the truth."""

        def true() -> Polygons:
            return _moved(footprints_in_pixels(vectors, self.affine, self.crs, window), window)

        return self._subject(name, window, burnt(true), true)

    def with_mask(self, mask: Path) -> Subject:
        """What the mask covers."""
        name, raster = mask.stem.removesuffix("_mask"), _opened(mask)
        window = self._place(mask)
        if raster.shape != window.shape or window.clip(self.shape) != window:
            sizes = " x ".join(map(str, raster.shape)), " x ".join(map(str, window.shape))
            raise InputError(f"{mask}: is {sizes[0]} px and does not fit the {sizes[1]} px that were predicted there")
        labels = mask_labels(mask)
        return self._subject(name, window, labels, lambda: polygons_of(labels, window.shape))

    def _place(self, mask: Path) -> Window:
        """The pixels of the mosaic that a mask is of."""
        raster = _opened(mask)
        if raster.crs is None:
            return self._named(mask)
        if not CRS.from_user_input(raster.crs.to_wkt()).equals(CRS.from_wkt(self.crs), ignore_axis_order=True):
            raise InputError(f"{mask}: has another CRS than the run; warp it to the run's, or give footprints")
        col, row = ~self.affine @ (raster.transform.c, raster.transform.f)
        off = max(abs(col - round(col)), abs(row - round(row)))
        if off > PHASE or abs(raster.transform.a / self.affine.a - 1) > STRETCH:
            raise InputError(f"{mask}: does not lie on the run's pixels; warp it to them, or give footprints")
        top, left = round(row), round(col)
        return Window.of(raster.shape).moved(top, left)

    def _named(self, mask: Path) -> Window:
        """The one scene that a mask without CRS has the name of."""
        name = mask.stem.removesuffix("_mask")
        found = [window for scene, window in self.scenes if scene == name]
        if not found:
            known = ", ".join(scene for scene, _ in self.scenes)
            raise InputError(f"{mask}: has no CRS, and the run has no scene {name}; it has {known}")
        if len(found) > 1:
            raise InputError(
                f"{mask}: has no CRS, and the run has {len(found)} scenes {name}; give it a CRS, as GeoTIFF"
            )
        return found[0]

    def _subject(self, name: str, window: Window, labels: Read, true: Callable[[], Polygons]) -> Subject:
        path, grid = self.output / STORE, store.layout(self.output / STORE)[0]
        origin = window.rows.start, window.cols.start

        def samples(part: Window) -> NDArray[np.uint8]:
            return store.read(path, part.moved(*origin), grid)

        def predicted() -> Polygons:
            return _moved(footprints_in_pixels(self.footprints, self.affine, self.crs, window), window)

        metres = metres_per_pixel(self.affine, self.crs, window)
        return Subject(name, city_of(name), window.shape, samples, labels, predicted, true, metres, origin)


def _footprints(output: Path) -> Path:
    """The file of footprints in the folder of a run: the first of the readable formats that it wrote."""
    files = [output / f"footprints{suffix}" for suffix in READABLE]
    found = [file for file in files if file.exists()]
    if not found:
        cure = "run it again with --set footprints.formats=[gpkg]; the network is not run again"
        raise InputError(f"{output}: has no footprints as {', '.join(READABLE)}; {cure}")
    return found[0]


def _moved(polygons: Polygons, window: Window) -> Polygons:
    """Polygons in pixels of the mosaic as polygons in pixels of a window of it."""
    moved: Polygons = shapely.transform(polygons, lambda points: points - (window.cols.start, window.rows.start))
    return moved


def metres_per_pixel(affine: Affine, crs: str, window: Window) -> tuple[float, float]:
    """Width and height of the pixel in the middle of ``window``, on the ground, m."""
    middle = [[(window.cols.start + window.cols.stop) / 2, (window.rows.start + window.rows.stop) / 2]]
    width, height = Frame(affine, crs, ()).metres(np.array(middle))[0]
    return float(width), float(height)


def mask_labels(mask: Path) -> Read:
    """Labels of a mask file: 0 is background; its no-data value is no label where another value says building.

    Not GDAL's own mask: tools that write 0 and 255 tag either as no data, and every pixel of such a file is labelled.
    """
    raster = _opened(mask)
    unlabelled = _unlabelled(raster)

    def labels(window: Window) -> NDArray[np.uint8]:
        values = _values(raster, window)
        return np.where(values == unlabelled, np.uint8(IGNORE), (values != 0).astype(np.uint8))

    return labels


def _opened(mask: Path) -> DatasetReader:
    try:
        return opened(mask)
    except RasterioIOError as error:
        why = "is no GeoTIFF or PNG that can be read" if mask.exists() else "does not exist"
        raise InputError(f"{mask}: {why}; --truth takes footprints, a mask, or a folder of masks") from error


def _values(raster: DatasetReader, window: Window) -> NDArray[np.generic]:
    try:
        values: NDArray[np.generic] = raster.read(1, window=raster_window(window))
    except RasterioIOError as error:
        raise InputError(f"{raster.name}: its pixels cannot be read ({error}); is the file cut short?") from error
    return values


def _unlabelled(raster: DatasetReader) -> float:
    """The no-data value, if it is neither background nor the only other value; else one that no pixel equals."""
    value = raster.nodata
    for window in windows(Window.of(raster.shape)) if value else ():
        values = _values(raster, window)
        if ((values != 0) & (values != value)).any():
            return float(value)
    return float("nan")


def burnt(polygons: Callable[[], Polygons]) -> Read:
    """Labels of polygons in pixels, burnt by the centre rule, window by window."""
    trees: list[shapely.STRtree] = []

    def labels(window: Window) -> NDArray[np.uint8]:
        if not trees:
            trees.append(shapely.STRtree(polygons()))
        return burn(trees[0], window)

    return labels


def polygons_of(labels: Read, shape: tuple[int, int]) -> Polygons:
    """The buildings of a mask: its parts that hang together over sides, as polygons in pixels."""
    mask = labels(Window.of(shape))
    building = (mask > 0) & (mask != IGNORE)
    found = [shapely.geometry.shape(outline) for outline, _ in shapes(building.astype(np.uint8), building)]
    return np.array(found, dtype=object)
