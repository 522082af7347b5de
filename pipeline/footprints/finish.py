"""From outlines to footprints: courtyards filled, outlines simplified or squared, small ones dropped, attributes added.

Every step makes, from a building alone, another form of it. A form is accepted when it meets no form of a neighbour
that is at most as far from the contour; otherwise the next nearer form is tried. Whether a form is accepted depends
on the building and its neighbours only, so neither blocks nor their order show.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from pipeline import durable
from pipeline.footprints import weld
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping
from pipeline.footprints.tables import Bool, Buildings, Float, Outlines, Polygons

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
SAMPLE_MAX = 254


@dataclass(frozen=True, slots=True)
class Files:
    """Where the outlines of a run lie."""

    outlines: Mapping[object, Path]
    """File of each traced block that is needed."""
    welded: Path
    """File of the welded buildings."""


def finish(sources: weld.Sources, files: Files, frame: Frame, shaping: Shaping) -> pa.RecordBatch:
    """Footprints whose first sample lies in a block, by that sample.

    Args:
        sources: What the block depends on, from ``weld.Index.sources``.
        files: The files of the block, of those in ``sources.beside``, and of the welded buildings.
        frame: Where the mosaic lies.
        shaping: How footprints are made.

    Returns:
        A record batch of ``SCHEMA``.
    """
    own, other = _gather(sources, files)
    own, polygons = _shape(own, other, frame, shaping)
    placed = frame.place(polygons)
    areas, perimeters = frame.measure(placed)
    kept = np.flatnonzero(areas >= shaping.min_area)
    return _rows(own.take(kept), placed[kept], (areas[kept], perimeters[kept]), frame)


def _gather(sources: weld.Sources, files: Files) -> tuple[Buildings, Buildings]:
    """The block's own buildings, by their first samples, and those near them."""
    own = [weld.read(files.welded, sources.owned)]
    if sources.block in files.outlines:
        own.append(Outlines.load(files.outlines[sources.block]).buildings)
    beside = [Outlines.load(files.outlines[block]).buildings for block in sources.beside]
    mine = Buildings.concatenate(own)
    return mine.take(np.lexsort((mine.col, mine.row))), Buildings.concatenate(
        [weld.read(files.welded, sources.near), *beside]
    )


def _shape(own: Buildings, other: Buildings, frame: Frame, shaping: Shaping) -> tuple[Buildings, Polygons]:
    both = Buildings.concatenate([own, _beside(other, own)])
    raw = both.polygons
    metres = frame.metres(_centres(both))
    large = shapely.area(raw) * metres.prod(axis=1) >= shaping.min_area
    mine = np.flatnonzero(large[: len(own)])
    both, raw, metres = both.take(np.flatnonzero(large)), raw[large], metres[large]
    forms = [raw, _fill(raw, metres, shaping.min_hole)]
    forms.append(_simplify(forms[1], metres, shaping.simplify))
    return own.take(mine), choose(forms, len(mine))


def _centres(buildings: Buildings) -> Float:
    return np.stack([buildings.col, buildings.row], axis=1).astype(np.float64) + 0.5


def _beside(other: Buildings, own: Buildings) -> Buildings:
    """Those of the others whose boxes come within some pixels of the own ones."""
    if not len(other) or not len(own):
        return Buildings.empty()
    west, north, east, south = shapely.bounds(own.polygons).T
    tree = shapely.STRtree(np.asarray(shapely.box(west - 16, north - 16, east + 16, south + 16)))
    return other.take(np.unique(tree.query(np.asarray(shapely.box(*shapely.bounds(other.polygons).T)))[0]))


def _fill(polygons: Polygons, metres: Float, least: float) -> Polygons:
    """Without the courtyards that are smaller than ``least`` m²."""
    filled = polygons.copy()
    for index in np.flatnonzero(shapely.get_num_interior_rings(polygons)):
        holes = shapely.get_rings(polygons[index])
        areas = shapely.area(shapely.polygons(holes)) * metres[index].prod()
        filled[index] = shapely.Polygon(holes[0], holes[1:][areas[1:] >= least])
    return filled


def _simplify(polygons: Polygons, metres: Float, tolerance: float) -> Polygons:
    """Douglas and Peucker's simplification, within ``tolerance`` m on the ground, valid and never empty."""
    if not tolerance:
        return polygons
    scales = metres[np.repeat(np.arange(len(polygons)), shapely.get_num_coordinates(polygons))]
    on_ground = shapely.transform(polygons, lambda points: points * scales)
    simple = shapely.simplify(on_ground, tolerance, preserve_topology=True)
    scales = metres[np.repeat(np.arange(len(polygons)), shapely.get_num_coordinates(simple))]
    return np.asarray(shapely.transform(simple, lambda points: points / scales))


def choose(forms: list[Polygons], count: int) -> Polygons:
    """The furthest form of each of the first ``count`` buildings that meets no neighbour's form as far or nearer.

    Args:
        forms: The same buildings' polygons, from the contour on; those of the first entry never meet.
        count: How many of them to decide; the others are neighbours.
    """
    chosen = forms[0][:count].copy()
    for level in range(1, len(forms)):
        free = shapely.is_valid(forms[level][:count])
        for below in range(level + 1):
            free &= ~_meets(forms[level][:count], forms[below])
        chosen[free] = forms[level][:count][free]
    return chosen


def _meets(polygons: Polygons, others: Polygons) -> Bool:
    """Whether each polygon intersects one of the others but that of its own index."""
    shapely.prepare(polygons)
    one, two = shapely.STRtree(others).query(polygons)
    apart = one != two
    one, two = one[apart], two[apart]
    meets = np.zeros(len(polygons), np.bool_)
    meets[one[shapely.intersects(polygons[one], others[two])]] = True
    return meets


def _rows(buildings: Buildings, placed: Polygons, measures: tuple[Float, Float], frame: Frame) -> pa.RecordBatch:
    columns = {
        "id": frame.names(buildings.row, buildings.col),
        "area_m2": measures[0],
        "perimeter_m": measures[1],
        "confidence": buildings.total / (buildings.pixels * SAMPLE_MAX),
        "confidence_p10": buildings.low / SAMPLE_MAX,
        "scene": np.array(frame.scenes, dtype=object)[buildings.scene] if len(buildings) else [],
        "on_edge": buildings.on_edge,
        "geometry": shapely.to_wkb(placed),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


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
