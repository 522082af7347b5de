"""Outlines of one block: whole buildings, and the pieces of those that go on beyond it.

A block owns the cells whose upper left sample is its own; the mosaic's first row and column of blocks also own the
cells that lead in from outside, where there is no data. Its own samples and one more row and column decide
everything, so that both sides of a seam compute the same vertices and the same keys.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.samples import NO_DATA
from pipeline.footprints import components, marching
from pipeline.footprints.arrays import Bool, Float, Int, Samples, close_rings, spread
from pipeline.footprints.components import NOWHERE, Rim, Scenes, Statistics
from pipeline.footprints.marching import EAST, SOUTH, WEST, Lines, Segments, Sides
from pipeline.footprints.tables import Buildings, Outlines, Pieces
from tiling.grid import Span, Window


def needs(window: Window) -> Window:
    """The samples that decide a block's outlines; those beyond the mosaic are no data."""
    rows, cols = (Span(span.start - (span.start == 0), span.stop + 1) for span in (window.rows, window.cols))
    return Window(rows, cols)


def traced(active: Bool) -> Bool:
    """Blocks to trace: those of ``active`` that hold data, and their upper and left neighbours, which own the seams.

    Args:
        active: bool (blocks down, blocks across).
    """
    grown = np.pad(active, ((0, 1), (0, 1)))
    return np.asarray(grown[:-1, :-1] | grown[1:, :-1] | grown[:-1, 1:] | grown[1:, 1:])


def trace(samples: Samples, window: Window, level: int, scenes: Scenes = 0) -> Outlines:
    """Outlines at ``level - 1/2`` of a block.

    Args:
        samples: uint8, the part of ``needs(window)`` that lies within the mosaic; 255 is no data.
        window: The block.
        level: The least sample that is inside, 1..254.
        scenes: Index of the scene that each sample of the block comes from, the block's shape; or one for all.

    Returns:
        Buildings and pieces in mosaic pixels: sample (row, col) is at x = col + 0.5, y = row + 0.5.

    Raises:
        ValueError: ``samples`` or ``scenes`` do not have the shape that the block asks for.
    """
    padded = _pad(samples, window)
    inside = marching.is_inside(padded, level)
    if not inside.any():
        return Outlines(Buildings.empty(), Pieces.empty())
    reach = needs(window)
    contour = _Contour.of(padded, inside, level, (reach.rows.start, reach.cols.start))
    return contour.outlines(Statistics.of(padded, inside, contour.runs, contour.component, _lead(scenes, window)))


def _pad(samples: Samples, window: Window) -> Samples:
    """The samples of ``needs(window)``; where the mosaic ends there is no data."""
    lead = [int(span.start == 0) for span in (window.rows, window.cols)]
    lack = [want - have for want, have in zip(needs(window).shape, samples.shape, strict=True)]
    margins = [(before, both - before) for before, both in zip(lead, lack, strict=True)]
    if any(after not in (0, 1) for _, after in margins):
        raise ValueError(f"{needs(window)}, clipped to a mosaic, cannot have the shape {samples.shape}")
    return np.pad(samples, margins, constant_values=NO_DATA) if any(lack) else samples


def _lead(scenes: Scenes, window: Window) -> Scenes:
    """Scene indices of the samples that a block counts: its own, and those (without data) that lead in."""
    if not isinstance(scenes, np.ndarray):
        return int(scenes)
    if scenes.shape != window.shape:
        raise ValueError(f"scenes have the shape {scenes.shape}, the block {window.shape}")
    return np.pad(scenes, [(int(span.start == 0), 0) for span in (window.rows, window.cols)])


def _key(row: Int, col: Int, kind: Int | int) -> Int:
    """A number for an edge, cell or seam sample at a global (row, col) from -1 on; row-major, ``kind`` is 0..3."""
    return np.asarray(((row + 1) << 32) + ((col + 1) << 2) + kind)


@dataclass(frozen=True, slots=True)
class _Contour:
    """A block's contour and the components that it bounds."""

    shape: tuple[int, int]
    """Of the samples."""
    origin: tuple[int, int]
    """Global (row, col) of the first sample."""
    parts: Segments
    """Contour segments."""
    lines: Lines
    """Their order."""
    points: Float
    """Vertex of each segment."""
    ends: Float
    """Point that each line goes on to."""
    edge: Bool
    """The vertex touches no data."""
    rim: Rim
    """Inside runs around the border."""
    runs: components.Runs
    """Inside runs along the rows."""
    component: Int
    """Component of each line, then of each run of the rim."""

    @classmethod
    def of(cls, samples: Samples, inside: Bool, level: int, origin: tuple[int, int]) -> "_Contour":
        parts = marching.segments(samples, inside, level)
        lines = marching.lines(parts)
        points, edge = marching.vertices(samples, level, Sides(parts.row, parts.col, parts.entry), origin)
        last = lines.order[lines.offsets[1:] - 1]
        ends, _ = marching.vertices(samples, level, Sides(parts.row[last], parts.col[last], parts.exit[last]), origin)
        rim = Rim.of(inside)
        runs = components.inside_runs(parts, lines, rim, samples.shape)
        component = components.components(parts, lines, rim, runs, samples.shape[1])
        return cls(samples.shape, origin, parts, lines, points, ends, edge, rim, runs, component)

    def outlines(self, statistics: Statistics) -> Outlines:
        """Sort the components into buildings and pieces: those that reach the rim."""
        count = len(statistics.pixels)
        of_line = self.component[: len(self.lines.closed)]
        touching, on_edge = np.zeros((2, count), np.bool_)
        touching[self.component[len(of_line) :]] = True
        on_edge[np.repeat(of_line, np.diff(self.lines.offsets))[self.edge[self.lines.order]]] = True
        whole, cut = np.flatnonzero(~touching), np.flatnonzero(touching)
        whole = whole[np.lexsort((statistics.col[whole], statistics.row[whole]))]
        return Outlines(
            self._buildings(statistics, on_edge, whole, _ranks(whole, count)),
            self._pieces(statistics, on_edge, cut, _ranks(cut, count)),
        )

    def _place(self, statistics: Statistics, chosen: Int) -> dict[str, Int]:
        """Global row and column of the first samples."""
        local = statistics.row[chosen], statistics.col[chosen]
        row, col = (np.where(at == NOWHERE, at, at + start) for at, start in zip(local, self.origin, strict=True))
        return {"row": row, "col": col}

    def _lines_of(self, rank: Int) -> tuple[Int, Int]:
        """The lines of ranked components and their ranks, by rank; an exterior starts, and stays, before its holes."""
        owner = rank[self.component[: len(self.lines.closed)]]
        chosen = np.flatnonzero(owner >= 0)
        chosen = chosen[np.argsort(owner[chosen], kind="stable")]
        return chosen, owner[chosen]

    def _buildings(self, statistics: Statistics, on_edge: Bool, chosen: Int, rank: Int) -> Buildings:
        rings, owner = self._lines_of(rank)
        index, offsets = spread(self.lines.offsets, rings)
        points, closed = close_rings(self.points[self.lines.order[index]], offsets)
        return Buildings.of(
            points=points,
            rings=closed,
            parts=np.searchsorted(owner, np.arange(len(chosen) + 1)),
            pixels=statistics.pixels[chosen],
            total=statistics.total(chosen),
            low=statistics.low(chosen),
            scene=statistics.scene(chosen),
            on_edge=on_edge[chosen],
            **self._place(statistics, chosen),
        )

    def _pieces(self, statistics: Statistics, on_edge: Bool, chosen: Int, rank: Int) -> Pieces:
        chains, owner = self._lines_of(rank)
        index, offsets = spread(self.lines.offsets, chains)
        order = self.lines.order[index]
        head, tail = self._ends(chains)
        least, turn = self._first_cells(order, offsets)
        seam, seam_component = self._seams()
        return Pieces(
            on_edge=on_edge[chosen],
            points=self.points[order],
            lines=offsets,
            ends=self.ends[chains],
            owner=owner,
            head=head,
            tail=tail,
            least=least,
            turn=turn,
            seam=seam,
            seam_owner=rank[seam_component],
            **self._place(statistics, chosen),
            **_tallies(statistics, rank),
        )

    def _ends(self, chains: Int) -> tuple[Int, Int]:
        """Keys of the grid edges that lines start on and go on to; -1 for rings."""
        closed = self.lines.closed[chains]
        first, last = (self.lines.order[self.lines.offsets[chains + step] - step] for step in (0, 1))
        head, tail = self._edges(self.parts.entry, first), self._edges(self.parts.exit, last)
        return np.where(closed, -1, head), np.where(closed, -1, tail)

    def _edges(self, sides: NDArray[np.uint8], chosen: Int) -> Int:
        """Keys of the grid edges on one side of the cells of segments."""
        side = sides[chosen]
        row = self.origin[0] + self.parts.row[chosen] + (side == SOUTH)
        col = self.origin[1] + self.parts.col[chosen] + (side == EAST)
        return _key(row, col, ((side == EAST) | (side == WEST)).astype(np.int64))

    def _first_cells(self, order: Int, offsets: Int) -> tuple[Int, Int]:
        """Key, and index in its line, of the row-major first segment of each line."""
        if not len(order):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        second = np.isin(self.parts.entry[order], (EAST, SOUTH)).astype(np.int64)
        key = _key(self.origin[0] + self.parts.row[order], self.origin[1] + self.parts.col[order], second)
        least = np.minimum.reduceat(key, offsets[:-1])
        return least, np.flatnonzero(key == np.repeat(least, np.diff(offsets))) - offsets[:-1]

    def _seams(self) -> tuple[Int, Int]:
        """Keys of the inside runs along each of the four sides, and the components that they belong to."""
        height, width = self.shape
        keys, nodes = [], []
        for row, col, upright in ((0, None, 0), (height - 1, None, 0), (None, 0, 1), (None, width - 1, 1)):
            rows = np.arange(height) if row is None else np.full(width, row)
            cols = np.arange(width) if col is None else np.full(height, col)
            run = self.rim.at(rows * width + cols)
            begins = np.flatnonzero((run >= 0) & (np.r_[-1, run[:-1]] < 0))
            # A side's last sample is the next side's first one: a run of it alone is told apart.
            kind = upright + 2 * (begins == len(run) - 1)
            keys.append(_key(self.origin[0] + rows[begins], self.origin[1] + cols[begins], kind))
            nodes.append(run[begins])
        return np.concatenate(keys), self.component[len(self.lines.closed) + np.concatenate(nodes)]


def _ranks(chosen: Int, count: int) -> Int:
    """The place of each of ``count`` components among the chosen ones, or -1."""
    rank = np.full(count, -1)
    rank[chosen] = np.arange(len(chosen))
    return rank


def _tallies(statistics: Statistics, rank: Int) -> dict[str, Int]:
    """Histograms of pieces by value and by scene."""
    pair, count = statistics.values
    owner, of_scene = rank[pair >> 8], rank[statistics.scenes[0]]
    mine, some = np.flatnonzero(owner >= 0), np.flatnonzero(of_scene >= 0)
    values = {"value": pair[mine] & 255, "count": count[mine], "value_owner": owner[mine]}
    _, scene, number = statistics.scenes
    return values | {"scene": scene[some], "scene_count": number[some], "scene_owner": of_scene[some]}
