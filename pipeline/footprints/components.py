"""Which contour lines bound the same building, and what its samples say.

Nodes are contour lines and inside runs of the array's rim. A run of inside samples along a row joins the two nodes
that end it; since a hole's leftmost crossing has such a run on its left, every hole is joined to what surrounds it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.footprints.arrays import Bool, Int, Samples
from pipeline.footprints.marching import NORTH, SOUTH, Lines, Segments
from pipeline.footprints.tables import tenth

ENTRY_INSIDE = np.array([[0, 1], [1, 1], [1, 0], [0, 0]])
"""(row, col) offset in its cell of the inside sample beside the side that a segment enters by: N, E, S, W."""
EXIT_INSIDE = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
"""The same for the side that it leaves by."""
NOWHERE = (1 << 31) - 1
"""Row and column of the first sample where there is none; sorts last."""

Scenes = NDArray[np.integer] | int
"""Index of the scene that each sample comes from, or one for all."""


@dataclass(frozen=True, slots=True)
class Rim:
    """The samples along the border of the array, and their runs of inside ones around it."""

    place: Int
    """Flat sample indices, sorted."""
    run: Int
    """Number of the run that each belongs to; -1 outside."""
    runs: int
    """How many there are."""
    wraps: bool
    """The first run and the last are one."""

    @classmethod
    def of(cls, inside: Bool) -> "Rim":
        """The rim of an array of inside samples."""
        height, width = inside.shape
        down, across = np.arange(height - 1), np.arange(width - 1)
        rows = np.concatenate([0 * across, down, 0 * across + height - 1, down[::-1] + 1])
        cols = np.concatenate([across, 0 * down + width - 1, across[::-1] + 1, 0 * down])
        within = inside[rows, cols]
        begins = within & ~np.r_[False, within[:-1]]
        run = np.where(within, np.cumsum(begins) - 1, -1)
        place = rows * width + cols
        order = np.argsort(place)
        return cls(place[order], run[order], int(begins.sum()), bool(within[0] and within[-1]))

    def at(self, place: Int) -> Int:
        """The runs of samples on the border; -1 outside."""
        return self.run[np.searchsorted(self.place, place)]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of inside samples along the rows but the last one, row-major."""

    start: Int
    """Flat index of the first sample."""
    stop: Int
    """Flat index of the last sample."""
    first: Int
    """Node that bounds it in front."""
    last: Int
    """Node that bounds it behind."""


def inside_runs(parts: Segments, lines: Lines, rim: Rim, shape: tuple[int, int]) -> Runs:
    """Pair the i-th start with the i-th stop: contours that go south pass a run's first sample, those north its last.

    The first row is rim, and so are the first and the last sample of every row.
    """
    width = shape[1]
    line = np.empty(len(lines.order), np.int64)
    line[lines.order] = np.repeat(np.arange(len(lines.closed)), np.diff(lines.offsets))
    down = np.flatnonzero((parts.entry == NORTH) & (parts.row > 0))
    up = np.flatnonzero((parts.entry == SOUTH) & (parts.row < shape[0] - 2))
    starts, stops = _rim_ends(rim, shape)
    start, first = _merge(starts, parts.row[down] * width + parts.col[down] + 1, line[down], (rim, len(lines.closed)))
    stop, last = _merge(stops, (parts.row[up] + 1) * width + parts.col[up], line[up], (rim, len(lines.closed)))
    return Runs(start, stop, first, last)


def _rim_ends(rim: Rim, shape: tuple[int, int]) -> tuple[Int, Int]:
    """First and last samples of runs that lie on the rim."""
    height, width = shape
    top, left = rim.at(np.arange(width)), np.arange(1, height - 1) * width
    right = left + width - 1
    starts = np.flatnonzero((top >= 0) & (np.r_[-1, top[:-1]] < 0))
    stops = np.flatnonzero((top >= 0) & (np.r_[top[1:], -1] < 0))
    return np.r_[starts, left[rim.at(left) >= 0]], np.r_[stops, right[rim.at(right) >= 0]]


def _merge(ends: Int, crossings: Int, line: Int, rim: tuple[Rim, int]) -> tuple[Int, Int]:
    """Ends of runs on the rim and at contours, with their nodes, by place."""
    place = np.concatenate([ends, crossings])
    node = np.concatenate([rim[1] + rim[0].at(ends), line])
    order = np.argsort(place, kind="stable")
    return place[order], node[order]


def components(parts: Segments, lines: Lines, rim: Rim, runs: Runs, width: int) -> Int:
    """The component of each node."""
    count = len(lines.closed)
    chains = np.flatnonzero(~lines.closed)
    first, last = lines.order[lines.offsets[chains]], lines.order[lines.offsets[chains + 1] - 1]
    meets = [
        rim.at((parts.row[end] + step[side[end], 0]) * width + parts.col[end] + step[side[end], 1])
        for end, side, step in ((first, parts.entry, ENTRY_INSIDE), (last, parts.exit, EXIT_INSIDE))
    ]
    apart = runs.first != runs.last
    corner = np.array([count] * rim.wraps, np.int64)
    one = np.concatenate([runs.first[apart], chains, chains, corner])
    other = np.concatenate([runs.last[apart], meets[0] + count, meets[1] + count, corner + rim.runs - 1])
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count + rim.runs,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the inside samples that a block counts say of each component; histograms hold only what occurs."""

    row: Int
    """Row of its first sample in the array; NOWHERE without one."""
    col: Int
    """Its column."""
    pixels: Int
    """Number of samples."""
    values: tuple[Int, Int]
    """256 · component + value, sorted, and the number of samples with it."""
    scenes: tuple[Int, Int, Int]
    """Component, scene, and the number of samples from it; sorted."""

    @classmethod
    def of(cls, samples: Samples, inside: Bool, runs: Runs, component: Int, scenes: Scenes) -> "Statistics":
        """Count all samples but the last row and column, which belong to the next blocks."""
        width = samples.shape[1]
        owner = component[runs.first]
        length = runs.stop - runs.start + (runs.stop % width < width - 1)
        count = int(component.max()) + 1
        row, col = np.full(count, NOWHERE), np.full(count, NOWHERE)
        some = np.flatnonzero(length)[::-1]
        row[owner[some]], col[owner[some]] = np.divmod(runs.start[some], width)
        pixels = np.bincount(owner, length, count).astype(np.int64)
        mine = inside[:-1, :-1]
        of_sample = np.repeat(owner, length)
        # ^ row-major, as the samples that a mask selects
        values = _tally((of_sample << 8) + samples[:-1, :-1][mine], count << 8)
        return cls(row, col, pixels, values, _per_scene(of_sample, mine, scenes, pixels))

    def total(self, chosen: Int) -> Int:
        """Sum of the samples of some components."""
        pair, number = self.values
        sums = np.bincount(pair >> 8, (pair & 255) * number, len(self.pixels))
        # ^ float64 counts exactly up to 2⁵³: 3 · 10¹³ samples
        return sums[chosen].astype(np.int64)

    def low(self, chosen: Int) -> Int:
        """10th percentile of the samples of some components."""
        pair, number = self.values
        before = (np.cumsum(self.pixels) - self.pixels)[chosen]
        return pair[np.searchsorted(np.cumsum(number), before + tenth(self.pixels[chosen]))] & 255

    def scene(self, chosen: Int) -> Int:
        """The scene that holds most samples of some components; the first of equals."""
        component, scene, number = self.scenes
        order = np.lexsort((-scene, number, component))
        most = np.zeros(len(self.pixels), np.int64)
        most[component[order]] = scene[order]
        return most[chosen]


def _tally(keys: Int, size: int) -> tuple[Int, Int]:
    """Keys in 0..size that occur, sorted, and how often; by counting where that takes less memory than sorting."""
    if size > 4 * len(keys) + (1 << 20):
        return np.unique(keys, return_counts=True)
    number = np.bincount(keys, minlength=size)
    some = np.flatnonzero(number)
    return some, number[some]


def _per_scene(of_sample: Int, mine: Bool, scenes: Scenes, pixels: Int) -> tuple[Int, Int, Int]:
    """Number of samples by component and scene."""
    if not isinstance(scenes, np.ndarray):
        some = np.flatnonzero(pixels)
        return some, np.full(len(some), int(scenes)), pixels[some]
    span = int(scenes.max()) + 1
    pair, number = _tally(of_sample * span + scenes[mine], len(pixels) * span)
    return pair // span, pair % span, number
