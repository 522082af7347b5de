"""Scores for people and programs: a table, evaluation.json, a picture of hits, misses and false alarms."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from models.metrics import Confusion
from pipeline.evaluation.objects import Objects
from pipeline.evaluation.scoring import Judged, Scores
from tiling.grid import Span, Window, round_up

COLOURS = {"hits": (46, 160, 67), "misses": (214, 39, 40), "false alarms": (31, 119, 255), "rest": (24, 24, 27)}
UNCOUNTED = (120, 120, 120)
"""No data, or no label."""
PICTURE = 2400
"""Longest side of the picture, px."""
GAP = 16
"""Between scenes that are shown side by side, px."""


def facts(scores: Scores) -> dict[str, Any]:
    """Scores as JSON; IoU near seams only where there are some."""
    found = {**_raster(scores.pixels), "boundary_iou": scores.outlines.iou, "objects": _objects(scores.objects)}
    if scores.seams.pixels:
        near, interior = scores.seams, scores.interior
        found["seams"] = {"iou_near": near.iou, "iou_interior": interior.iou, "pixels": near.pixels}
    return found


def _raster(pixels: Confusion) -> dict[str, float]:
    return {
        "iou": pixels.iou,
        "accuracy": pixels.accuracy,
        "precision": pixels.precision,
        "recall": pixels.recall,
        "pixels": pixels.pixels,
        "hits": pixels.hits,
        "false_alarms": pixels.false_alarms,
        "misses": pixels.misses,
    }


def _objects(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = {
        "true": objects.true,
        "predicted": objects.predicted,
        "found": objects.found,
        "precision": objects.precision,
        "recall": objects.recall,
        "f1": objects.f1,
    }
    if objects.found:
        found["polis_m"] = {"mean": float(np.mean(objects.polis)), "median": float(np.median(objects.polis))}
        found["turned_degrees"] = {"mean": float(np.mean(objects.turned)), "median": float(np.median(objects.turned))}
    return found


def table(rows: Mapping[str, Scores]) -> Table:
    """One line per scene, city and all together."""
    made = Table(box=None, pad_edge=False)
    for heading in ("", "IoU", "accuracy", "boundary", "buildings", "precision", "recall", "F1", "PoLiS m", "turned °"):
        made.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    seams = any(scores.seams.pixels for scores in rows.values())
    for heading in ("seam IoU", "interior") if seams else ():
        made.add_column(heading, justify="right", no_wrap=True)
    for name, scores in rows.items():
        made.add_row(name, *_cells(scores, seams=seams))
    return made


def _cells(scores: Scores, *, seams: bool) -> list[str]:
    objects = scores.objects
    pairs = [f"{np.median(values):.2f}" if values else "–" for values in (objects.polis, objects.turned)]
    return [
        *(f"{value:.4f}" for value in (scores.pixels.iou, scores.pixels.accuracy, scores.outlines.iou)),
        f"{objects.true}",
        *(f"{value:.3f}" for value in (objects.precision, objects.recall, objects.f1)),
        *pairs,
        *([f"{scores.seams.iou:.4f}", f"{scores.interior.iou:.4f}"] if seams else []),
    ]


class Picture:
    """Hits, misses and false alarms of all scenes on one sheet, made smaller as it grows so that it stays small."""

    def __init__(self, places: Mapping[str, Window]) -> None:
        """``places``: where each scene lies on the sheet, px."""
        self.places = places
        height = max((place.rows.stop for place in places.values()), default=1)
        width = max((place.cols.stop for place in places.values()), default=1)
        self.factor = max(1, -(-max(height, width) // PICTURE))
        self.sheet = np.full((-(-height // self.factor), -(-width // self.factor), 3), 255, np.uint8)

    def add(self, name: str, judged: Judged) -> None:
        """Show a window of a scene."""
        place = self.places[name]
        top, left = place.rows.start + judged.window.rows.start, place.cols.start + judged.window.cols.start
        small = _smaller(painted(judged), self.factor)
        row, col = top // self.factor, left // self.factor
        target = self.sheet[row : row + small.shape[0], col : col + small.shape[1]]
        target[:] = small[: target.shape[0], : target.shape[1]]

    def image(self) -> Image.Image:
        """The sheet."""
        return Image.fromarray(self.sheet)


def painted(judged: Judged) -> NDArray[np.uint8]:
    """(h, w, 3) uint8: green hits, red misses, blue false alarms, dark background, grey what does not count."""
    index = judged.predicted * 2 + judged.truth + judged.counted * 4
    palette = np.full((8, 3), UNCOUNTED, np.uint8)
    palette[4:] = [COLOURS[name] for name in ("rest", "misses", "false alarms", "hits")]
    return palette[index]


def _smaller(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Each ``factor`` × ``factor`` pixels as their mean; an incomplete rest at the end is repeated to a whole."""
    height, width = image.shape[:2]
    rest = [(0, round_up(side, factor) - side) for side in (height, width)]
    whole = np.pad(image, [*rest, (0, 0)], mode="edge").astype(np.uint16)
    parts = whole.reshape(whole.shape[0] // factor, factor, whole.shape[1] // factor, factor, 3)
    small: NDArray[np.uint8] = parts.mean((1, 3)).astype(np.uint8)
    return small


def side_by_side(shapes: Mapping[str, tuple[int, int]]) -> dict[str, Window]:
    """Places for scenes of these (height, width): in rows about as wide as a square sheet of them all."""
    square = int(sum(height * width for height, width in shapes.values()) ** 0.5)
    widest = max([square, *(width for _, width in shapes.values())])
    found, top, left, tallest = {}, 0, 0, 0
    for name, (height, width) in shapes.items():
        if left and left + width > widest:
            top, left, tallest = top + tallest + GAP, 0, 0
        found[name] = Window(Span(top, top + height), Span(left, left + width))
        left, tallest = left + width + GAP, max(tallest, height)
    return found
