"""Seconds of one core and peak memory of every stage of the footprints, next to the libraries at hand, in one run.

    python -m tests.benchmarks.footprint_speed [side=5000] [buildings=5600]

Every stage runs three times in a process of its own; the least processor time counts, since other work on the machine
adds to it. Memory is what the process needs on top of its input.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.features import rasterize, shapes
from scipy import ndimage

from pipeline.footprints import outline, weld
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping
from pipeline.footprints.tables import Outlines
from tests import memory
from tiling.grid import Grid

LEVEL = 127
PIXEL = 0.3
CRS_WKT = CRS.from_epsg(26914).to_wkt()
FRAME = Frame(Affine(PIXEL, 0, 600_000, 0, -PIXEL, 3_300_000), CRS_WKT, ("scene.tif",))


def scene(side: int, count: int, seed: int = 0) -> np.ndarray:
    """Turned L-shaped buildings, blurred and noisy as a network's probabilities: uint8 (side, side)."""
    rng = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(count)))
    pitch = side / across
    buildings = []
    for index in range(count):
        width, height = rng.uniform(0.25, 0.42, 2) * pitch
        shape = shapely.Polygon(
            [(-width, -height), (width, -height), (width, 0), (0, 0), (0, height), (-width, height)]
        )
        angle, (row, col) = rng.uniform(0, np.pi), divmod(index, across)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        buildings.append(
            shapely.transform(shape, lambda xy, t=turn, at=(col, row): xy @ t + (np.array(at) + 0.5) * pitch)
        )
    soft = ndimage.gaussian_filter(rasterize(buildings, (side, side), dtype="float32"), 1.2)
    return np.clip(soft * 254 + rng.normal(0, 6, soft.shape) * (soft > 0.02), 0, 254).astype(np.uint8)


def blocks_of(samples: np.ndarray, side: int) -> list[tuple]:
    """Every block with the samples that it needs."""
    grid = Grid.of(samples.shape, [min(side, size) for size in samples.shape])
    found = []
    for block in grid:
        window = grid.window(block)
        seen = outline.needs(window).clip(samples.shape)
        found.append((block, window, samples[seen.slices].copy()))
    return found


def trace(folder: Path, side: int = 2560) -> Callable[[], int]:
    """Outlines with all attributes of pixels, block by block, then welded."""
    blocks = blocks_of(np.load(folder / "scene.npy"), side)

    def work() -> int:
        welder, count = weld.Welder(), 0
        for block, window, samples in blocks:
            outlines = outline.trace(samples, window, LEVEL)
            count += len(outlines.buildings) + len(welder.add(block, outlines.pieces))
        welder.finish()
        return count

    return work


def trace_at_once(folder: Path) -> Callable[[], int]:
    """The same without seams."""
    return trace(folder, 1 << 20)


def weld_only(folder: Path) -> Callable[[], int]:
    """Joining the pieces of blocks of 512 px, from and to files."""
    paths = {}
    for block, window, samples in blocks_of(np.load(folder / "scene.npy"), 512):
        paths[block] = folder / f"512-{block}.arrow"
        outline.trace(samples, window, LEVEL).save(paths[block])
    return lambda: sum(map(len, weld.weld(paths.items(), folder / "512-welded.arrow").owned.values()))


def contour(folder: Path) -> Callable[[], int]:
    """Contourpy's filled contours, as polygons."""
    import contourpy  # noqa: PLC0415 - a peer's import counts as its own

    samples = np.load(folder / "scene.npy")

    def work() -> int:
        points, offsets = contourpy.contour_generator(z=samples, fill_type="OuterOffset").filled(LEVEL - 0.5, 1e9)
        rings = np.cumsum(np.concatenate([[0], *(np.diff(cut.astype(np.int64)) for cut in offsets)]))
        parts = np.cumsum([0, *(len(cut) - 1 for cut in offsets)])
        return len(shapely.from_ragged_array(shapely.GeometryType.POLYGON, np.concatenate(points), (rings, parts)))

    return work


def pixel_shapes(folder: Path) -> Callable[[], int]:
    """GDAL's polygons of the mask."""
    samples = np.load(folder / "scene.npy")

    def work() -> int:
        mask = samples >= LEVEL
        return len([shapely.geometry.shape(shape) for shape, _ in shapes(mask.astype(np.uint8), mask)])

    return work


def outlines_of(folder: Path) -> np.ndarray:
    """The contours in metres."""
    return shapely.transform(Outlines.load(folder / "whole.arrow").buildings.polygons, lambda points: points * PIXEL)


def simplify(folder: Path) -> Callable[[], int]:
    """Shapely's simplification of the contours alone."""
    contours = outlines_of(folder)
    return lambda: len(shapely.simplify(contours, 0.3))


def simplify_shapes(folder: Path) -> Callable[[], int]:
    """Simplification of GDAL's polygons alone."""
    mask = np.load(folder / "scene.npy") >= LEVEL
    polygons = np.array([shapely.geometry.shape(shape) for shape, _ in shapes(mask.astype(np.uint8), mask)])
    return lambda: len(shapely.simplify(polygons, 1.0))


def square(folder: Path) -> Callable[[], int]:
    """Right-angled outlines alone."""
    from pipeline.footprints.square import square as squared  # noqa: PLC0415

    contours = outlines_of(folder)
    simple = shapely.simplify(contours, 0.3)
    return lambda: int(squared(contours, simple)[1].sum())


def regularise(folder: Path) -> Callable[[], int]:
    """The buildingregulariser library on the simplified contours of 500 buildings."""
    import geopandas  # noqa: PLC0415
    from buildingregulariser import regularize_geodataframe  # noqa: PLC0415

    simple = shapely.simplify(outlines_of(folder)[:500], 0.3)
    frame = geopandas.GeoDataFrame(geometry=simple, crs=26914)
    return lambda: len(regularize_geodataframe(frame, num_cores=1))


def finishing(folder: Path, **options: bool) -> Callable[[], int]:
    """All from outlines to rows: courtyards, simplifying, conflicts, geodesic measures, names, WKB."""
    from pipeline.footprints import finish  # noqa: PLC0415

    samples = np.load(folder / "scene.npy")
    (block, _, _) = blocks_of(samples, 1 << 20)[0]
    index = weld.weld([(block, folder / "whole.arrow")], folder / "none.arrow")

    def read(window):
        return samples[window.slices]

    files = finish.Files({block: folder / "whole.arrow"}, folder / "none.arrow", read)

    def work() -> int:
        batch = finish.finish(index.sources(block), files, FRAME, Shaping(LEVEL, **options))
        finish.save(batch, folder / "rows.arrow")
        return batch.num_rows

    return work


def finish_simple(folder: Path) -> Callable[[], int]:
    """Finishing as by default."""
    return finishing(folder)


def finish_square(folder: Path) -> Callable[[], int]:
    """Finishing with squaring."""
    return finishing(folder, square=True)


def finish_split(folder: Path) -> Callable[[], int]:
    """Finishing with dividing."""
    return finishing(folder, split=True)


def exporting(folder: Path, name: str) -> Callable[[], int]:
    """One file format."""
    from pipeline import export  # noqa: PLC0415
    from pipeline.footprints.finish import Stored  # noqa: PLC0415

    about = export.Metadata(CRS_WKT, "bench", "ternausnet11", "0" * 64, "run", datetime(2026, 1, 1, tzinfo=UTC))
    return lambda: export.export(Stored((folder / "rows.arrow",)), folder, [name], about)[name].stat().st_size


def gpkg(folder: Path) -> Callable[[], int]:
    """GeoPackage; the count is bytes."""
    return exporting(folder, "gpkg")


def parquet(folder: Path) -> Callable[[], int]:
    """GeoParquet; bytes."""
    return exporting(folder, "parquet")


def flatgeobuf(folder: Path) -> Callable[[], int]:
    """FlatGeobuf; bytes."""
    return exporting(folder, "flatgeobuf")


def geojson(folder: Path) -> Callable[[], int]:
    """GeoJSON; bytes."""
    return exporting(folder, "geojson")


STAGES = (
    trace_at_once, trace, weld_only, contour, pixel_shapes, simplify_shapes, simplify, square, regularise,
    finish_simple, finish_square, finish_split, gpkg, parquet, flatgeobuf, geojson,
)  # fmt: skip


def measured(stage: Callable[[Path], Callable[[], int]], folder: Path) -> tuple[int, float, float, float]:
    """Count, processor seconds, wall seconds and MiB on top of the input; in a process of its own."""
    work = stage(folder)
    memory.forget_peak()
    before, times = memory.resident(), []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        count = work()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return count, *min(times), (memory.peak() - before) / 2**20


def main(side: int = 5000, buildings: int = 5600) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = scene(side, buildings)
        np.save(folder / "scene.npy", samples)
        _, window, padded = blocks_of(samples, 1 << 20)[0]
        outline.trace(padded, window, LEVEL).save(folder / "whole.arrow")
        print(f"{'stage':<18}{'count':>10}{'cpu s':>9}{'wall s':>9}{'+MiB':>8}   what")
        for stage in STAGES:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                count, cpu, wall, memory = pool.submit(measured, stage, folder).result()
            print(f"{stage.__name__:<18}{count:>10}{cpu:>9.3f}{wall:>9.3f}{memory:>8.0f}   {stage.__doc__}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
