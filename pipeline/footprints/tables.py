"""Outlines as tables of arrays: whole buildings, and pieces that wait for their neighbours; stored as Arrow IPC."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline import durable
from pipeline.footprints import columns
from pipeline.footprints.arrays import Bool, Float, Int, Polygons, join_offsets, spread

Count = TypeVar("Count", int, Int)
"""Of one building, or of each."""


def tenth(pixels: Count) -> Count:
    """Rank, from 1, of the 10th percentile among sorted samples: the least one that a tenth of them does not exceed.

    Args:
        pixels: How many samples there are.
    """
    return -(-pixels // 10)


@dataclass(frozen=True, slots=True)
class Table:
    """Arrays that travel together."""

    def arrow(self) -> dict[str, pa.Array]:
        """Every array as one list value."""
        return {f"{type(self).__name__}.{field.name}": _listed(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def read(cls, batch: pa.RecordBatch) -> Self:
        """The table in a record batch that holds ``arrow``'s columns; zero-copy but for flags."""
        return cls(**{field.name: _array(batch, f"{cls.__name__}.{field.name}") for field in fields(cls)})


def _listed(values: NDArray[Any]) -> pa.Array:
    flat = np.ascontiguousarray(values).reshape(-1)
    inner = columns.numbers(flat.view(np.uint8) if flat.dtype == np.bool_ else flat)
    if values.ndim == 2:
        inner = pa.FixedSizeListArray.from_arrays(inner, values.shape[1])
    return pa.LargeListArray.from_arrays(columns.numbers(np.array([0, len(inner)])), inner)


FLAGS = frozenset({"on_edge"})
"""Fields that are bool in memory and bytes in the file."""
Kind = TypeVar("Kind", bound="Table")


def _array(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    inner = batch.column(name).values
    if isinstance(inner, pa.FixedSizeListArray):
        return columns.array(inner.values).reshape(-1, inner.type.list_size)
    values = columns.array(inner)
    return values.view(np.bool_) if name.rpartition(".")[2] in FLAGS else values


@dataclass(frozen=True, slots=True)
class Buildings(Table):
    """Whole buildings: their outlines in mosaic pixels and what their inside samples say."""

    points: Float
    """(n, 2) x, y; rings closed, the exterior first, inside on the left as seen on the screen."""
    rings: Int
    """Offsets of rings in ``points``."""
    parts: Int
    """Offsets of buildings in ``rings``."""
    row: Int
    """Row of the first inside sample, row-major: with ``col``, what names the building."""
    col: Int
    """Column of the first inside sample."""
    pixels: Int
    """Number of inside samples."""
    total: Int
    """Sum of the inside samples."""
    low: Int
    """10th percentile of the inside samples, as ``tenth`` ranks it."""
    scene: Int
    """Index of the scene that holds most inside samples."""
    on_edge: Bool
    """The outline touches no data or the border of the region."""
    bounds: Float
    """(n, 4) west, north, east, south in mosaic pixels: kept, because every block around asks who is near."""

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, points: Float, rings: Int, parts: Int, **facts: Any) -> "Buildings":
        """Buildings of these outlines; ``facts`` are all other arrays but ``bounds``."""
        first = rings[parts[:-1]]
        bounds = np.zeros((0, 4))
        if len(first):
            bounds = np.hstack([np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)])
        return cls(points, rings, parts, **facts, bounds=bounds)

    @property
    def polygons(self) -> Polygons:
        """Polygons in mosaic pixels."""
        return np.asarray(
            shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.points, (self.rings, self.parts))
        )

    @classmethod
    def empty(cls) -> "Buildings":
        """No building."""
        start = np.zeros(1, np.int64)
        facts = dict.fromkeys(("row", "col", "pixels", "total", "low", "scene"), np.zeros(0, np.int64))
        return cls.of(np.zeros((0, 2)), start, start, **facts, on_edge=np.zeros(0, np.bool_))

    def take(self, chosen: Int) -> "Buildings":
        """Some of them, in that order."""
        rings, parts = spread(self.parts, chosen)
        points, offsets = spread(self.rings, rings)
        flat = {name: getattr(self, name)[chosen] for name in PER_BUILDING}
        return replace(self, points=self.points[points], rings=offsets, parts=parts, **flat)

    @classmethod
    def concatenate(cls, tables: Sequence["Buildings"]) -> "Buildings":
        """All of them, end to end."""
        if not tables:
            return cls.empty()
        flat = {name: np.concatenate([getattr(table, name) for table in tables]) for name in ("points", *PER_BUILDING)}
        rings, parts = (join_offsets([getattr(table, name) for table in tables]) for name in ("rings", "parts"))
        return cls(rings=rings, parts=parts, **flat)


PER_BUILDING = ("row", "col", "pixels", "total", "low", "scene", "on_edge", "bounds")


@dataclass(frozen=True, slots=True)
class Pieces(Table):
    """Parts of buildings that reach a seam."""

    row: Int
    """Row of the first inside sample that the block counts; 2³¹ − 1 where it counts none."""
    col: Int
    """Its column."""
    on_edge: Bool
    """The outline touches no data or the border of the region."""
    points: Float
    """(n, 2) x, y of all lines; rings are not closed."""
    lines: Int
    """Offsets of lines in ``points``."""
    ends: Float
    """Point that each line goes on to: a ring's first one, or the first of a chain in another block."""
    owner: Int
    """Piece of each line."""
    head: Int
    """Key of the grid edge that a line starts on; -1 for rings."""
    tail: Int
    """Key of the grid edge that it goes on to, which is the head of the next line; -1 for rings."""
    least: Int
    """Key of the line's first cell, row-major: where a welded ring starts."""
    turn: Int
    """Index of that vertex in the line."""
    seam: Int
    """Key of a run of inside samples along a seam; the block beyond has the same one."""
    seam_owner: Int
    """Its piece."""
    value: Int
    """Histogram of the inside samples: value,"""
    count: Int
    """number,"""
    value_owner: Int
    """and piece."""
    scene: Int
    """Samples per scene: index of the scene,"""
    scene_count: Int
    """number,"""
    scene_owner: Int
    """and piece."""

    def __len__(self) -> int:
        return len(self.row)

    def contours(self, piece: int) -> Polygons:
        """The lines of a piece, in mosaic pixels."""
        first, last = np.searchsorted(self.owner, (piece, piece + 1))
        start, counts = self.lines[first], np.diff(self.lines[first : last + 1])
        points = np.insert(self.points[start : self.lines[last]], np.cumsum(counts), self.ends[first:last], axis=0)
        return np.asarray(shapely.linestrings(points, indices=np.repeat(np.arange(len(counts)), counts + 1)))

    @classmethod
    def empty(cls) -> "Pieces":
        """No piece."""
        columns: dict[str, Any] = {field.name: np.zeros(0, np.int64) for field in fields(cls)}
        columns |= {
            "points": np.zeros((0, 2)),
            "ends": np.zeros((0, 2)),
            "on_edge": np.zeros(0, np.bool_),
            "lines": np.zeros(1, np.int64),
        }
        return cls(**columns)


@dataclass(frozen=True, slots=True)
class Outlines:
    """What one block contributes to the footprints."""

    buildings: Buildings
    """Buildings that lie within the block's cells."""
    pieces: Pieces
    """Parts of buildings that go on in other blocks."""

    def save(self, path: Path) -> None:
        """Write them durably, as one Arrow IPC file."""
        with writing(path, self.buildings, self.pieces) as write:
            write(self.buildings, self.pieces)

    @classmethod
    def load(cls, path: Path) -> "Outlines":
        """Map a file that ``save`` wrote; pages are read when touched."""
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        return cls(Buildings.read(batch), Pieces.read(batch))


@contextmanager
def writing(path: Path, *like: Table) -> Iterator[Callable[..., int]]:
    """Write an Arrow IPC file of tables durably: gives a function that adds a batch and returns its number."""
    schema = _batch(like).schema
    numbers = count()

    with durable.replace(path) as scratch, pa.OSFile(str(scratch), "wb") as sink, pa.ipc.new_file(sink, schema) as file:

        def write(*tables: Table) -> int:
            file.write_batch(_batch(tables))
            return next(numbers)

        yield write


def _batch(tables: Sequence[Table]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: column for table in tables for name, column in table.arrow().items()})


def load(path: Path, kind: type[Kind], batches: Sequence[int]) -> dict[int, Kind]:
    """Map some batches of a file that ``writing`` wrote."""
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        return {number: kind.read(file.get_batch(number)) for number in batches}
