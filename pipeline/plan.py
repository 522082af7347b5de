"""The plan of a run: blocks, pixels computed and wanted, memory and disk. Data that prints, made before any compute."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import from_wkb

from models import samples
from models.weights import Weights
from pipeline import capacity, workforce
from pipeline.config import Region
from pipeline.engine import PROCESS_BYTES, WAITING_BYTES, Engine
from pipeline.errors import InputError
from pipeline.footprints.shaping import Shaping
from pipeline.machine import MIB
from pipeline.mosaic import Mosaic
from pipeline.names import FOOTPRINTS, ORIGIN, OUTLINES, STORE, THUMBNAILS, WELDED, WORK
from pipeline.picture import Album
from tiling import budget
from tiling.grid import Axis, BlockIndex, Grid, round_up

# Bytes that files take for each pixel, at most; in brackets what they took on the demo, a suburb and a dense town.
# Samples (0.28, 0.35, 0.57); outlines, welded and finished footprints, until all is published (0.29, 0.42, 0.86).
STORED_BYTES, TRACED_BYTES = 0.6, 0.9
# Footprints in each format (gpkg: 0.09, 0.16, 0.11; geojson: 0.05, 0.09, 0.13).
EXPORTED_BYTES = {"gpkg": 0.16, "parquet": 0.06, "flatgeobuf": 0.08, "geojson": 0.15}
# A COG with the plain file and the overviews that it is made of (0.66, 0.76, 1.41).
COG_BYTES = 1.5
# A mask, for each pixel of its scene (0.01, 0.02, 0.03).
MASK_BYTES = 0.04
# Preview, report and thumbnails, however large the region is (3 to 5 MiB).
SHOWN_BYTES = 8 * MIB
# A mosaic that is covered to a larger share is divided as a full one.
FULL = 0.9
# Smaller blocks are not considered once there are so many: looking at them would take longer than they save.
MOST_BLOCKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Projection:
    """What the run will need at most; it stays within it."""

    workers: int
    """Worker processes, one device each."""
    hands: int
    """Further processes of this machine, for all but the network."""
    tile: tuple[int, int]
    """Largest tile (height, width), px."""
    computed: int
    """Pixels that the network computes."""
    wanted: int
    """Pixels of the blocks that are computed."""
    ram: int
    """Peak memory of all processes, B."""
    device: int
    """Peak memory of one device, B; for the CPU it is part of ``ram``."""
    disk: int
    """Size of the output with its work folder, B."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a worker needs to know; picklable, no open files."""

    name: str
    """The region's name."""
    output: Path
    """The output folder."""
    mosaic: Mosaic
    """The scenes on one pixel grid."""
    grid: Grid
    """Its blocks and tiles."""
    engine: Engine
    """How the network runs."""
    shaping: Shaping
    """How samples become footprints."""
    active: NDArray[np.bool_]
    """bool (blocks down, blocks across): blocks that meet the area, or a scene where there is no area."""
    projection: Projection
    """What it will need."""
    most: int
    """Pixels of the largest tile that fits the memory; of a block whose tile is larger, the parts are computed."""

    @property
    def work(self) -> Path:
        """Folder of everything unfinished."""
        return self.output / WORK

    @property
    def probabilities(self) -> Path:
        """The Zarr store of samples, until it is published."""
        return self.work / STORE

    def outline_path(self, block: BlockIndex) -> Path:
        """A block's outlines."""
        return self.work / OUTLINES / f"{block}.arrow"

    def origin_path(self, block: BlockIndex) -> Path:
        """Which of the scenes over a block each pixel comes from, where scenes overlap: a 32-bit TIFF."""
        return self.work / ORIGIN / f"{block}.tif"

    @property
    def welded(self) -> Path:
        """The buildings that reach over seams."""
        return self.work / WELDED

    def footprint_path(self, block: BlockIndex) -> Path:
        """A block's finished footprints."""
        return self.work / FOOTPRINTS / f"{block}.arrow"

    @property
    def album(self) -> Album:
        """The blocks' thumbnails."""
        return Album(self.work / THUMBNAILS, self.grid)

    @property
    def skipped(self) -> int:
        """Pixels of the blocks that are not looked at: outside the area if there is one, else without a scene."""
        heights, widths = (_lengths(axis)[1] for axis in (self.grid.rows, self.grid.cols))
        return int(heights @ ~self.active @ widths)

    def blocks(self) -> Iterator[BlockIndex]:
        """The active blocks, row by row."""
        return indices(self.active)


def indices(flags: NDArray[np.bool_]) -> Iterator[BlockIndex]:
    """The blocks that are flagged, row by row."""
    return (BlockIndex(int(row), int(col)) for row, col in zip(*np.nonzero(flags), strict=True))


def make(
    region: Region, mosaic: Mosaic, weights: Weights, engine: Engine, head: Mapping[str, Any] | None = None
) -> Plan:
    """Divide a mosaic into blocks within the memory limit.

    Args:
        region: the config.
        mosaic: what the survey found.
        weights: what the weights file says.
        engine: how the network runs, with its measured memory.
        head: of the journal of a run that is resumed: its blocks (height, width), px, stay.

    Raises:
        InputError: the memory limit or ``tiles`` leave no room for a tile, or the machine none for the workers.
    """
    halo, most = _halo(region, engine), capacity.most(region, engine)
    block = (head["block"][0], head["block"][1]) if head else _block(region, mosaic, engine, halo, most)
    grid = Grid.of(mosaic.shape, block, engine.facts.stride, halo)
    active = _active(mosaic, grid)
    return Plan(
        name=region.name,
        output=region.output,
        mosaic=mosaic,
        grid=grid,
        engine=engine,
        shaping=Shaping(level(region, weights), **region.footprints.model_dump(exclude={"threshold", "formats"})),
        active=active,
        projection=_project(region, mosaic, grid, active, engine),
        most=most,
    )


def level(region: Region, weights: Weights) -> int:
    """The least sample that counts as building, by the config's threshold or the weights' own."""
    threshold = region.footprints.threshold
    return samples.level(weights.operating_threshold if threshold == "auto" else threshold)


def _halo(region: Region, engine: Engine) -> tuple[int, int]:
    """Context (before, after) of a block in px; symmetric when the tile is turned and flipped."""
    if region.tiles.halo != "auto":
        return int(region.tiles.halo), int(region.tiles.halo)
    before, after = engine.facts.before, engine.facts.after
    return (before, after) if engine.tta == "none" else (max(before, after),) * 2


def _block(region: Region, mosaic: Mosaic, engine: Engine, halo: tuple[int, int], most: int) -> tuple[int, int]:
    """Block (height, width) in px: from ``tiles.size``, or what costs the least within the memory."""
    stride = engine.facts.stride
    context = sum(round_up(px, stride) for px in halo)
    size, limit = region.tiles.size, engine.most_pixels
    if size != "auto":
        height, width = (min(size, round_up(side, stride)) for side in mosaic.shape)
        if limit is not None and height * width > limit:
            best = isqrt(limit) // stride * stride
            raise InputError(f"tiles.size: {size} is more than {engine.device} can compute at once; at most {best}")
        return size - context, size - context
    try:
        return _sparing(mosaic, stride, halo, most, workforce.workers(region))
    except budget.BudgetError as error:
        raise InputError(capacity.too_little(region, engine, error.least)) from error


def _sparing(mosaic: Mosaic, stride: int, halo: tuple[int, int], limit: int, workers: int) -> tuple[int, int]:
    """The block that costs the least where there is something to compute.

    In a mosaic that is full, it is the best of a full one. Where scenes lie apart, or the area is a part of the mosaic,
    smaller ones skip more of what is empty, so that halving the limit pays up to a point.

    Raises:
        BudgetError: not even the smallest tile fits.
    """
    best, least = budget.best_block(mosaic.shape, stride, halo, limit, workers=workers), inf
    for block in _halved(mosaic, stride, halo, limit, workers):
        grid = Grid.of(mosaic.shape, block, stride, halo)
        active = _active(mosaic, grid)
        down, across = _lengths(grid.rows)[0], _lengths(grid.cols)[0]
        tile = int(down.max() * across.max())
        cost = budget.cost(int(down @ active @ across), int(active.sum()), tile, workers)
        if cost < least:
            best, least = block, cost
    return best


def _halved(mosaic: Mosaic, stride: int, halo: tuple[int, int], limit: int, workers: int) -> Iterator[tuple[int, int]]:
    """The best blocks of a full mosaic for a limit, half of it, a quarter …; none where the mosaic is full."""
    if _covered(mosaic) > FULL:
        return
    blocks = 0
    while blocks < MOST_BLOCKS:
        try:
            block = budget.best_block(mosaic.shape, stride, halo, limit, workers=workers)
        except budget.BudgetError:
            return
        yield block
        blocks = prod(-(-size // side) for size, side in zip(mosaic.shape, block, strict=True))
        limit //= 2


def _covered(mosaic: Mosaic) -> float:
    """At most this share of the mosaic has something to compute."""
    area = sum(scene.window.area for scene in mosaic.scenes) if mosaic.area is None else from_wkb(mosaic.area).area
    return float(area / prod(mosaic.shape))


def _active(mosaic: Mosaic, grid: Grid) -> NDArray[np.bool_]:
    """The blocks that have to be looked at: bool (blocks down, blocks across).

    Without an area, those that meet a scene; with one, those that meet it, so that what lies outside is counted too.
    """
    if mosaic.area is not None:
        to_blocks = Affine.scale(grid.cols.block, grid.rows.block)
        meets_area = rasterize(
            [from_wkb(mosaic.area)], grid.blocks, transform=to_blocks, all_touched=True, dtype="uint8"
        )
        return np.asarray(meets_area, dtype=bool)
    meets_scene = np.zeros(grid.blocks, dtype=bool)
    for scene in mosaic.scenes:
        window = scene.window.clip(grid.shape)
        rows, cols = grid.rows.spans_over(window.rows), grid.cols.spans_over(window.cols)
        meets_scene[rows.start : rows.stop, cols.start : cols.stop] = True
    return meets_scene


def _lengths(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each block's tile along an axis, and of each block: areas are their products."""
    indices = range(axis.blocks)
    return np.array([len(axis.tile(i)) for i in indices]), np.array([len(axis.span(i)) for i in indices])


def _project(region: Region, mosaic: Mosaic, grid: Grid, active: NDArray[np.bool_], engine: Engine) -> Projection:
    """The bill."""
    workers, hands = workforce.workers(region), workforce.hands(region)
    (down, heights), (across, widths) = _lengths(grid.rows), _lengths(grid.cols)
    computed, wanted = int(down @ active @ across), int(heights @ active @ widths)
    tile = int(down.max()), int(across.max())
    device = engine.on_device.bytes(min(tile[0] * tile[1], capacity.most(region, engine)))
    waiting = tile[0] * tile[1] * WAITING_BYTES
    worker = PROCESS_BYTES + waiting + (device if engine.device == "cpu" else 0)
    hand = capacity.HAND.bytes(int(heights.max() * widths.max()))
    capacity.refuse_crowd(region, engine, worker, hand)
    ram = workers * worker + hands * hand + PROCESS_BYTES
    return Projection(workers, hands, tile, computed, wanted, ram, device, _disk(region, mosaic, wanted))


def _disk(region: Region, mosaic: Mosaic, wanted: int) -> int:
    """What the output folder takes before the work folder is removed from it, B."""
    each = STORED_BYTES + TRACED_BYTES + sum(EXPORTED_BYTES[name] for name in region.footprints.formats)
    each += COG_BYTES if region.probability.cog else 0
    masked = sum(scene.window.area for scene in mosaic.scenes) if region.probability.masks else 0
    return int(wanted * each + masked * MASK_BYTES) + SHOWN_BYTES
