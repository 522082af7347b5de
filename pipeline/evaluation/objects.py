"""Buildings against buildings: which were found, and how well they are placed and turned. Polygons in, numbers out."""

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.footprints.arrays import Polygons

IOU_MIN = 0.5
"""From which a prediction counts as the building (SpaceNet, COCO). Above it, matches cannot compete."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Buildings counted; adds up over scenes."""

    found: int = 0
    """Pairs of a prediction and a building with IoU >= 0.5."""
    predicted: int = 0
    """Predictions."""
    true: int = 0
    """Buildings."""
    polis: tuple[float, ...] = field(default=(), repr=False)
    """PoLiS distance of each pair, m."""
    turned: tuple[float, ...] = field(default=(), repr=False)
    """Angle between the two of each pair, degrees, 0..45."""

    def __add__(self, other: "Objects") -> "Objects":
        return Objects(
            self.found + other.found,
            self.predicted + other.predicted,
            self.true + other.true,
            self.polis + other.polis,
            self.turned + other.turned,
        )

    @property
    def precision(self) -> float:
        """The share of predictions that are buildings; 1 of none."""
        return self.found / self.predicted if self.predicted else 1.0

    @property
    def recall(self) -> float:
        """The share of buildings that were found; 1 of none."""
        return self.found / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.predicted + self.true
        return 2 * self.found / total if total else 1.0


def compare(predicted: Polygons, truth: Polygons) -> Objects:
    """Match the two sets and measure the pairs.

    Polygons lie in a plane in metres; those of one set do not overlap.
    """
    pairs = match(predicted, truth)
    both = predicted[pairs[:, 0]], truth[pairs[:, 1]]
    distances = [polis(*pair) for pair in zip(*both, strict=True)]
    angles = turned(orientation(both[0]), orientation(both[1]))
    return Objects(len(pairs), len(predicted), len(truth), tuple(distances), tuple(angles.tolist()))


def match(predicted: Polygons, truth: Polygons) -> NDArray[np.intp]:
    """(m, 2) indices of pairs with IoU >= 0.5, each index at most once, the highest IoU first."""
    ours, theirs = shapely.STRtree(truth).query(predicted, predicate="intersects")
    shared = shapely.area(shapely.intersection(predicted[ours], truth[theirs]))
    iou = shared / (shapely.area(predicted[ours]) + shapely.area(truth[theirs]) - shared)
    order = np.argsort(-iou, kind="stable")
    order = order[iou[order] >= IOU_MIN]
    pairs = np.column_stack([ours[order], theirs[order]])
    for side in (0, 1):  # only overlaps inside one set, or an IoU of exactly one half, leave anything to drop
        _, first = np.unique(pairs[:, side], return_index=True)
        pairs = pairs[np.sort(first)]
    return pairs


def polis(one: shapely.Polygon, other: shapely.Polygon) -> float:
    """PoLiS distance, m: mean distance of each one's corners to the other's outline (Avbelj et al. 2015, eq. 1)."""
    return (_corners_to(one, other) + _corners_to(other, one)) / 2


def _corners_to(one: shapely.Polygon, other: shapely.Polygon) -> float:
    corners = shapely.points(shapely.get_coordinates(one.exterior)[:-1])
    return float(shapely.distance(corners, other.exterior).mean())


def orientation(polygons: Polygons) -> NDArray[np.float64]:
    """(n,) degrees, 0..90: direction of the sides of each one's smallest enclosing rectangle, modulo a right angle."""
    boxes = shapely.oriented_envelope(polygons)
    corners = [shapely.get_coordinates(box)[:2] for box in boxes]
    sides = np.array([second - first for first, second in corners]).reshape(-1, 2)
    return np.asarray(np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 90)


def turned(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) degrees, 0..45: the angle between directions that are known modulo a right angle."""
    off = np.abs(one - other) % 90
    angle: NDArray[np.float64] = np.minimum(off, 90 - off)
    return angle
