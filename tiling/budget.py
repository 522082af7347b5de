"""The blocks whose tiles cost the least within a memory limit.

A tile is a block grown by the halo: large tiles waste little, and a rectangle may fit where a square does not. Pixels
computed along an axis do not depend on the other axis, so those of a raster are the product of its two axes' sums.
The largest tile has a price of its own, so a small raster is cut although it would fit: see ``TILE_PRICE``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tiling.chunks import storable
from tiling.grid import round_up

Pair = tuple[int, int]

BLOCK_PRICE = 1 << 16
"""What a block costs besides its pixels, in computed pixels."""
TILE_PRICE = 0.15
"""What each pixel of the largest tile costs, in computed pixels, however many tiles there are.

A process pays once for every page of memory that it uses: TernausNet11 in bf16 between 0.02 (a machine that keeps its
pages) and 0.5 (a virtual one whose host takes free pages back). And nothing is outlined while the first tile runs.
"""


class BudgetError(ValueError):
    """No tile fits the limit; ``least`` is the smallest limit with which one does, in tile pixels."""

    def __init__(self, limit: int, least: int) -> None:
        super().__init__(f"a limit of {limit} tile pixels is too small for the halo; the least is {least}")
        self.least = least


@dataclass(frozen=True, slots=True)
class Division:
    """One axis of a raster divided into blocks."""

    block: int
    """Pixels of a block; the last one may be shorter."""
    blocks: int
    """Number of blocks."""
    tile: int
    """Pixels of the longest tile."""
    computed: int
    """Pixels of all tiles together."""

    @classmethod
    def of(cls, size: int, block: int, stride: int, halo: Pair) -> "Division":
        """Blocks of ``block`` px, a multiple of ``stride``, whose tiles look ``halo`` (before, after) px further."""
        before, after = (round_up(px, stride) for px in halo)
        padded, blocks = round_up(size, stride), -(-size // block)
        last = padded - (blocks - 1) * block
        computed = padded + _capped_sum(block, block, blocks - 1, before) + _capped_sum(last, block, blocks - 1, after)
        return cls(block, blocks, _longest_tile(padded, block, before, after), computed)


def best_block(shape: Pair, stride: int, halo: Pair, limit: int, *, workers: int = 1) -> Pair:
    """The block (height, width) in px, multiples of ``stride``, whose tiles cost the least.

    Args:
        shape: (height, width) of the raster, px.
        stride: of the network, px.
        halo: context (before, after) of a block, px.
        limit: most pixels of a tile, from the memory.
        workers: at least so many blocks, as far as the stride allows, so that every worker has one.

    Raises:
        BudgetError: not even the smallest tile fits.
    """
    rows, cols = (list(divisions(size, stride, halo)) for size in shape)
    fitting = [pair for pair in product(rows, cols) if pair[0].tile * pair[1].tile <= limit]
    if not fitting:
        raise BudgetError(limit, min(axis.tile for axis in rows) * min(axis.tile for axis in cols))
    down, across = min(fitting, key=lambda pair: _badness(pair, workers))
    return down.block, across.block


def cost(pixels: int, blocks: int, tile: int, workers: int = 1) -> float:
    """What a raster costs, in computed pixels.

    Args:
        pixels: computed, of all tiles together.
        blocks: number of blocks.
        tile: pixels of the largest tile, which each worker has memory for.
        workers: how many.
    """
    return pixels + BLOCK_PRICE * blocks + TILE_PRICE * tile * workers


def computed(shape: Pair, block: Pair, stride: int, halo: Pair) -> int:
    """Pixels of all tiles when a raster of ``shape`` is divided into ``block``; wanted are shape[0] · shape[1]."""
    down, across = (Division.of(size, side, stride, halo) for size, side in zip(shape, block, strict=True))
    return down.computed * across.computed


def divisions(size: int, stride: int, halo: Pair) -> Iterator[Division]:
    """Every even division of an axis of ``size`` px into storable blocks, from one block to the smallest.

    There are about 2 · sqrt(size / stride) of them: 360 for a million pixels.
    """
    strides = -(-size // stride)
    blocks = 1
    while blocks <= strides:
        even = -(-strides // blocks)
        yield Division.of(size, storable(even * stride, stride), stride, halo)
        blocks = -(-strides // (even - 1)) if even > 1 else strides + 1
        # ^ the next number of blocks that makes them shorter


def _badness(pair: tuple[Division, Division], workers: int) -> tuple[float, ...]:
    """What is minimised, in this order: unmet wishes, cost, number of blocks, elongation."""
    down, across = pair
    blocks = down.blocks * across.blocks
    costs = cost(down.computed * across.computed, blocks, down.tile * across.tile, workers)
    return max(0, workers - blocks), costs, blocks, abs(down.block - across.block), down.block


def _capped_sum(first: int, step: int, count: int, cap: int) -> int:
    """The sum of min(cap, first + k · step) over k = 0 … count - 1."""
    below = min(max(-(-(cap - first) // step), 0), count)
    return below * first + step * below * (below - 1) // 2 + cap * (count - below)


def _longest_tile(padded: int, block: int, before: int, after: int) -> int:
    """The longest tile: its length is concave in the block's index, so it is next to where clipping begins or ends."""
    last = -(-padded // block) - 1
    turning = (before // block, before // block + 1, (padded - after) // block - 1, (padded - after) // block)
    indices = {min(max(index, 0), last) for index in turning}
    return max(min((i + 1) * block + after, padded) - max(i * block - before, 0) for i in indices)
