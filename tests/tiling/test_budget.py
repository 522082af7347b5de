"""The budget against brute force: every block size, every tile measured one by one."""

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiling.budget import BLOCK_PRICE, TILE_PRICE, BudgetError, Division, best_block, computed, divisions
from tiling.chunks import CHUNK_MAX, CHUNK_MIN, inner_chunk
from tiling.grid import Axis, Grid, round_up

HALO = (128, 160)

sizes = st.integers(1, 3000)
strides = st.sampled_from((16, 32, 64))
halos = st.tuples(st.integers(0, 300), st.integers(0, 300))


def grid(shape: tuple[int, int], block: tuple[int, int], stride: int, halo: tuple[int, int]) -> Grid:
    return Grid.of(shape, block, stride, halo)


def tiles(axis: Axis) -> list[int]:
    return [len(axis.tile(index)) for index in range(axis.blocks)]


@given(sizes, st.integers(1, 60), strides, halos)
def test_a_division_counts_what_the_grid_has(size: int, steps: int, stride: int, halo: tuple[int, int]) -> None:
    axis = Axis(size, steps * stride, stride, *halo)
    division = Division.of(size, steps * stride, stride, halo)
    assert (division.blocks, division.tile, division.computed) == (axis.blocks, max(tiles(axis)), sum(tiles(axis)))


def even_blocks(size: int, stride: int) -> set[int]:
    """By trial: for every number of blocks, the shortest storable one that covers the axis."""
    found = set()
    for blocks in range(1, round_up(size, stride) // stride + 1):
        side = next(s for s in range(stride, 2 * size + 9999, stride) if s * blocks >= size)
        while side > CHUNK_MAX and not any(side % c == 0 for c in range(CHUNK_MIN, CHUNK_MAX + 1)):
            side += stride
        found.add(side)
    return found


@given(st.tuples(st.integers(1, 1500), st.integers(1, 1500)), strides, halos, st.integers(1, 3_000_000))
def test_no_other_even_division_costs_less(
    shape: tuple[int, int], stride: int, halo: tuple[int, int], limit: int
) -> None:
    costs = {}
    for block in product(*(even_blocks(size, stride) for size in shape)):
        whole = grid(shape, block, stride, halo)
        pixels = [whole.tile(index).area for index in whole]
        costs[block] = max(pixels), sum(pixels) + BLOCK_PRICE * len(pixels) + TILE_PRICE * max(pixels)
    fitting = [cost for tile, cost in costs.values() if tile <= limit]
    if not fitting:
        with pytest.raises(BudgetError, match=str(min(tile for tile, _ in costs.values()))):
            best_block(shape, stride, halo, limit)
        return
    block = best_block(shape, stride, halo, limit)
    assert costs[block][0] <= limit
    assert costs[block][1] == min(fitting)


@given(st.tuples(sizes, sizes), strides, halos, st.data())
def test_pixels_computed_are_those_of_the_grid(
    shape: tuple[int, int], stride: int, halo: tuple[int, int], data: st.DataObject
) -> None:
    block = tuple(data.draw(st.sampled_from(sorted(even_blocks(size, stride)))) for size in shape)
    whole = grid(shape, block, stride, halo)
    assert computed(shape, block, stride, halo) == sum(whole.tile(index).area for index in whole)


@given(st.integers(1, 20_000), strides)
def test_blocks_divide_the_raster_evenly_into_usable_chunks(size: int, stride: int) -> None:
    for division in divisions(size, stride, HALO):
        assert division.block % stride == 0
        assert (division.blocks - 1) * division.block < size <= division.blocks * division.block
        chunk = inner_chunk(division.block)
        assert division.block % chunk == 0
        assert chunk >= min(CHUNK_MIN, division.block)
        spare = division.blocks * division.block - size
        assert spare < division.blocks * stride or division.block > CHUNK_MAX


@given(sizes, sizes, st.integers(1, 40))
def test_every_worker_has_a_block_where_the_stride_allows(rows: int, cols: int, workers: int) -> None:
    block = best_block((rows, cols), 32, HALO, 10**8, workers=workers)
    most = -(-rows // 32) * -(-cols // 32)
    assert len(grid((rows, cols), block, 32, HALO)) >= min(workers, most)


def test_a_small_scene_is_one_tile() -> None:
    assert best_block((2048, 2048), 32, HALO, 5024 * 5024) == (2048, 2048)
    assert computed((2048, 2048), (2048, 2048), 32, HALO) == 2048 * 2048


def test_a_large_scene_is_cut_though_it_fits_because_memory_has_a_price() -> None:
    block = best_block((5000, 5000), 32, HALO, 5024 * 5024)
    assert sorted(block) == [2528, 5024]
    assert computed((5000, 5000), block, 32, HALO) < 1.07 * 5000 * 5000


def test_a_rectangle_wins_where_it_is_cheaper() -> None:
    block = best_block((5000, 5000), 32, HALO, 5024 * 2720)
    assert sorted(block) == [2528, 5024]


def test_a_million_pixels_a_side_is_no_matter() -> None:
    started = time.process_time()
    block = best_block((1_000_000, 999_999), 32, HALO, 20_000_000, workers=64)
    assert time.process_time() - started < 2
    assert (block[0] + 288) * (block[1] + 288) <= 20_000_000
    assert computed((1_000_000, 999_999), block, 32, HALO) < 1.15 * 1_000_000 * 999_999
