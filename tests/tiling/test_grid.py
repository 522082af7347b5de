"""Blocks and tiles of any raster: what the rest of the pipeline takes for granted."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiling.grid import Axis, BlockIndex, Grid, Span, Window, round_up


@st.composite
def axes(draw: st.DrawFn, largest: int = 20_000) -> Axis:
    stride = draw(st.sampled_from((16, 32, 64)))
    halo = (draw(st.integers(0, 700)), draw(st.integers(0, 700)))
    return Axis(draw(st.integers(1, largest)), stride * draw(st.integers(1, 200)), stride, *halo)


@given(axes())
def test_blocks_partition_the_raster(axis: Axis) -> None:
    spans = [axis.span(index) for index in range(axis.blocks)]
    assert spans[0].start == 0
    assert spans[-1].stop == axis.size
    assert all(a.stop == b.start for a, b in pairwise(spans))
    assert all(len(span) == axis.block for span in spans[:-1])
    assert 0 < len(spans[-1]) <= axis.block


@given(axes())
def test_tiles_lie_on_the_stride_and_are_padded_at_the_end_only(axis: Axis) -> None:
    for index in range(axis.blocks):
        block, tile = axis.span(index), axis.tile(index)
        assert tile.start % axis.stride == len(tile) % axis.stride == 0
        assert 0 <= tile.start <= block.start < block.stop <= tile.stop <= axis.padded
        assert tile.start == 0 or tile.start <= block.start - axis.before
        assert tile.stop == axis.padded or tile.stop >= round_up(block.stop, axis.stride) + axis.after
    assert 0 <= axis.padded - axis.size < axis.stride


@given(axes(), st.integers(-100, 21_000), st.integers(0, 5000))
def test_blocks_over_a_span_are_those_that_share_a_pixel_with_it(axis: Axis, start: int, length: int) -> None:
    span = Span(start, start + length)
    expected = [index for index in range(axis.blocks) if length and axis.span(index).meets(span)]
    assert list(axis.spans_over(span)) == expected


@given(axes(2000), axes(2000))
def test_a_grid_covers_every_pixel_once(rows: Axis, cols: Axis) -> None:
    grid = Grid(rows, cols)
    blocks = list(grid)
    assert len(blocks) == len(grid) == len(set(blocks))
    assert sum(grid.window(block).area for block in blocks) == rows.size * cols.size
    assert all(block in grid for block in blocks)
    assert BlockIndex(rows.blocks, 0) not in grid
    assert BlockIndex(0, -1) not in grid


@given(axes(2000), axes(2000))
def test_a_block_lies_within_its_tile(rows: Axis, cols: Axis) -> None:
    grid = Grid(rows, cols)
    for block in grid:
        window, tile = grid.window(block), grid.tile(block)
        down, across = window.within(tile)
        assert (down.stop - down.start, across.stop - across.start) == window.shape
        assert block in list(grid.blocks_over(window))
        with pytest.raises(ValueError, match="does not lie within"):
            Window(Span(tile.rows.start, tile.rows.stop + 1), tile.cols).within(tile)


@pytest.mark.parametrize(("block", "nearest"), [(500, "480 and 512"), (31, "32"), (33, "32 and 64")])
def test_a_block_off_the_stride_names_the_nearest(block: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"block {block} is not a multiple of the stride 32; nearest: {nearest}$"):
        Axis(5000, block, 32, 128, 160)


@pytest.mark.parametrize("values", [(0, 32, 32, 0, 0), (10, 0, 32, 0, 0), (10, 32, 0, 0, 0), (10, 32, 32, -1, 0)])
def test_impossible_axes_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sizes must be positive and context not negative"):
        Axis(*values)


def test_a_span_does_not_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match=r"must not end before it starts: 3\.\.2"):
        Span(3, 2)


def test_there_is_no_block_past_the_last() -> None:
    with pytest.raises(IndexError, match="block 2 of 2"):
        Axis(64, 32, 32, 0, 0).span(2)
