"""Join the pieces of buildings that reach over seams, by keys alone.

A contour line that leaves a block over a grid edge goes on in the block where that edge is the head of a line; two
pieces that share a run of inside samples along a seam belong to one building. Both are integers, so nothing is
compared, snapped or united geometrically, and the result equals the contour of the whole mosaic.

A building is emitted as soon as every seam that it reaches has been seen from both sides: memory holds the open ones
only.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.errors import PipelineError
from pipeline.footprints.arrays import Float, Int, close_rings
from pipeline.footprints.shaping import MOST_VERTICES
from pipeline.footprints.tables import Buildings, Outlines, Pieces, load, tenth, writing
from tiling.grid import BlockIndex


class OpenSeam(PipelineError):  # noqa: N818 - a state of the pieces
    """A building reaches a block whose outlines were not given."""


class _Piece(NamedTuple):
    """The part of a building that lies in one block."""

    block: BlockIndex
    """The block."""
    table: Pieces
    """All its pieces."""
    number: int
    """That of this one in the table."""

    @property
    def place(self) -> tuple[int, int]:
        """Row and column of the first sample that the block counts."""
        return int(self.table.row[self.number]), int(self.table.col[self.number])


@dataclass(slots=True)
class _Open:
    """Pieces known to be of one building, which still lacks some."""

    pieces: list[_Piece]
    """Those that were found."""
    serials: list[int]
    """Their serial numbers, by which the welder knows them."""
    seams: int = 0
    """Runs along seams that were seen from one side only."""


@dataclass(frozen=True, slots=True)
class Welded:
    """One building over several blocks, as a table of one row."""

    buildings: Buildings
    """The building."""
    owner: BlockIndex
    """The block that holds its first sample."""
    pieces: tuple[tuple[BlockIndex, int], ...]
    """Block and number of each of its pieces."""

    @property
    def blocks(self) -> set[BlockIndex]:
        """All blocks that it reaches."""
        return {block for block, _ in self.pieces}


@dataclass(slots=True)
class Welder:
    """Takes the pieces of blocks, in any order, and gives the buildings that they complete."""

    _groups: dict[int, _Open] = field(default_factory=dict)
    _parent: dict[int, int] = field(default_factory=dict)
    _seams: dict[int, int] = field(default_factory=dict)
    _next: int = 0

    def add(self, block: BlockIndex, pieces: Pieces) -> list[Welded]:
        """Buildings that are complete with the pieces of one more block, by their first samples."""
        base = self._next
        self._next += len(pieces)
        for index in range(len(pieces)):
            self._parent[base + index] = base + index
            self._groups[base + index] = _Open([_Piece(block, pieces, index)], [base + index])
        for key, owner in zip(pieces.seam.tolist(), pieces.seam_owner.tolist(), strict=True):
            self._meet(key, base + owner)
        done = {root for root in map(self._root, range(base, base + len(pieces))) if not self._groups[root].seams}
        return sorted((self._close(root) for root in done), key=lambda welded: _place(welded.buildings))

    def finish(self) -> None:
        """Check that nothing is left open.

        Raises:
            OpenSeam: a neighbouring block was not added.
        """
        if self._groups:
            blocks = sorted({piece.block for group in self._groups.values() for piece in group.pieces})
            raise OpenSeam(f"outlines beside block {blocks[0]} are missing; {len(self._groups)} buildings stay open")

    def _meet(self, key: int, piece: int) -> None:
        """Note one side of a run along a seam; unite with the other side."""
        other = self._seams.pop(key, None)
        one = self._root(piece)
        if other is None:
            self._seams[key] = piece
            self._groups[one].seams += 1
            return
        two = self._root(other)
        self._groups[two].seams -= 1
        if one != two:
            self._unite(one, two)

    def _unite(self, one: int, two: int) -> None:
        small, large = sorted((one, two), key=lambda root: len(self._groups[root].pieces))
        group = self._groups.pop(small)
        self._parent[small] = large
        self._groups[large].pieces += group.pieces
        self._groups[large].serials += group.serials
        self._groups[large].seams += group.seams

    def _root(self, piece: int) -> int:
        while (parent := self._parent[piece]) != piece:
            self._parent[piece] = piece = self._parent[parent]
        return piece

    def _close(self, root: int) -> Welded:
        group = self._groups.pop(root)
        for serial in group.serials:
            del self._parent[serial]
        return _assemble(sorted(group.pieces, key=lambda piece: (piece.block, piece.number)))


def _place(buildings: Buildings) -> tuple[int, int]:
    return int(buildings.row[0]), int(buildings.col[0])


def _assemble(pieces: list[_Piece]) -> Welded:
    """One building from all its pieces."""
    first = min(pieces, key=lambda piece: piece.place)
    row, col = first.place
    rings = _rings(pieces)
    points, offsets = close_rings(np.concatenate(rings), np.cumsum([0, *map(len, rings)]))
    values = _histogram(pieces, ("value", "count", "value_owner"))
    scenes = _histogram(pieces, ("scene", "scene_count", "scene_owner"))
    total, count = int(values @ np.arange(len(values))), int(values.sum())
    low = int(np.searchsorted(np.cumsum(values), tenth(count)))
    facts = {
        "row": row,
        "col": col,
        "pixels": count,
        "total": total,
        "low": low,
        "scene": int(np.argmax(scenes)),
    }
    columns = {name: np.array([value], np.int64) for name, value in facts.items()}
    on_edge = np.array([any(table.on_edge[index] for _, table, index in pieces)])
    table = Buildings.of(points, offsets, np.array([0, len(rings)]), **columns, on_edge=on_edge)
    return Welded(table, first.block, tuple((block, index) for block, _, index in pieces))


def _histogram(pieces: list[_Piece], names: tuple[str, str, str]) -> Int:
    """The pieces' histograms, added up: how often each key occurs."""
    key, number, owner = names
    keys, counts = [], []
    for _, table, index in pieces:
        mine = slice(*np.searchsorted(getattr(table, owner), (index, index + 1)))
        keys.append(getattr(table, key)[mine])
        counts.append(getattr(table, number)[mine])
    return np.bincount(np.concatenate(keys), np.concatenate(counts)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Line:
    """A ring, or a chain that leaves its block."""

    points: Float
    """(n, 2) x, y."""
    tail: int
    """Head of the chain that continues it."""
    least: int
    """Key of its row-major first cell."""
    turn: int
    """Index of that vertex."""


def _rings(pieces: list[_Piece]) -> list[Float]:
    """Rings of a building, each from its row-major first cell on and by that cell: the exterior comes first."""
    chains: dict[int, _Line] = {}
    rings: list[tuple[int, Float]] = []
    for _, table, index in pieces:
        for number in range(*np.searchsorted(table.owner, (index, index + 1))):
            points = table.points[table.lines[number] : table.lines[number + 1]]
            line = _Line(points, *(int(column[number]) for column in (table.tail, table.least, table.turn)))
            if line.tail < 0:
                rings.append((line.least, points))
            else:
                chains[int(table.head[number])] = line
    return [points for _, points in sorted([*rings, *_linked(chains)], key=lambda ring: ring[0])]


def _linked(chains: dict[int, _Line]) -> Iterator[tuple[int, Float]]:
    """Rings made of chains: (key of the first cell, points from it on)."""
    while chains:
        head, line = chains.popitem()
        ring = [line]
        while ring[-1].tail != head:
            ring.append(chains.pop(ring[-1].tail))
        starts = np.cumsum([0, *(len(line.points) for line in ring)])
        least, first = min((line.least, start + line.turn) for line, start in zip(ring, starts, strict=False))
        yield least, np.roll(np.concatenate([line.points for line in ring]), -first, axis=0)


Rows = tuple[tuple[int, int], ...]
"""Places in the file of welded buildings: (record batch, row in it)."""
Pieced = tuple[tuple[BlockIndex, int], ...]
"""Pieces: (block, number in its table)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where one block's footprints, and what lies beside them, are to be found; small enough to travel with a task."""

    block: BlockIndex
    """The block."""
    beside: tuple[BlockIndex, ...]
    """Traced blocks on which buildings of the block, or beside it, lie: those around what its own buildings reach."""
    owned: Rows
    """Welded buildings with their first sample in the block."""
    near: Rows
    """Welded buildings that reach the block or those beside."""
    huge: Pieced
    """Pieces, by block and number, of buildings too large to be read whole by every block that they reach."""


@dataclass(slots=True)
class Index:
    """Where the welded buildings of a run are."""

    traced: set[BlockIndex] = field(default_factory=set)
    """All blocks with outlines."""
    owned: dict[BlockIndex, list[tuple[int, int]]] = field(default_factory=partial(defaultdict, list))
    """For each block the welded buildings with their first sample there."""
    reaching: dict[BlockIndex, list[tuple[int, int]]] = field(default_factory=partial(defaultdict, list))
    """For each block the welded buildings, but huge ones, that reach it."""
    reached: dict[BlockIndex, set[BlockIndex]] = field(default_factory=partial(defaultdict, set))
    """For each block the blocks that its own welded buildings, but huge ones, reach."""
    huge: dict[BlockIndex, list[int]] = field(default_factory=partial(defaultdict, list))
    """For each block its pieces of huge buildings."""

    def add(self, welded: Welded, place: tuple[int, int]) -> None:
        """Note a building and its place in the file."""
        self.owned[welded.owner].append(place)
        if len(welded.buildings.points) > MOST_VERTICES:
            for block, piece in welded.pieces:
                self.huge[block].append(piece)
            return
        self.reached[welded.owner] |= welded.blocks
        for block in welded.blocks:
            self.reaching[block].append(place)

    def sources(self, block: BlockIndex) -> Sources:
        """What the footprints of a block depend on."""
        around = {near for at in {block, *self.reached.get(block, ())} for near in _around(at)} & self.traced
        near = {place for at in around for place in self.reaching.get(at, ())}
        huge = tuple((at, piece) for at in sorted(around) for piece in self.huge.get(at, ()))
        owned = self.owned.get(block, ())
        return Sources(block, tuple(sorted(around - {block})), tuple(owned), tuple(sorted(near - set(owned))), huge)


def _around(block: BlockIndex) -> Iterator[BlockIndex]:
    return (BlockIndex(block.row + down, block.col + across) for down in (-1, 0, 1) for across in (-1, 0, 1))


def weld(outlines: Iterable[tuple[BlockIndex, Path]], path: Path, *, complete: bool = True) -> Index:
    """Join the pieces of all traced blocks and write the buildings durably to ``path``.

    Args:
        outlines: Every traced block with the file of its outlines; row by row, so that few buildings stay open.
        path: Arrow IPC file to write.
        complete: Whether these are all blocks; else buildings that reach the other ones are left out.

    Raises:
        OpenSeam: a block that a building reaches is not among them.
    """
    welder, index = Welder(), Index()
    with writing(path, Buildings.empty()) as write:
        for block, file in outlines:
            index.traced.add(block)
            done = welder.add(block, Outlines.load(file).pieces)
            batch = write(Buildings.concatenate([welded.buildings for welded in done])) if done else 0
            for row, welded in enumerate(done):
                index.add(welded, (batch, row))
        if complete:
            welder.finish()
    return index


def read(path: Path, rows: Rows) -> Buildings:
    """Some of the welded buildings that ``weld`` wrote, in that order."""
    if not rows:
        return Buildings.empty()
    tables = load(path, Buildings, sorted({batch for batch, _ in rows}))
    by_batch = ((batch, [row for _, row in of_batch]) for batch, of_batch in groupby(rows, key=itemgetter(0)))
    return Buildings.concatenate([tables[batch].take(np.array(chosen)) for batch, chosen in by_batch])
