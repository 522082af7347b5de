"""Buildings that touch, separated along clear valleys of the probability.

A building is divided where raising the level parts it into cores that all rise well above the pass between them; from
the cores its samples are flooded (watershed), and the borders of the floods become walls that its parts share. The
samples of the whole building decide, so blocks do not show.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from models.samples import NO_DATA
from pipeline.footprints.arrays import Bool, Polygons, Samples
from pipeline.footprints.marching import is_inside
from pipeline.footprints.tables import Buildings, tenth

DEPTH = 50
"""How far both cores rise above the pass between them, samples: 0.2 of probability."""
STEP = 10
"""Levels that are tried, samples apart."""
MOST_PIXELS = 1 << 22
"""Pixels of a building's box beyond which it is left whole: more than a large factory."""
MARGIN = 2
"""Pixels around a building's inside samples that its outline may reach."""

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A building and the samples that decide how it is divided."""

    polygon: shapely.Polygon
    """Its outline in mosaic pixels."""
    samples: Samples
    """Those of its box and a margin; 255 beyond the mosaic."""
    origin: tuple[int, int]
    """Global (row, col) of the first sample."""
    scene: int
    """Index of its scene."""


def divide(building: Sampled, level: int, least: float) -> Buildings | None:
    """Parts of a building, which share walls; None where it is one.

    Args:
        building: The building, with its samples.
        level: The least sample that is inside.
        least: Smallest part, px².
    """
    inside = _own(building, level)
    cores = _cores(np.where(inside, building.samples, 0), inside, (level, least / 2))
    if len(cores) < 2:
        return None
    floods = _flood(building.samples, inside, cores)
    polygons = _parts(building, floods)
    whole = len(polygons) == len(cores) and all(isinstance(polygon, shapely.Polygon) for polygon in polygons)
    if not whole or min(polygon.area for polygon in polygons) < least:
        return None
    return _table(building, [inside & (floods == number) for number in range(1, len(cores) + 1)], polygons)


def _own(building: Sampled, level: int) -> Bool:
    """The inside samples of the building, not those of others in its box."""
    inside = is_inside(building.samples, level)
    labels, count = ndimage.label(inside)
    if count == 1:
        return inside
    _, first = np.unique(labels, return_index=True)
    row, col = np.divmod(first[-count:], labels.shape[1])
    mine = shapely.contains_xy(building.polygon, col + building.origin[1] + 0.5, row + building.origin[0] + 0.5)
    return np.asarray(np.r_[False, mine][labels])


def _cores(samples: Samples, region: Bool, limits: tuple[int, float]) -> list[Bool]:
    """Regions that clear valleys separate: the parts of ``region``, above some level, that rise ``DEPTH`` above it."""
    level, least = limits
    for now in range(level + STEP, NO_DATA - DEPTH, STEP):
        labels, count = ndimage.label(region & (samples >= now))
        if not count:
            break
        if count == 1:
            continue
        index = np.arange(1, count + 1)
        size = ndimage.sum_labels(region, labels, index)
        peak = ndimage.maximum(samples, labels, index)
        clear = index[(size >= least) & (peak >= now + DEPTH)]
        if len(clear) > 1:
            return [core for number in clear for core in _cores(samples, labels == number, (now, least))]
    return [region]


def _flood(samples: Samples, inside: Bool, cores: list[Bool]) -> Labels:
    """The core that each sample belongs to, 1.., everywhere in the box."""
    markers = np.zeros(inside.shape, np.int32)
    for number, core in enumerate(cores, start=1):
        markers[core] = number
    markers[~inside] = -1
    heights = np.where(inside, NO_DATA - 1 - samples, NO_DATA).astype(np.uint8)
    floods = ndimage.watershed_ift(heights, markers)
    nearest = ndimage.distance_transform_edt(floods <= 0, return_distances=False, return_indices=True)
    return np.asarray(floods[tuple(nearest)], np.int32)


def _walls(floods: Labels, origin: tuple[int, int]) -> Polygons:
    """Pixel sides between floods, in mosaic pixels."""
    row, col = np.nonzero(floods[:, :-1] != floods[:, 1:])
    down = np.stack([col + 1, row, col + 1, row + 1], axis=1)
    row, col = np.nonzero(floods[:-1] != floods[1:])
    across = np.stack([col, row + 1, col + 1, row + 1], axis=1)
    ends = np.concatenate([down, across]) + np.array([origin[1], origin[0]] * 2)
    return np.asarray(shapely.linestrings(ends.reshape(-1, 2, 2)))


def _parts(building: Sampled, floods: Labels) -> list[BaseGeometry]:
    """The building's polygon along the floods' borders: one polygon for each flood, by its number."""
    lines = shapely.union_all([shapely.boundary(building.polygon), *_walls(floods, building.origin)])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(lines)))
    within = shapely.get_coordinates(shapely.point_on_surface(faces))
    mine = shapely.contains_xy(building.polygon, within)
    faces, within = faces[mine], np.floor(within[mine]).astype(np.int64)
    flood = floods[within[:, 1] - building.origin[0], within[:, 0] - building.origin[1]]
    order = np.argsort(-shapely.area(faces), kind="stable")
    parts: dict[int, BaseGeometry] = {}
    for face, number in zip(faces[order], flood[order].tolist(), strict=True):
        if number not in parts:
            parts[number] = face
        else:
            _attach(parts, face)
    return [parts[number] for number in sorted(parts)]


def _attach(parts: dict[int, BaseGeometry], sliver: BaseGeometry) -> None:
    """Unite a further face of a flood with the part that it shares the longest wall with."""
    shared = {number: shapely.length(part.intersection(sliver.boundary)) for number, part in parts.items()}
    number = max(sorted(shared), key=lambda key: shared[key])
    parts[number] = parts[number].union(sliver)


def _table(building: Sampled, masks: list[Bool], polygons: list[BaseGeometry]) -> Buildings:
    """The parts with what their samples say."""
    blank = ndimage.binary_dilation(building.samples == NO_DATA)
    facts = np.array([_facts(building, mask, blank) for mask in masks], np.int64)
    names = ("row", "col", "pixels", "total", "low")
    columns = dict(zip(names, facts.T, strict=False))
    _, points, (rings, parts) = shapely.to_ragged_array(polygons)
    return Buildings.of(
        points=points,
        rings=rings.astype(np.int64),
        parts=parts.astype(np.int64),
        scene=np.full(len(masks), building.scene),
        on_edge=facts[:, 5] > 0,
        **columns,
    )


def _facts(building: Sampled, mask: Bool, blank: Bool) -> tuple[int, int, int, int, int, int]:
    """First row and column, number, sum and 10th percentile of a part's samples, and whether it touches no data."""
    values = np.sort(building.samples[mask])
    first = np.argmax(mask.reshape(-1))
    row, col = divmod(int(first), mask.shape[1])
    low = int(values[tenth(len(values)) - 1])
    edge = int((mask & blank).any())
    return row + building.origin[0], col + building.origin[1], len(values), int(values.sum(dtype=np.int64)), low, edge
