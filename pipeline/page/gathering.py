"""Footprints as the page shows them: all counted, the largest drawn; in one pass, and in memory that does not grow."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from pipeline.footprints.forms import simplified
from pipeline.page import histogram
from pipeline.page.histogram import Histogram
from pipeline.picture import HIGH, LOW
from pipeline.plan import Plan

# Browsers pan so many smoothly, and their paths take about 1 MB.
DRAWN_MAX = 20_000
# Path units per picture pixel: tenths are integers, which take fewest characters.
UNITS = 10
# A quarter of a picture pixel: what a screen cannot show.
TOLERANCE = UNITS / 4
# Classes of confidence; each is one path, because a browser draws few long paths faster than many short ones.
CLASSES = np.linspace(0.5, 1.0, 9)


@dataclass(frozen=True, slots=True)
class Layer:
    """The footprints of one class of confidence."""

    colour: str
    """``#rrggbb``."""
    path: str
    """SVG path data; a capital M begins each footprint, a small one each of its holes."""
    facts: str
    """Area in m² and confidence of each, in order: ``124.1 0.93 …``."""


@dataclass(slots=True)
class Gathering:
    """What is known of all footprints, and the largest of them."""

    count: int = 0
    """Footprints in all."""
    area: float = 0.0
    """Their area, m²."""
    confidence: Histogram = field(default_factory=lambda: Histogram(histogram.CONFIDENCE))
    """Of all."""
    areas: Histogram = field(default_factory=lambda: Histogram(histogram.AREA))
    """Of all."""
    _kept: list[pa.Table] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[pa.RecordBatch]) -> Self:
        """Of record batches of ``finish.SCHEMA``."""
        gathering = cls()
        for batch in rows:
            gathering._take(batch)
        return gathering

    def _take(self, batch: pa.RecordBatch) -> None:
        area = batch["area_m2"].to_numpy()
        self.count += batch.num_rows
        self.area += float(area.sum())
        self.areas.add(area)
        self.confidence.add(batch["confidence"].to_numpy())
        self._kept.append(_copied(batch))
        if sum(map(len, self._kept)) > 2 * DRAWN_MAX:
            self._kept = [self.largest]

    @property
    def largest(self) -> pa.Table:
        """The largest footprints, the largest first: ``area_m2``, ``confidence``, ``geometry``."""
        table = pa.concat_tables(self._kept)
        order = np.argsort(-table["area_m2"].to_numpy(), kind="stable")
        return table.take(order[:DRAWN_MAX])

    @property
    def drawn(self) -> int:
        """How many of them the page draws."""
        return min(self.count, DRAWN_MAX)

    def layers(self, plan: Plan) -> list[Layer]:
        """The largest footprints as paths in the picture's coordinates, ``UNITS`` to the pixel."""
        if not self.count:
            return []
        table = self.largest
        area, confidence = (table[name].to_numpy() for name in ("area_m2", "confidence"))
        shapes = _on_picture(shapely.from_wkb(table["geometry"].to_numpy()), plan)
        chosen = np.clip(np.searchsorted(CLASSES, confidence, side="right") - 1, 0, len(CLASSES) - 2)
        members = ((number, np.flatnonzero(chosen == number)) for number in range(len(CLASSES) - 1))
        return [_layer(number, shapes[one], area[one], confidence[one]) for number, one in members if len(one)]


def _copied(batch: pa.RecordBatch) -> pa.Table:
    """The largest rows of a batch, out of the file that it is mapped from."""
    order = np.argsort(-batch["area_m2"].to_numpy(), kind="stable")[:DRAWN_MAX]
    return pa.table(batch.select(["area_m2", "confidence", "geometry"])).take(order)


def _on_picture(shapes: NDArray[np.object_], plan: Plan) -> NDArray[np.object_]:
    """Shapes in the CRS as shapes in path units, without what cannot be seen."""
    back, scale = ~plan.mosaic.affine, UNITS / plan.album.factor

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(back @ points.T) * scale

    return simplified(shapely.transform(shapes, move), TOLERANCE)


def _layer(number: int, shapes: NDArray[np.object_], area: Any, confidence: Any) -> Layer:
    share = number / (len(CLASSES) - 2)
    red, green, blue = (int(value) for value in LOW + (HIGH - LOW) * share)
    facts = " ".join(f"{a:.1f} {c:.2f}" for a, c in zip(area, confidence, strict=True))
    return Layer(f"#{red:02x}{green:02x}{blue:02x}", _path(shapes), facts)


def _path(shapes: NDArray[np.object_]) -> str:
    """Polygons as path data: where each ring begins, then its steps, in integers; ``z`` closes it."""
    rings, owner = shapely.get_rings(shapes, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    moves = np.rint(points).astype(np.int64)
    first, closing = np.diff(ring, prepend=-1) != 0, np.diff(ring, append=-1) != 0
    starts, outer = moves[first], np.diff(owner, prepend=-1) != 0
    moves[1:] -= moves[:-1].copy()
    # after z the pen is back where the ring began, so a hole begins relative to the ring before it
    moves[first] = np.where(outer[:, None], starts, starts - np.roll(starts, 1, axis=0))
    signs = np.full(len(moves), " ", object)
    signs[first], signs[np.flatnonzero(first) + 1] = np.where(outer, "zM", "zm"), "l"
    kept = ~closing
    steps = zip(signs[kept], moves[kept].tolist(), strict=True)
    return "".join(f"{sign}{x} {y}" for sign, (x, y) in steps)[1:] + "z"
