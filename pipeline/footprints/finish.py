"""From outlines to footprints: gathered with their neighbours, divided, shaped, measured, named."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from models.samples import NO_DATA, SAMPLE_MAX
from pipeline import durable
from pipeline.footprints import columns, forms, split, square, weld
from pipeline.footprints.arrays import Float, Polygons
from pipeline.footprints.forms import Lots
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping
from pipeline.footprints.tables import Buildings, Outlines
from tiling.grid import BlockIndex, Span, Window

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("area_m2", pa.float64()),
        pa.field("perimeter_m", pa.float64()),
        pa.field("confidence", pa.float64()),
        pa.field("confidence_p10", pa.float64()),
        pa.field("scene", pa.string()),
        pa.field("on_edge", pa.bool_()),
        pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"}),
    ]
)
"""Columns of the footprints; the geometry is WKB in the mosaic's CRS."""
Read = Callable[[Window], NDArray[np.uint8]]
"""Samples of the part of a window that lies within the mosaic, uint8 (h, w)."""
REACH = 16
"""px: buildings at most so far apart are neighbours, however coarse the pixels."""
FINEST = 1e-3
"""m: pixels count as at least so large; at a pole, degrees have no width."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the outlines of a run lie."""

    outlines: Mapping[BlockIndex, Path]
    """File of each traced block that is needed."""
    welded: Path
    """File of the welded buildings."""
    read: Read | None = None
    """Gives stored samples; needed to separate buildings that touch."""


def finish(sources: weld.Sources, files: Files, frame: Frame, shaping: Shaping) -> pa.RecordBatch:
    """Footprints of the buildings whose first sample lies in a block, by that sample.

    Args:
        sources: What the block depends on, from ``weld.Index.sources``.
        files: The files of the block, of those in ``sources.beside``, and of the welded buildings.
        frame: Where the mosaic lies.
        shaping: How footprints are made.

    Returns:
        A record batch of ``SCHEMA``.
    """
    own = _own(sources, files)
    reach = _reach(frame.metres(_centres(own)), shaping)
    other, lines = _near(sources, files, own, reach)
    both, count = _large(own, _beside(other, own, reach), frame, shaping)
    lots = _divide(both, files.read, frame, shaping)
    metres = frame.metres(_centres(lots.parts))
    metres = metres[lots.first[:-1]][lots.owner]
    # ^ one scale for a lot, so that its parts keep sharing walls
    polygons = forms.accepted(lots, forms.of(lots, metres, shaping), count, lines)
    return _rows(lots.parts.take(np.arange(len(polygons))), polygons, frame, shaping.min_area)


def _own(sources: weld.Sources, files: Files) -> Buildings:
    """The block's own buildings, by their first samples."""
    own = [weld.read(files.welded, sources.owned)]
    if sources.block in files.outlines:
        own.append(Outlines.load(files.outlines[sources.block]).buildings)
    mine = Buildings.concatenate(own)
    return mine.take(np.lexsort((mine.col, mine.row)))


def _reach(metres: Float, shaping: Shaping) -> float:
    """Px within which forms of two buildings may meet: both stray from their contours by metres, not by pixels."""
    stray = 2 * shaping.simplify + shaping.square * square.FURTHEST
    return max(REACH, 2 * stray / max(float(metres.min(initial=np.inf)), FINEST))


def _near(sources: weld.Sources, files: Files, own: Buildings, reach: float) -> tuple[Buildings, Polygons]:
    """Buildings of others that may be near own ones, and contours of huge ones."""
    near, lines = [weld.read(files.welded, sources.near)], [np.zeros(0, object)]
    for block in dict.fromkeys([*sources.beside, *(home for home, _ in sources.huge)]):
        if len(own) and block in files.outlines:  # one after the other, for their memory
            outlines = Outlines.load(files.outlines[block])
            near += [_around(own, outlines.buildings, reach)] if block != sources.block else []
            lines += [outlines.pieces.contours(piece) for home, piece in sources.huge if home == block]
    return Buildings.concatenate(near), np.concatenate(lines)


def _around(own: Buildings, other: Buildings, reach: float) -> Buildings:
    """Those of another block that may be beside own ones: most are far off."""
    mine, theirs = own.bounds, other.bounds
    least, most = mine[:, :2].min(axis=0) - reach, mine[:, 2:].max(axis=0) + reach
    return other.take(np.flatnonzero((theirs[:, 2:] >= least).all(axis=1) & (theirs[:, :2] <= most).all(axis=1)))


def _beside(other: Buildings, own: Buildings, reach: float) -> Buildings:
    """Those of the others whose boxes come within ``reach`` pixels of the own ones."""
    if not len(other) or not len(own):
        return Buildings.empty()
    mine = own.bounds + np.array([-reach, -reach, reach, reach])
    tree = shapely.STRtree(np.asarray(shapely.box(*mine.T)))
    found = tree.query(np.asarray(shapely.box(*other.bounds.T)))[0]
    return other.take(np.unique(found))


def _large(own: Buildings, other: Buildings, frame: Frame, shaping: Shaping) -> tuple[Buildings, int]:
    """Own buildings and others that are no specks, and how many of them are own."""
    both = Buildings.concatenate([own, other])
    large = shapely.area(both.polygons) * frame.metres(_centres(both)).prod(axis=1) >= shaping.min_area
    return both.take(np.flatnonzero(large)), int(np.count_nonzero(large[: len(own)]))


def _centres(buildings: Buildings) -> Float:
    return np.stack([buildings.col, buildings.row], axis=1).astype(np.float64) + 0.5


def _divide(buildings: Buildings, read: Read | None, frame: Frame, shaping: Shaping) -> Lots:
    """Buildings that touch, separated, when that is wanted."""
    if not shaping.split:
        return Lots(buildings, np.arange(len(buildings) + 1))
    if read is None:
        raise ValueError("dividing buildings needs their samples: Files.read")
    least = shaping.min_area / frame.metres(_centres(buildings)).prod(axis=1)
    tables = []
    for index, polygon in enumerate(buildings.polygons):
        large = buildings.pixels[index] > 2 * least[index]
        building = _sampled(polygon, read, int(buildings.scene[index])) if large else None
        parts = split.divide(building, shaping.level, float(least[index])) if building else None
        tables.append(parts or buildings.take(np.array([index])))
    return Lots(Buildings.concatenate(tables), np.cumsum([0, *map(len, tables)]))


def _rows(buildings: Buildings, polygons: Polygons, frame: Frame, least: float) -> pa.RecordBatch:
    """The rows of footprints of at least ``least`` m², by their first samples."""
    placed = np.asarray(shapely.orient_polygons(frame.place(polygons)))  # which way round is chance with parts
    areas, perimeters = frame.measure(placed)
    order = np.lexsort((buildings.col, buildings.row))
    kept = order[areas[order] >= least]
    rows = buildings.take(kept)
    arrays = {
        "id": columns.texts(frame.names(rows.row, rows.col)),
        "area_m2": columns.numbers(areas[kept]),
        "perimeter_m": columns.numbers(perimeters[kept]),
        "confidence": columns.numbers(rows.total / (rows.pixels * SAMPLE_MAX)),
        "confidence_p10": columns.numbers(rows.low / SAMPLE_MAX),
        "scene": columns.texts([frame.scenes[number] for number in rows.scene]),
        "on_edge": columns.flags(rows.on_edge),
        "geometry": columns.blobs(shapely.to_wkb(placed[kept])),
    }
    return pa.RecordBatch.from_arrays([arrays[field.name] for field in SCHEMA], schema=SCHEMA)


def _sampled(polygon: shapely.Polygon, read: Read, scene: int) -> split.Sampled | None:
    """A building with the samples of its box and a margin; None when it is too large to be one."""
    west, north, east, south = (int(np.floor(bound)) for bound in polygon.bounds)
    rows = Span(north - split.MARGIN, south + 1 + split.MARGIN)
    cols = Span(west - split.MARGIN, east + 1 + split.MARGIN)
    if len(rows) * len(cols) > split.MOST_PIXELS:
        return None
    samples = read(Window(Span(max(rows.start, 0), rows.stop), Span(max(cols.start, 0), cols.stop)))
    before = max(-rows.start, 0), max(-cols.start, 0)
    after = len(rows) - before[0] - samples.shape[0], len(cols) - before[1] - samples.shape[1]
    padded = np.pad(samples, list(zip(before, after, strict=True)), constant_values=NO_DATA)
    return split.Sampled(polygon, padded, (rows.start, cols.start), scene)


def save(batch: pa.RecordBatch, path: Path) -> None:
    """Write the footprints of a block durably, as one Arrow IPC file."""
    with durable.replace(path) as scratch, pa.OSFile(str(scratch), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as file:
        file.write_batch(batch)


@dataclass(frozen=True, slots=True)
class Stored:
    """Footprints in files that ``save`` wrote: as often as wanted, one file at a time."""

    paths: Sequence[Path]
    """The files, in the order of the rows."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for path in self.paths:
            with pa.memory_map(str(path)) as source:
                yield pa.ipc.open_file(source).get_batch(0)
