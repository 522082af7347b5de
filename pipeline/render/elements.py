"""What a site consists of: patches of ground, buildings of roofed parts, trees; and the parcels they are placed on."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import shapely

from pipeline.render.arrays import Points
from pipeline.render.materials import NUMBER

Box = tuple[float, float, float, float]
"""A local rectangle: s and t of its first corner, s and t of the one across, m."""


class Patch(NamedTuple):
    """A ring filled with one material."""

    ring: Points
    """(N, 2) float64, m."""
    material: int
    """Row of the material table."""
    tone: float
    """Factor on its brightness."""
    height: float
    """m above what lies below."""


class Part(NamedTuple):
    """One parallelogram of a building with a roof of its own; its first edge is the direction of the ridge."""

    ring: Points
    """(4, 2) float64, m."""
    layer: int
    """0 or 1: parts of one layer never overlap."""
    shape: int
    """Number of the roof's shape, see ``roofs.SHAPES``."""
    material: int
    """Row of the material table."""
    tone: float
    """Factor on its brightness."""
    eave: float
    """Height of the eaves, m."""
    slope: float
    """Rise of the roof per metre."""


class Building(NamedTuple):
    """One footprint and the roofed parts that cover it."""

    footprint: shapely.Polygon
    """m, with its courtyard if there is one."""
    parts: list[Part]
    """Together they cover the footprint exactly."""


class Tree(NamedTuple):
    """One crown."""

    place: Points
    """(1, 2), m."""
    radius: float
    """m."""
    height: float
    """m."""
    species: int
    """Row of ``trees.SPECIES``."""
    material: int
    """Row of the material table."""
    tone: float
    """Factor on its brightness."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A rectangle of land with axes of its own: s along the street, t away from it."""

    origin: Points
    """(2,) m."""
    axes: Points
    """(2, 2): the unit vectors of s and t as rows."""
    size: tuple[float, float]
    """Extent along s and t, m."""

    def at(self, points: Points | list[tuple[float, float]]) -> Points:
        """(N, 2) local points in the coordinates of ``origin``."""
        return self.origin + np.asarray(points, np.float64) @ self.axes

    def box(self, s0: float, t0: float, s1: float, t1: float) -> Points:
        """(4, 2) corners of a local rectangle, first edge along s."""
        return self.at([(s0, t0), (s1, t0), (s1, t1), (s0, t1)])

    def cell(self, box: Box, flip: bool = False) -> "Parcel":
        """The parcel of a local rectangle; flipped, its street side is the far one (a half turn)."""
        s0, t0, s1, t1 = box
        corner, axes = ((s1, t1), -self.axes) if flip else ((s0, t0), self.axes)
        return Parcel(self.at([corner])[0], axes, (s1 - s0, t1 - t0))

    def quarter_turn(self) -> "Parcel":
        """The same rectangle seen from its side at s = 0: its s runs down the old t."""
        width, depth = self.size
        axes = np.array([-self.axes[1], self.axes[0]])
        return Parcel(self.at([(0.0, depth)])[0], axes, (depth, width))

    def turned(self, angle: float) -> "Parcel":
        """The parcel turned by ``angle`` rad about its centre and shrunk so that it stays inside itself."""
        width, depth = self.size
        c, s = np.cos(angle), abs(np.sin(angle))
        new_depth = max(depth * c - width * s, 1.0)
        new_width = max(width * c - depth * s, 1.0)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        axes = turn @ self.axes
        centre = self.at([(width / 2, depth / 2)])[0]
        return Parcel(centre - np.array([new_width / 2, new_depth / 2]) @ axes, axes, (new_width, new_depth))


@dataclass(slots=True)
class Site:
    """Everything that stands or lies on some land, in drawing order."""

    streets: list[Patch] = field(default_factory=list)
    """The surface of streets, below all else."""
    base: list[Patch] = field(default_factory=list)
    """Pavements, on the streets' surface."""
    natural: list[Patch] = field(default_factory=list)
    """Soft-edged ground: grass, soil, fields."""
    paved: list[Patch] = field(default_factory=list)
    """Sharp-edged ground: roads, drives, courts, paint."""
    details: list[Patch] = field(default_factory=list)
    """Small things with a height, on the ground or on roofs: cars, walls, chimneys."""
    buildings: list[Building] = field(default_factory=list)
    """Never overlapping."""
    trees: list[Tree] = field(default_factory=list)
    """Crowns, in any order."""

    def ground(self, ring: Points, material: str, tone: float = 1.0) -> None:
        """Add soft-edged ground."""
        self.natural.append(Patch(ring, NUMBER[material], tone, 0.0))

    def pave(self, ring: Points, material: str, tone: float = 1.0) -> None:
        """Add sharp-edged ground."""
        self.paved.append(Patch(ring, NUMBER[material], tone, 0.0))

    def thing(self, ring: Points, material: str, height: float, tone: float = 1.0) -> None:
        """Add something small that stands ``height`` m above what it stands on."""
        self.details.append(Patch(ring, NUMBER[material], tone, height))


def outline(boxes: list[Box]) -> shapely.Polygon:
    """The union of local rectangles that hang together."""
    union = shapely.union_all([shapely.box(*box) for box in boxes]).simplify(0)
    if not isinstance(union, shapely.Polygon):
        raise TypeError(f"the parts of a building do not hang together: {boxes}")
    return union
