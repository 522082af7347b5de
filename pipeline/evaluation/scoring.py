"""Scores of one scene, read in windows: the memory that it takes does not depend on the scene."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.metrics import IGNORE, Confusion, Mask, boundary
from models.samples import NO_DATA
from pipeline.evaluation.objects import Objects
from tiling.grid import Span, Window

WINDOW = 2048
"""Pixels a side that are read at a time: 4 MB a layer."""

Read = Callable[[Window], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Rules:
    """How pixels are judged."""

    level: int
    """Samples from it on are building."""
    boundary: int
    """Width of the outlines that boundary IoU compares, px."""
    band: int
    """How far from a block's seam counts as near it, px."""
    block: tuple[int, int] | None
    """Height and width of the blocks that were predicted one by one, px; None: there are no seams."""
    mosaic: tuple[int, int]
    """Height and width of what the blocks divide, px: its own edge is no seam."""
    origin: tuple[int, int] = (0, 0)
    """Row and column of the scene's upper left pixel in the mosaic."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts; they add up over scenes."""

    pixels: Confusion = field(default_factory=Confusion)
    """All that have data and a label."""
    outlines: Confusion = field(default_factory=Confusion)
    """The inner boundaries of buildings alone."""
    seams: Confusion = field(default_factory=Confusion)
    """Pixels near a seam."""
    interior: Confusion = field(default_factory=Confusion)
    """Pixels that are not."""
    objects: Objects = field(default_factory=Objects)
    """Buildings."""

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(
            self.pixels + other.pixels,
            self.outlines + other.outlines,
            self.seams + other.seams,
            self.interior + other.interior,
            self.objects + other.objects,
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """One window, judged."""

    window: Window
    """Where it is."""
    predicted: Mask
    """What was called building."""
    truth: Mask
    """What is building."""
    counted: Mask
    """What has data and a label."""


def judge(whole: Window, samples: Read, labels: Read, rules: Rules) -> Iterator[tuple[Judged, Scores]]:
    """The windows of a scene, each with its scores (but for objects).

    Both readers take any window inside ``whole``. A margin is read around each window, so that outlines do not depend
    on how the scene is divided.
    """
    for window in windows(whole):
        outer = _grown(window, rules.boundary, whole)
        values, truth = samples(outer), labels(outer)
        counted = (values != NO_DATA) & (truth != IGNORE)
        predicted, wanted = (values >= rules.level) & counted, (truth > 0) & counted
        inner = window.within(outer)
        edges = [boundary(mask, rules.boundary)[inner] for mask in (predicted, wanted)]
        judged = Judged(window, predicted[inner], wanted[inner], counted[inner])
        near = near_seam(window, rules)
        parts = (counted[inner] & part for part in (near, ~near))
        seams, interior = (Confusion.of(judged.predicted, judged.truth, part) for part in parts)
        outlines = Confusion.of(edges[0], edges[1], judged.counted)
        yield judged, Scores(seams + interior, outlines, seams, interior)


def windows(whole: Window) -> Iterator[Window]:
    """Windows of at most ``WINDOW`` px a side that partition ``whole``, row by row."""
    for rows in whole.rows.pieces(WINDOW):
        for cols in whole.cols.pieces(WINDOW):
            yield Window(rows, cols)


def _grown(window: Window, margin: int, whole: Window) -> Window:
    """The window with a margin, as far as the scene goes."""
    rows, cols = (Span(span.start - margin, span.stop + margin) for span in (window.rows, window.cols))
    return Window(rows, cols).intersection(whole)


def near_seam(window: Window, rules: Rules) -> Mask:
    """(h, w) bool: pixels of ``window`` within ``band`` px of a seam between blocks; the mosaic's own edge is none."""
    if rules.block is None:
        return np.zeros(window.shape, np.bool_)
    top, left = rules.origin
    rows = _near(np.arange(window.rows.start, window.rows.stop) + top, rules.block[0], rules.mosaic[0], rules.band)
    cols = _near(np.arange(window.cols.start, window.cols.stop) + left, rules.block[1], rules.mosaic[1], rules.band)
    return rows[:, None] | cols[None, :]


def _near(pixels: NDArray[np.intp], block: int, size: int, band: int) -> Mask:
    """Which pixels lie in the ``band`` px before or behind a seam: a multiple of ``block`` in 1..size − 1."""
    before, behind = pixels // block * block, (pixels // block + 1) * block  # the multiples around each pixel
    near: Mask = ((pixels - before < band) & (before > 0)) | ((behind - pixels <= band) & (behind < size))
    return near
