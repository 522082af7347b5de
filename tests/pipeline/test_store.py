"""The store against an array in memory: what was written whole reads back, and nothing else does."""

import os
from pathlib import Path

import numpy as np
import pytest
import strategies
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS

from pipeline import store
from pipeline.store import DamagedBlock
from tiling.grid import BlockIndex, Grid, Window

AFFINE = Affine(0.3, 0, 617100.1, 0, -0.3, 3344400.7)
WKT = CRS.from_epsg(26914).to_wkt()
SIDES = st.sampled_from([32, 64, 96])


def made(path: Path, shape: tuple[int, int], block: tuple[int, int]) -> Grid:
    """An empty store."""
    grid = Grid.of(shape, block, 32)
    store.create(path, grid, AFFINE, WKT)
    return grid


def noise(shape: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, store.SAMPLE_MAX, shape, dtype=np.uint8, endpoint=True)


def everything(grid: Grid) -> Window:
    return Window.of(grid.shape)


@settings(max_examples=25, deadline=None)
@given(shape=strategies.shapes, block=st.tuples(SIDES, SIDES), data=st.data())
def test_it_reads_as_the_array_that_was_written(
    shape: tuple[int, int], block: tuple[int, int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Blocks in any order, some twice, some forgotten, some never; any window of it."""
    path = tmp_path_factory.mktemp("store") / "s.zarr"
    grid = made(path, shape, block)
    expected = np.full(shape, store.NO_DATA, np.uint8)
    for seed, index in enumerate(data.draw(st.lists(st.sampled_from(list(grid)), max_size=6))):
        window = grid.window(index)
        samples = noise(window.shape, seed) if seed % 3 else np.full(window.shape, store.NO_DATA, np.uint8)
        if data.draw(st.booleans()):
            store.write_block(path, grid, index, samples)
        else:
            store.forget(path, index)
            samples = np.full_like(samples, store.NO_DATA)
        expected[window.slices] = samples
        assert store.shard_path(path, index).exists() == bool((samples != store.NO_DATA).any())
    seen = data.draw(strategies.windows(shape))
    assert np.array_equal(store.read(path, seen, grid), expected[seen.within(everything(grid))])


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Grid, NDArray[np.uint8]]:
    """A store of 2 × 2 blocks, all written."""
    path = tmp_path / "s.zarr"
    grid = made(path, (90, 110), (64, 64))
    samples = noise(grid.shape, 0)
    for index in grid:
        store.write_block(path, grid, index, samples[grid.window(index).within(everything(grid))])
    return path, grid, samples


def test_a_block_of_another_shape_is_refused(stored: tuple[Path, Grid, NDArray[np.uint8]]) -> None:
    path, grid, _ = stored
    with pytest.raises(ValueError, match=r"block 1-1 holds \(26, 46\) samples, not \(64, 64\)"):
        store.write_block(path, grid, BlockIndex(1, 1), noise((64, 64), 0))


def test_no_flipped_bit_is_silent(stored: tuple[Path, Grid, NDArray[np.uint8]]) -> None:
    """Of one shard: each flip is found, and names the block, or changes no sample."""
    path, grid, samples = stored
    block = BlockIndex(0, 1)
    shard, window = store.shard_path(path, block), grid.window(block)
    whole, chance, found = shard.read_bytes(), np.random.default_rng(1), 0
    for _ in range(150):
        changed = bytearray(whole)
        changed[chance.integers(len(whole))] ^= 1 << int(chance.integers(8))
        shard.write_bytes(changed)
        try:
            assert np.array_equal(store.read(path, window, grid), samples[window.within(everything(grid))])
        except DamagedBlock as error:
            found += error.block == block
    assert found > 140


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_shard_cut_short_is_damaged_and_can_be_written_again(
    share: float, stored: tuple[Path, Grid, NDArray[np.uint8]]
) -> None:
    """Also at the edge, where the shard is larger than the block and zarr would keep the rest of it."""
    path, grid, samples = stored
    block = BlockIndex(1, 1)
    shard = store.shard_path(path, block)
    os.truncate(shard, int(shard.stat().st_size * share))
    with pytest.raises(DamagedBlock, match="stored block 1-1 does not read back"):
        store.read(path, everything(grid), grid)
    store.write_block(path, grid, block, samples[grid.window(block).within(everything(grid))])
    assert np.array_equal(store.read(path, everything(grid), grid), samples)


def test_the_same_samples_are_the_same_bytes(stored: tuple[Path, Grid, NDArray[np.uint8]]) -> None:
    """However often a block is written, and whatever stood there."""
    path, grid, samples = stored
    block = BlockIndex(0, 0)
    before = store.shard_path(path, block).read_bytes()
    store.write_block(path, grid, block, noise((64, 64), 9))
    assert store.shard_path(path, block).read_bytes() != before
    store.write_block(path, grid, block, samples[:64, :64])
    assert store.shard_path(path, block).read_bytes() == before


def test_it_says_how_it_is_laid_out(stored: tuple[Path, Grid, NDArray[np.uint8]]) -> None:
    path, grid, _ = stored
    found, affine, crs = store.layout(path)
    assert (found.shape, found.blocks) == (grid.shape, grid.blocks)
    assert [found.window(index) for index in found] == [grid.window(index) for index in grid]
    assert affine == AFFINE
    assert CRS.from_wkt(crs) == CRS.from_epsg(26914)


def test_blocks_are_adopted_without_those_that_hold_nothing(
    stored: tuple[Path, Grid, NDArray[np.uint8]], tmp_path: Path
) -> None:
    path, grid, samples = stored
    store.forget(path, BlockIndex(0, 1))
    new = tmp_path / "new.zarr"
    larger = made(new, (150, 110), (64, 64))
    store.adopt(new, path, [BlockIndex(0, 0), BlockIndex(0, 1)])
    expected = np.full(larger.shape, store.NO_DATA, np.uint8)
    expected[:64, :64] = samples[:64, :64]
    assert np.array_equal(store.read(new, everything(larger), larger), expected)
    store.write_block(new, larger, BlockIndex(0, 0), noise((64, 64), 3))
    assert np.array_equal(store.read(path, Window.of((64, 64)), grid), samples[:64, :64]), "still its own"


def test_what_killed_writers_leave_is_swept(stored: tuple[Path, Grid, NDArray[np.uint8]]) -> None:
    path, grid, samples = stored
    left = store.shard_path(path, BlockIndex(0, 1)).with_suffix(".0123.partial")
    left.write_bytes(b"half")
    store.sweep(path)
    assert not left.exists()
    assert np.array_equal(store.read(path, everything(grid), grid), samples)


def test_a_store_that_is_not_there_is_made(tmp_path: Path) -> None:
    grid, path = Grid.of((40, 50), (32, 32), 32), tmp_path / "new.zarr"
    store.ensure(path, grid, AFFINE, WKT)
    assert (store.read(path, everything(grid), grid) == store.NO_DATA).all()
    assert [each.name for each in tmp_path.iterdir()] == ["new.zarr"]


def test_what_describes_the_blocks_is_mended_and_the_blocks_stay(
    stored: tuple[Path, Grid, NDArray[np.uint8]],
) -> None:
    """A flipped bit in a fill value makes buildings of all that has no data."""
    path, grid, samples = stored
    store.forget(path, BlockIndex(0, 1))
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    shards = {store.shard_path(path, block) for block in grid}
    for each in before.keys() - shards:
        for damage in (b"", b"{}", before[each].replace(b"255", b"251"), None):
            each.unlink()
            if damage is not None:
                each.write_bytes(damage)
            store.ensure(path, grid, AFFINE, WKT)
            assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before
    expected = samples.copy()
    expected[grid.window(BlockIndex(0, 1)).slices] = store.NO_DATA
    assert np.array_equal(store.read(path, everything(grid), grid), expected)


def test_a_block_that_is_written_again_is_there_all_the_time(
    stored: tuple[Path, Grid, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads it meanwhile would take a missing shard for no data."""
    path, grid, samples = stored

    def vanish(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(store, "forget", vanish)
    for block in grid:
        store.write_block(path, grid, block, samples[grid.window(block).slices])
    assert np.array_equal(store.read(path, everything(grid), grid), samples)
