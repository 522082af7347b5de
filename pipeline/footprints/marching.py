"""Marching squares over uint8 samples, touching only the cells that the contour crosses.

A cell is the square between four samples. A contour crosses a cell's sides where one end is inside (``sample >=
level``) and the other is not; it runs with the inside on its left as seen on the screen (x right, y down), so that
exteriors are counterclockwise once y points north. Every crossing is the entry of exactly one segment: segments and
vertices are one.

Neighbouring crossed cells are found without any search: to the east and west they are neighbours in the row-major
list of crossed cells, and the i-th crossed lower side is the i-th crossed upper side of the row below. Lorensen and
Cline, Marching Cubes, SIGGRAPH 1987; saddles are decided by the cell's mean as contourpy does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import depth_first_order

from models.samples import NO_DATA
from pipeline.footprints.arrays import Bool, Float, Int, Samples

NORTH, EAST, SOUTH, WEST = range(4)
SEPARATED, JOINED = range(2)
STRIP = 1 << 18
"""Samples looked at in one go: the temporary arrays of a strip stay in the processor's cache."""


def _routes() -> NDArray[np.uint8]:
    """(entry, exit) of a cell's one or two segments by [saddle joined, code, segment]; code: UL 1, UR 2, LL 4, LR 8."""
    table = np.zeros((2, 16, 2, 2), np.uint8)
    for code in range(16):
        ul, ur, ll, lr = (bool(code & bit) for bit in (1, 2, 4, 8))
        entries = [
            side for side, inward in ((NORTH, ur > ul), (WEST, ul > ll), (EAST, lr > ur), (SOUTH, ll > lr)) if inward
        ]
        exits = [
            side for side, outward in ((NORTH, ul > ur), (WEST, ll > ul), (EAST, ur > lr), (SOUTH, lr > ll)) if outward
        ]
        if len(entries) == 1:
            table[:, code] = entries[0], exits[0]
    for code, separated in ((9, ((WEST, NORTH), (EAST, SOUTH))), (6, ((NORTH, EAST), (SOUTH, WEST)))):
        (first, one), (second, other) = separated
        table[SEPARATED, code] = separated
        table[JOINED, code] = (first, other), (second, one)
    return table


ROUTES = _routes()
"""Both saddles enter first by north or west and second by south or east; _successors relies on it."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that a contour crosses, row-major."""

    index: Int
    """Flat index into the array of cells, which is one smaller than the samples on each axis."""
    code: NDArray[np.uint8]
    """Which corners are inside: UL 1, UR 2, LL 4, LR 8."""


@dataclass(frozen=True, slots=True)
class Segments:
    """What the contour does in the crossed cells: one segment in each, two in saddles."""

    row: Int
    """Row of its cell."""
    col: Int
    """Column of its cell."""
    entry: NDArray[np.uint8]
    """The side that it comes in by."""
    exit: NDArray[np.uint8]
    """The side that it leaves by."""
    successor: Int
    """The segment that continues it; -1 where it leaves the array."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Segments put in order: rings, and chains that come in and leave over the array's border."""

    order: Int
    """Segments, line after line; a ring starts with its first one in row-major order."""
    offsets: Int
    """Line i is ``order[offsets[i]:offsets[i + 1]]``."""
    closed: Bool
    """It is a ring."""


def is_inside(samples: Samples, level: int) -> Bool:
    """Where ``level <= sample < 255``, in one comparison: below the level the difference wraps around."""
    return (samples - np.uint8(level)) < np.uint8(NO_DATA - level)


def crossed_cells(inside: Bool) -> Cells:
    """The cells between samples (h, w) that have corners inside and outside."""
    height, width = inside.shape
    rows = max(STRIP // width, 1)
    tops = range(0, height - 1, rows)
    parts = [_crossed_in(inside[top : top + rows + 1].view(np.uint8), top * (width - 1)) for top in tops]
    return Cells(np.concatenate([part.index for part in parts]), np.concatenate([part.code for part in parts]))


def _crossed_in(inside: NDArray[np.uint8], before: int) -> Cells:
    """The crossed cells of a strip; ``before`` cells lie above it."""
    pairs = inside[:, :-1] + 2 * inside[:, 1:]
    codes = (pairs[:-1] + 4 * pairs[1:]).ravel()
    index = np.flatnonzero((codes - np.uint8(1)) < 14)
    return Cells(index + before, codes[index])


def segments(samples: Samples, inside: Bool, level: int) -> Segments:
    """The directed segments of the contour at ``level - 1/2`` in ``samples`` (h, w), of which ``inside`` reach it."""
    cells = crossed_cells(inside)
    row, col = np.divmod(cells.index, samples.shape[1] - 1)
    saddle = (cells.code == 9) | (cells.code == 6)
    first = np.arange(len(row)) + np.cumsum(saddle) - saddle
    cell = np.repeat(np.arange(len(row)), 1 + saddle)
    second = np.zeros(len(cell), np.int64)
    second[first[saddle] + 1] = 1
    joined = _joined(samples, level, row, col, saddle)
    route = ROUTES[joined[cell], cells.code[cell], second]
    successor = _successors(cells, (row, col), (samples.shape[0] - 2, samples.shape[1] - 2), route[:, 1], cell)
    target = first[successor] + (saddle[successor] & ((route[:, 1] == NORTH) | (route[:, 1] == WEST)))
    return Segments(row[cell], col[cell], route[:, 0], route[:, 1], np.where(successor < 0, -1, target))


def _joined(samples: Samples, level: int, row: Int, col: Int, saddle: Bool) -> Int:
    """1 for saddle cells whose mean is above the level (their inside corners are connected), else 0."""
    joined = np.zeros(len(row), np.int64)
    y, x = row[saddle], col[saddle]
    total = sum(
        np.where(corner == NO_DATA, 0, corner)
        for corner in (samples[y + dy, x + dx].astype(np.int64) for dy in (0, 1) for dx in (0, 1))
    )
    joined[saddle] = total > 4 * level - 2
    return joined


def _successors(
    cells: Cells, place: tuple[Int, Int], last: tuple[int, int], leaving: NDArray[np.uint8], cell: Int
) -> Int:
    """For each segment the crossed cell that it leaves to; -1 over the array's border."""
    row, col = place
    count = len(row)
    code = cells.code
    over_north = np.flatnonzero(((code & 1) != (code >> 1 & 1)) & (row > 0))
    over_south = np.flatnonzero(((code >> 2 & 1) != (code >> 3)) & (row < last[0]))
    beside = np.full((4, count), -1)
    beside[NORTH, over_north] = over_south
    beside[SOUTH, over_south] = over_north
    beside[WEST] = np.where(col > 0, np.arange(count) - 1, -1)
    beside[EAST] = np.where(col < last[1], np.arange(count) + 1, -1)
    return beside[leaving, cell]


def lines(parts: Segments) -> Lines:
    """Follow the segments into rings and chains.

    One depth-first walk in C does it: a spine of extra nodes leads to every segment that can be a line's first one
    (chains come in over the border; a ring's first cell is entered and left by its south or east side).
    """
    successor = parts.successor
    count = len(successor)
    if not count:
        return Lines(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.bool_))
    headless = np.ones(count, np.bool_)
    headless[successor[successor >= 0]] = False
    corner = ((parts.entry == EAST) & (parts.exit == SOUTH)) | ((parts.entry == SOUTH) & (parts.exit == EAST))
    starts = np.concatenate([np.flatnonzero(headless), np.flatnonzero(corner & ~headless)])
    order = _walk(successor, starts)
    begins = np.flatnonzero(np.r_[True, successor[order[:-1]] != order[1:]])
    return Lines(order, np.r_[begins, count], successor[order[np.r_[begins[1:], count] - 1]] >= 0)


def _walk(successor: Int, starts: Int) -> Int:
    count, spine = len(successor), len(starts)
    degree = np.r_[successor >= 0, np.full(spine - 1, 2), 1]
    targets = np.empty(degree.sum(), np.int32)
    linked = np.count_nonzero(successor >= 0)
    targets[:linked] = successor[successor >= 0]
    targets[linked::2] = starts
    targets[linked + 1 :: 2] = count + 1 + np.arange(spine - 1)
    pointers = np.r_[0, np.cumsum(degree)].astype(np.int32)
    graph = csr_array((np.ones(len(targets)), targets, pointers), shape=(count + spine,) * 2)
    order = depth_first_order(graph, count, return_predecessors=False)
    return np.asarray(order[order < count], np.int64)


@dataclass(frozen=True, slots=True)
class Sides:
    """Sides of cells, which the contour crosses."""

    row: Int
    """Row of the cell."""
    col: Int
    """Column of the cell."""
    side: NDArray[np.uint8]
    """NORTH, EAST, SOUTH or WEST."""


def vertices(samples: Samples, level: int, sides: Sides, origin: tuple[int, int]) -> tuple[Float, Bool]:
    """Where the contour crosses sides of cells, and whether that touches no data.

    Args:
        samples: uint8 (h, w).
        level: Samples from it on are inside; the contour runs at ``level - 1/2``.
        sides: What it crosses.
        origin: Global (row, col) of ``samples[0, 0]``; its centre is at x = col + 0.5, y = row + 0.5.

    Returns:
        (n, 2) global (x, y) px, and bool (n,): the sample outside is no data.
    """
    width = samples.shape[1]
    upright = (sides.side == EAST) | (sides.side == WEST)
    y, x = sides.row + (sides.side == SOUTH), sides.col + (sides.side == EAST)
    flat = samples.reshape(-1)
    near = flat[y * width + x]
    far = flat[(y + upright) * width + x + ~upright]
    edge = (near == NO_DATA) | (far == NO_DATA)
    low, high = (np.where(end == NO_DATA, 0, end).astype(np.float64) for end in (near, far))
    share = (level - 0.5 - low) / (high - low)
    points = np.stack([origin[1] + x + 0.5, origin[0] + y + 0.5], axis=1)
    points[np.arange(len(points)), upright.astype(np.int64)] += share
    return points, edge
