"""Welding: whatever the blocks, the same tables, bit by bit."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import (
    at_once,
    blobs,
    block_outlines,
    by_blocks,
    differing_area,
    grid,
    gridded,
    levels,
    oracle,
    same,
    saved,
)

from pipeline.footprints import weld
from pipeline.footprints.tables import Buildings
from tiling.grid import BlockIndex


@settings(deadline=None, max_examples=100)
@given(gridded(), levels)
def test_blocks_do_not_show(region, level):
    samples, blocks = region
    assert same(by_blocks(samples, blocks, level), at_once(samples, level))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_blocks_never_show():
    @settings(deadline=None, max_examples=20_000)
    @given(gridded(), levels)
    def never(region, level):
        test_blocks_do_not_show.hypothesis.inner_test(region, level)

    never()
    print("20,000 random regions in random blocks: outlines equal those of the whole, bit by bit")


@settings(deadline=None, max_examples=30)
@given(gridded(), levels, st.randoms(use_true_random=False))
def test_the_order_of_blocks_does_not_show(region, level, random):
    samples, blocks = region
    outlines = list(block_outlines(samples, blocks, level))
    random.shuffle(outlines)
    welder = weld.Welder()
    tables = [table.buildings for _, table in outlines]
    tables += [one.buildings for block, table in outlines for one in welder.add(block, table.pieces)]
    welder.finish()
    found = Buildings.concatenate(tables)
    assert same(found.take(np.lexsort((found.col, found.row))), at_once(samples, level))


def spiral(size):
    """A path one sample wide that winds inwards."""
    board = np.zeros((size, size), np.uint8)
    row = col = 0
    down, across = 0, 1
    board[0, 0] = 254
    turned = 0
    while turned < 2:
        ahead, beyond = (row + down, col + across), (row + 2 * down, col + 2 * across)
        if all(0 <= at < size for at in ahead) and not (all(0 <= at < size for at in beyond) and board[beyond]):
            row, col = ahead
            board[row, col] = 254
            turned = 0
        else:
            down, across = across, -down
            turned += 1
    return board


SHAPES = {
    "spiral": spiral(25),
    "all building": np.full((24, 24), 254, np.uint8),
    "frame": np.pad(np.zeros((14, 14), np.uint8), 5, constant_values=254),
    "nested rings": (np.max(np.abs(np.indices((25, 25)) - 12), axis=0) % 4 < 2).astype(np.uint8) * 254,
    "comb": np.where((np.indices((24, 24))[0] == 0) | (np.indices((24, 24))[1] % 2 == 0), 254, 0).astype(np.uint8),
    "checkerboard": (np.indices((24, 24)).sum(axis=0) % 2 * 254).astype(np.uint8),
    "nothing": np.zeros((24, 24), np.uint8),
    "no data": np.full((24, 24), 255, np.uint8),
}


@pytest.mark.parametrize("block", [(2, 3), (9, 7), (24, 5)])
@pytest.mark.parametrize("level", [127, 128])
@pytest.mark.parametrize("name", SHAPES)
def test_awkward_shapes(name, level, block):
    samples = SHAPES[name]
    found = by_blocks(samples, grid(samples.shape, block), level)
    expected = oracle(samples, level)
    assert same(found, at_once(samples, level))
    assert len(found) == len(expected)
    assert shapely.is_valid(found.polygons).all()
    assert differing_area(found.polygons, expected) < 1e-9


def test_scenes_add_up_over_blocks():
    samples, scenes = blobs((90, 90), 25), np.indices((90, 90)).sum(axis=0) // 45
    assert same(by_blocks(samples, grid((90, 90), (17, 23)), 100, scenes), at_once(samples, 100, scenes))


def test_a_missing_block_is_noticed():
    samples = np.full((20, 20), 254, np.uint8)
    welder = weld.Welder()
    for block, outlines in list(block_outlines(samples, grid((20, 20), (10, 10)), 100))[:-1]:
        assert not welder.add(block, outlines.pieces)
    with pytest.raises(weld.OpenSeam, match="outlines beside block 0-0 are missing"):
        welder.finish()


def test_a_building_leaves_memory_with_its_last_piece():
    samples = np.zeros((40, 400), np.uint8)
    samples[10:30, 5::20] = samples[10:30, 6::20] = 254
    welder, open_buildings, pieces = weld.Welder(), [], []
    for block, outlines in block_outlines(samples, grid(samples.shape, (40, 6)), 100):
        welder.add(block, outlines.pieces)
        open_buildings.append(len(welder._groups))
        pieces.append(len(welder._parent))
    assert max(open_buildings) <= 1
    assert max(pieces) <= 2
    assert not welder._seams


def test_the_file_holds_every_welded_building_once(tmp_path):
    samples = blobs((120, 130), 40)
    blocks = grid(samples.shape, (32, 32))
    index = weld.weld(saved(samples, blocks, 100, tmp_path).items(), tmp_path / "welded.arrow")
    every = [place for places in index.owned.values() for place in places]
    welded = weld.read(tmp_path / "welded.arrow", tuple(sorted(every)))
    inner = [table.buildings for _, table in block_outlines(samples, blocks, 100)]
    found = Buildings.concatenate([welded, *inner])
    assert len(set(every)) == len(every) > 0
    assert same(found.take(np.lexsort((found.col, found.row))), at_once(samples, 100))


def test_sources_name_what_lies_around(tmp_path):
    samples = np.zeros((90, 90), np.uint8)
    samples[5:10, 5:80] = 254
    index = weld.weld(saved(samples, grid((90, 90), (30, 30)), 100, tmp_path).items(), tmp_path / "welded.arrow")
    corner = index.sources(BlockIndex(0, 0))
    assert len(corner.owned) == 1
    assert set(corner.beside) == {BlockIndex(row, col) for row in (0, 1) for col in (0, 1, 2)} - {BlockIndex(0, 0)}
    assert index.sources(BlockIndex(1, 2)).near == corner.owned
    assert index.sources(BlockIndex(2, 2)).near == ()


def test_no_seam_shows_in_a_region_of_four_scenes():
    samples = blobs((1000, 1100), 500, seed=2)
    whole = at_once(samples, 127)
    assert len(whole) > 200
    assert same(by_blocks(samples, grid(samples.shape, (512, 512)), 127), whole)
