"""Random regions, the pipeline's way through them in blocks, and the oracle: contourpy on the whole mosaic."""

import itertools
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import contourpy
import numpy as np
import shapely
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from pipeline.footprints import outline
from pipeline.footprints.tables import Buildings, Outlines
from pipeline.footprints.weld import Welder
from tiling.grid import BlockIndex, Grid, Window

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
"""(height, width) of small regions."""
levels = st.integers(1, 254)
few = st.sampled_from([0, 60, 127, 128, 200, 254, 255])


@st.composite
def regions(draw):
    """uint8 samples: noise of all values, of few values (many ties and saddles), or sparse."""
    elements = draw(st.sampled_from([st.integers(0, 255), few, st.sampled_from([0, 254])]))
    return draw(arrays.arrays(np.uint8, shapes, elements=elements))


@st.composite
def gridded(draw):
    """A region and a grid of blocks over it."""
    samples = draw(regions())
    height, width = samples.shape
    return samples, grid(samples.shape, (draw(st.integers(1, height)), draw(st.integers(1, width))))


def grid(shape, block):
    """Blocks of a side over a raster, without context."""
    return Grid.of(shape, block)


def block_outlines(samples, blocks: Grid, level, scenes=0) -> Iterator[tuple[BlockIndex, Outlines]]:
    """Every block traced from what it needs of the samples, and nothing else."""
    for block in blocks:
        window = blocks.window(block)
        seen = outline.needs(window).clip(samples.shape)
        mine = scenes if isinstance(scenes, int) else crop(scenes, window)
        yield block, outline.trace(crop(samples, seen).copy(), window, level, mine)


def crop(array, window: Window):
    """The part of an array in a window."""
    return array[window.slices]


def by_blocks(samples, blocks: Grid, level, scenes=0) -> Buildings:
    """All buildings, traced by blocks and welded, by their first samples."""
    welder, tables = Welder(), []
    for block, outlines in block_outlines(samples, blocks, level, scenes):
        tables += [outlines.buildings, *(welded.buildings for welded in welder.add(block, outlines.pieces))]
    welder.finish()
    table = Buildings.concatenate(tables)
    return table.take(np.lexsort((table.col, table.row)))


def at_once(samples, level, scenes=0) -> Buildings:
    """All buildings of a region that is one block."""
    return by_blocks(samples, grid(samples.shape, samples.shape), level, scenes)


def same(one: Buildings, other: Buildings) -> bool:
    """Whether two tables are equal bit by bit."""
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Buildings))


def oracle(samples, level) -> list[shapely.Polygon]:
    """The whole region's polygons by contourpy; no data and the outside count as 0."""
    heights = np.pad(np.where(samples == 255, 0, samples).astype(np.float64), 1)
    ys, xs = (np.arange(size) - 0.5 for size in heights.shape)
    generator = contourpy.contour_generator(x=xs, y=ys, z=heights, fill_type="OuterOffset")
    points, offsets = generator.filled(level - 0.5, 1e9)
    return [
        shapely.Polygon(ring[cut[0] : cut[1]], [ring[a:b] for a, b in itertools.pairwise(cut[1:])])
        for ring, cut in zip(points, offsets, strict=True)
    ]


def differing_area(found, expected) -> float:
    """Area that only one of two sets of polygons covers; nearly equal ones need a grid, or GEOS may give up."""
    one, other = shapely.union_all(found), shapely.union_all(expected)
    return float(shapely.area(shapely.symmetric_difference(one, other, grid_size=1e-11)))


def blobs(shape, count, seed=0, blur=1.2):
    """Rectangular buildings with soft edges and noise, as a network sees them: uint8."""
    rng = np.random.default_rng(seed)
    raster = np.zeros(shape, np.float32)
    for height, width in rng.integers(8, 30, (count, 2)):
        row, col = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        raster[row : row + height, col : col + width] = 1
    soft = ndimage.gaussian_filter(raster, blur)
    return np.clip(soft * 254 + rng.normal(0, 6, shape) * (soft > 0.02), 0, 254).astype(np.uint8)


def saved(samples, blocks: Grid, level, folder: Path) -> dict[BlockIndex, Path]:
    """The outline files of all blocks."""
    paths = {}
    for block, outlines in block_outlines(samples, blocks, level):
        paths[block] = folder / f"{block}.arrow"
        outlines.save(paths[block])
    return paths
