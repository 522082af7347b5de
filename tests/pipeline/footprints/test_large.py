"""Regions that do not fit: memory by block, not by region. Minutes; ``pytest -m slow``."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import memory
import numpy as np
import pytest
from affine import Affine
from pyproj import CRS
from regions import blobs, grid

from pipeline.footprints import finish, outline, weld
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping

FRAME = Frame(Affine(0.3, 0, 350_000, 0, -0.3, 3_060_000), CRS.from_epsg(32645).to_wkt(), ("a.tif",))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def periodic(tile, window):
    """A window of an endless region that repeats a tile."""
    rows = np.arange(window.rows.start, window.rows.stop) % tile.shape[0]
    cols = np.arange(window.cols.start, window.cols.stop) % tile.shape[1]
    return tile[np.ix_(rows, cols)]


def run(tile, side, block, shaping, folder):
    """Whole way of a square region: (rows, inside samples of all rows, peak MiB on top of the start)."""
    memory.forget_peak()
    before, blocks, paths = memory.resident(), grid((side, side), (block, block)), {}
    for at in blocks:
        window = blocks.window(at)
        samples = periodic(tile, outline.needs(window).clip((side, side)))
        paths[at] = folder / f"{at}.arrow"
        outline.trace(samples, window, shaping.level).save(paths[at])
    index = weld.weld(paths.items(), folder / "welded.arrow")
    rows = pixels = 0
    for at in paths:
        sources = index.sources(at)
        files = finish.Files({near: paths[near] for near in (at, *sources.beside)}, folder / "welded.arrow")
        batch = finish.finish(sources, files, FRAME, shaping)
        rows += batch.num_rows
        pixels += int(np.rint(np.divide(batch["area_m2"], 0.09)).sum())
    return rows, pixels, (memory.peak() - before) / 2**20


def apart(*arguments):
    """``run`` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *arguments).result()


def test_memory_does_not_grow_with_the_region(tmp_path):
    tile = blobs((2500, 2500), 1400, seed=1)
    results = []
    for side in (7500, 30_000):
        folder = tmp_path / str(side)
        folder.mkdir()
        results.append(apart(tile, side, 2500, Shaping(127), folder))
    (small, small_area, small_peak), (large, large_area, large_peak) = results
    print(results)
    assert large / small == pytest.approx(16, rel=0.02)
    assert large_area / small_area == pytest.approx(16, rel=0.02)
    assert large_peak < 1.15 * small_peak
    assert large_peak < 1024


@pytest.mark.parametrize(("level", "rows"), [(128, 2_000_000), (127, 1)])
def test_a_checkerboard_of_2000_pixels(tmp_path, level, rows):
    tile = np.array([[0, 254], [254, 0]], np.uint8)
    found, _, peak = apart(tile, 2000, 500, Shaping(level, min_area=0, min_hole=0), tmp_path)
    print(found, peak)
    assert found == rows
    assert peak < 3 * 1024
