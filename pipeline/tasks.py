"""What a worker does with one block: read its tile, run the network, store the samples, trace the outlines.

Plain functions of a plan and a block; no Dask here. ``prepare`` gives a worker process the plan of a run once, so that
tasks travel as block indices only.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.memory import trim
from models.samples import NO_DATA, SAMPLE_MAX
from pipeline import durable, network, pixels, store
from pipeline.engine import READ_AHEAD
from pipeline.footprints import finish as finishing
from pipeline.footprints import outline as outlines
from pipeline.footprints import weld
from pipeline.footprints.ground import Frame
from pipeline.journal import Seal
from pipeline.plan import Plan
from tiling.grid import BlockIndex, Grid, Span, Window

_plans: dict[str, Plan] = {}
_here = threading.local()
# Tiles in memory: the one on the device, those that wait for it, samples on their way to the disk.
_tiles = threading.BoundedSemaphore(1 + READ_AHEAD)


def prepare(plan: Plan, run: str = "") -> None:
    """Give this process the plan that the tasks of a run refer to."""
    store.refresh()
    for stale in [name for name, other in _plans.items() if other.output == plan.output]:
        release(stale)  # its driver was killed before it could say so: an output has one run at a time
    _plans[run] = plan


def release(run: str) -> None:
    """Forget a run and its network."""
    plan = _plans.pop(run, None)
    if plan is not None:
        network.forget_limits(plan.output)
    network.forget()


def each(arguments: Sequence[Any], run: str, task: Callable[[Any], Any]) -> list[Any]:
    """Do a task of a run for each argument; several runs may share the workers of one scheduler."""
    _here.run = run
    done = [task(argument) for argument in arguments]
    trim()  # what several threads allocate in turns stays with each of them, and grows for as long as a run lasts
    return done


def alone(run: str, task: Callable[..., Any], *arguments: Any) -> Any:
    """Do a task of a run while nothing else is on the device."""
    _here.run = run
    with network.device():
        return task(*arguments)


def current() -> Plan:
    """The plan of the run that this thread works for."""
    return _plans[getattr(_here, "run", "")]


@dataclass(frozen=True, slots=True)
class Counts:
    """Where the pixels of a block went; they add up to its area."""

    predicted: int
    """Pixels with a probability."""
    no_data: int
    """Pixels inside the area without data."""
    outside: int
    """Pixels outside the area."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What the network sees for a block."""

    block: BlockIndex
    """Which block."""
    rgb: NDArray[np.uint8] | None
    """uint8 (h, w, 3), padded to the stride; None when the block has no valid pixel."""
    wanted: NDArray[np.bool_]
    """bool, the block's shape: the pixels that get a probability."""
    counts: Counts
    """Where the block's pixels go."""
    seconds: float
    """Time that reading took, s."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What the network made of a tile."""

    values: NDArray[np.uint8] | None
    """uint8 of the block's shape, 255 where no data; None when the block has no valid pixel."""
    seconds: float
    """Time on the device, s."""
    halved: bool = False
    """Whether the tile was too large for the memory, and computed in parts."""


def samples(block: BlockIndex) -> "Stored":
    """Make a block's samples and store them: read, infer when the device is free, keep.

    One task, because its parts never help one another from different processes: a tile that travelled, or waited in
    memory until a scheduler says who needs it, would cost more than it takes to read it.
    """
    with _tiles:
        tile = read(block)
        return keep(tile, infer(tile))


def read(block: BlockIndex) -> Tile:
    """Read a block's tile from every scene that it meets."""
    started = time.perf_counter()
    plan = current()
    window, tile = plan.grid.window(block), plan.grid.tile(block)
    inside = pixels.area_mask(plan.mosaic, window)
    seen = tile.clip(plan.mosaic.shape)
    scene = pixels.read(plan.mosaic, seen)
    wanted = inside & scene.valid[window.within(seen)]
    predicted, outside = int(wanted.sum()), int(window.area - inside.sum())
    counts = Counts(predicted, window.area - predicted - outside, outside)
    if predicted:
        plan.album.keep(block, scene.rgb[window.within(seen)])
    if predicted and scene.origin is not None:
        keep_origin(plan, block, scene.origin[window.within(seen)])
    rgb = pad(scene.rgb, tile.shape) if predicted else None
    return Tile(block, rgb, wanted, counts, time.perf_counter() - started)


def pad(rgb: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Pad a tile by reflection on its lower and right side, where the mosaic ends inside the stride."""
    rows, cols = shape[0] - rgb.shape[0], shape[1] - rgb.shape[1]
    return np.pad(rgb, ((0, rows), (0, cols), (0, 0)), mode="reflect") if rows or cols else rgb


def infer(tile: Tile) -> Samples:
    """Run the network on a tile, when the device is free."""
    if tile.rgb is None:
        return Samples(None, 0.0)
    plan = current()
    rgb = network.ahead(plan, tile.rgb)
    with network.device():
        started = time.perf_counter()
        seen = plan.grid.tile(tile.block)
        values = network.samples(plan, rgb, seen, plan.grid.window(tile.block))
        seconds, halved = time.perf_counter() - started, seen.area > network.largest(plan)
    values[~tile.wanted] = NO_DATA
    return Samples(values, seconds, halved)


@dataclass(frozen=True, slots=True)
class Stored:
    """Samples that are durable."""

    counts: Counts
    """Where the block's pixels went."""
    seal: Seal | None
    """Of the shard; None when nothing had to be stored."""
    seconds: dict[str, float]
    """Time by stage, s."""
    halved: bool = False
    """Whether the tile was too large for the memory, and computed in parts."""
    origin: Seal | None = None
    """Of the file that says which scene each pixel comes from, where scenes overlap."""

    def line(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("halved", "origin")}


def keep(tile: Tile, samples: Samples) -> Stored:
    """Store a block's samples durably; a block without data takes no space."""
    started = time.perf_counter()
    plan = current()
    if samples.values is None:
        store.forget(plan.probabilities, tile.block)
    else:
        store.write_block(plan.probabilities, plan.grid, tile.block, samples.values)
    seal = Seal.of(store.shard_path(plan.probabilities, tile.block))
    seconds = {"read": tile.seconds, "infer": samples.seconds, "store": time.perf_counter() - started}
    return Stored(tile.counts, seal, seconds, samples.halved, Seal.of(plan.origin_path(tile.block)))


@dataclass(frozen=True, slots=True)
class Written:
    """A block's file that is durable: outlines or finished footprints."""

    seal: Seal | None
    """Of the file."""
    seconds: dict[str, float]
    """Time by stage, s."""

    def line(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return asdict(self)


def outline(block: BlockIndex) -> Written:
    """Trace a block's outlines from its samples and the first row and column of its neighbours'.

    Raises:
        DamagedBlock: stored samples do not read back.
    """
    started = time.perf_counter()
    plan = current()
    window = plan.grid.window(block)
    seen = outlines.needs(window).clip(plan.grid.shape)
    samples = store.read(plan.probabilities, seen, plan.grid)
    traced = outlines.trace(samples, window, plan.shaping.level, scene_numbers(plan, block))
    path = plan.outline_path(block)
    path.parent.mkdir(parents=True, exist_ok=True)
    traced.save(path)
    return Written(Seal.of(path), {"outline": time.perf_counter() - started})


def finish(sources: weld.Sources) -> Written:
    """Make a block's footprints from its outlines, those beside it, and the welded buildings."""
    started = time.perf_counter()
    plan = current()
    paths = {block: plan.outline_path(block) for block in (sources.block, *sources.beside)}
    scenes, shape = tuple(scene.name for scene in plan.mosaic.scenes), plan.mosaic.shape
    frame = Frame(plan.mosaic.affine, plan.mosaic.crs, scenes)
    files = finishing.Files(
        paths, plan.welded, lambda window: store.read(plan.probabilities, window.clip(shape), plan.grid)
    )
    batch = finishing.finish(sources, files, frame, plan.shaping)
    path = plan.footprint_path(sources.block)
    path.parent.mkdir(parents=True, exist_ok=True)
    finishing.save(batch, path)
    return Written(Seal.of(path), {"finish": time.perf_counter() - started})


def seam_error(corner: tuple[int, int]) -> float:
    """How much stored samples differ from exact ones at a seam: max |ΔP| within two strides of a pixel.

    Args:
        corner: (row, col) of a pixel where four blocks meet, or two, where an axis has only one.
    """
    plan = current()
    stride, facts = plan.grid.rows.stride, plan.engine.facts
    near = Window(*(Span(at - 2 * stride, at + 2 * stride) for at in corner)).clip(plan.grid.shape)
    context = max(facts.before, facts.after)
    rows, cols = (replace(axis, before=context, after=context) for axis in (plan.grid.rows, plan.grid.cols))
    seen = Window(rows.around(near.rows), cols.around(near.cols))
    try:
        scene = pixels.read(plan.mosaic, seen.clip(plan.grid.shape))
    except pixels.SceneError:
        return 0.0  # nothing to compare; the block that is damaged is reported as such
    exact = network.finite(plan.engine, pad(scene.rgb, seen.shape))[near.within(seen)]
    stored = store.read(plan.probabilities, near, plan.grid)
    known = stored != NO_DATA
    return float(np.abs(exact[known].astype(int) - stored[known]).max(initial=0)) / SAMPLE_MAX


def readers(block: BlockIndex, grid: Grid) -> list[BlockIndex]:
    """The blocks whose outlines read samples of ``block``: itself and its upper and left neighbours."""
    near = (BlockIndex(block.row - up, block.col - left) for up in (0, 1) for left in (0, 1))
    return [reader for reader in near if reader in grid]


def keep_origin(plan: Plan, block: BlockIndex, origin: NDArray[np.uint32]) -> None:
    """Keep which scene each pixel of a block comes from, where overlapping scenes fill each other's gaps.

    A scene is kept as its place among those over the block, which other scenes, added elsewhere, do not change.
    """
    path = plan.origin_path(block)
    places = np.searchsorted(plan.mosaic.numbers_over(plan.grid.window(block)), origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable.replace(path) as scratch:
        Image.fromarray(places.astype(np.int32)).save(scratch, compression="tiff_deflate")


def scene_numbers(plan: Plan, block: BlockIndex) -> NDArray[np.uint32] | int:
    """Place in the mosaic's scenes of the one that each pixel of a block comes from; one for all if it is one."""
    window = plan.grid.window(block)
    over = plan.mosaic.numbers_over(window)
    if len(over) < 2:
        return over[0] if over else 0
    if plan.origin_path(block).exists():
        with Image.open(plan.origin_path(block)) as kept:
            return np.asarray(np.array(over, np.uint32)[np.asarray(kept)], np.uint32)
    numbers = np.zeros(window.shape, dtype=np.uint32)
    for number in over:
        numbers[plan.mosaic.scenes[number].window.intersection(window).within(window)] = number
    return numbers
