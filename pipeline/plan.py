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

from models.catalogue import CATALOGUE, Network
from models.weights import Weights
from pipeline import samples, workforce
from pipeline.config import Region
from pipeline.errors import InputError
from pipeline.footprints.shaping import Shaping
from pipeline.machine import GIB, MIB
from pipeline.mosaic import Mosaic
from pipeline.picture import Album
from pipeline.scenes.gdal import CACHE_BYTES
from tiling import budget
from tiling.grid import Axis, BlockIndex, Grid, round_up

# A process with torch, rasterio, zarr and dask loaded (measured: 0.62 GiB), and the cache of GDAL.
PROCESS_BYTES = 700 * MIB + CACHE_BYTES
# uint8 RGB and the mask of a tile that waits for the device, and samples that wait for the disk, per tile pixel.
WAITING_BYTES = 5
# uint8 RGB of a tile that waits on a GPU, per tile pixel.
UPLOADED_BYTES = 3
# Compressed probabilities and outlines take 0.05–0.4 bytes a pixel on real scenes; the plan promises the upper end.
DISK_BYTES_PER_PIXEL = 0.5
# What a hand has for itself, and beside that for each pixel of a block full of buildings (measured: 110 MiB and 17 B).
HAND_BYTES, TRACING_BYTES = 128 * MIB, 20
# Tiles read ahead of the device, for each worker.
READ_AHEAD = 2
# A mosaic that is covered to a larger share is divided as a full one.
FULL = 0.9
# Smaller blocks are not considered once there are so many: looking at them would take longer than they save.
MOST_BLOCKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Engine:
    """How the network runs; the same on every worker."""

    weights: Path
    """The weights file."""
    network: str
    """Its name in the catalogue."""
    device: str
    """``cpu`` or ``cuda`` or ``cuda:N``."""
    precision: str
    """``fp32``, ``bf16`` or ``fp16``."""
    tta: str
    """``none`` or ``d4``."""
    fixed_bytes: int
    """Device memory that it takes for any tile, weights included, B."""
    bytes_per_pixel: float
    """Device memory for each pixel of a tile, B."""
    most_pixels: int | None = None
    """Pixels of the largest tile that the device can compute however much memory it has; None: no such limit."""
    device_bytes: int | None = None
    """Free memory of the device, B; None where it is the machine's own, which ``memory`` limits."""
    sha256: str = ""
    """Of the weights: a file at the same path may hold others by now."""
    check: str = ""
    """How the precision was chosen, in one sentence; empty when the config did."""

    @property
    def facts(self) -> Network:
        """What the catalogue knows of the network."""
        return CATALOGUE[self.network]


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
        return self.output / ".work"

    @property
    def probabilities(self) -> Path:
        """The Zarr store of samples, until it is published."""
        return self.work / "probability.zarr"

    def outline_path(self, block: BlockIndex) -> Path:
        """A block's outlines."""
        return self.work / "outlines" / f"{block}.arrow"

    def origin_path(self, block: BlockIndex) -> Path:
        """Which of the scenes over a block each pixel comes from, where scenes overlap: a 32-bit TIFF."""
        return self.work / "origin" / f"{block}.tif"

    @property
    def welded(self) -> Path:
        """The buildings that reach over seams."""
        return self.work / "welded.arrow"

    def footprint_path(self, block: BlockIndex) -> Path:
        """A block's finished footprints."""
        return self.work / "footprints" / f"{block}.arrow"

    @property
    def album(self) -> Album:
        """The blocks' thumbnails."""
        return Album(self.work / "thumbnails", self.grid)

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
        InputError: the memory limit or ``tiles`` leave no room for a tile.
    """
    halo, most = _halo(region, engine), _most(region, engine)
    block = (head["block"][0], head["block"][1]) if head else _block(region, mosaic, engine, halo, most)
    grid = Grid.of(mosaic.shape, block, engine.facts.stride, halo)
    active = _active(mosaic, grid)
    return Plan(
        name=region.name,
        output=region.output,
        mosaic=mosaic,
        grid=grid,
        engine=engine,
        shaping=Shaping.of(region.footprints, level(region, weights)),
        active=active,
        projection=_project(grid, active, engine, region, most),
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


def _most(region: Region, engine: Engine) -> int:
    """Pixels of the largest tile that fits the memory limit and, where it has its own, the device's memory."""
    fixed, per_pixel = _host_bytes(engine)
    pixels = (workforce.memory(region) - fixed) / per_pixel
    if engine.device_bytes is not None:
        pixels = min(pixels, (engine.device_bytes - engine.fixed_bytes) / _device_bytes(engine))
    return int(max(0, min(pixels, inf if engine.most_pixels is None else engine.most_pixels)))


def _host_bytes(engine: Engine) -> tuple[int, float]:
    """Memory of the machine that a worker takes: for any tile, and for each pixel of one, B."""
    fixed, per_pixel = PROCESS_BYTES, float(WAITING_BYTES * (1 + READ_AHEAD))
    if engine.device_bytes is None:
        return fixed + engine.fixed_bytes, per_pixel + engine.bytes_per_pixel
    return fixed, per_pixel


def _device_bytes(engine: Engine) -> float:
    """Memory that a tile takes on the device, with those that wait there, for each pixel of it, B."""
    return engine.bytes_per_pixel + (0 if engine.device_bytes is None else UPLOADED_BYTES * (1 + READ_AHEAD))


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
        raise InputError(_too_little(region, engine, error.least)) from error


def _too_little(region: Region, engine: Engine, least: int) -> str:
    """That not even a tile of ``least`` pixels fits, and where."""
    fixed, per_pixel = _host_bytes(engine)
    limit, needed = workforce.memory(region), (fixed + least * per_pixel)
    if needed > limit or engine.device_bytes is None:
        least_needed = f"{needed / GIB:.2f}GiB"
        return f"memory: {limit / GIB:.2f} GiB is too little for one tile; at least {least_needed} is needed"
    needed = engine.fixed_bytes + least * _device_bytes(engine)
    free = f"{engine.device} has {engine.device_bytes / GIB:.2f} GiB free"
    return f"inference.device: {free}, {needed / GIB:.2f} GiB are needed for one tile; use another device, or cpu"


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


def _project(grid: Grid, active: NDArray[np.bool_], engine: Engine, region: Region, most: int) -> Projection:
    """The bill."""
    workers, hands = workforce.workers(region), workforce.hands(region)
    (down, heights), (across, widths) = _lengths(grid.rows), _lengths(grid.cols)
    computed, wanted = int(down @ active @ across), int(heights @ active @ widths)
    tile = int(down.max()), int(across.max())
    at_once = min(tile[0] * tile[1], most)
    device = engine.fixed_bytes + int(at_once * _device_bytes(engine))
    waiting = tile[0] * tile[1] * WAITING_BYTES * (1 + READ_AHEAD)
    on_cpu = device if engine.device == "cpu" else 0
    tracing = HAND_BYTES + int(heights.max() * widths.max()) * TRACING_BYTES
    ram = workers * (PROCESS_BYTES + waiting + on_cpu) + hands * tracing + PROCESS_BYTES
    disk = int(wanted * DISK_BYTES_PER_PIXEL) + 4 * MIB
    return Projection(workers, hands, tile, computed, wanted, ram, device, disk)
