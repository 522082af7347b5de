"""What a prediction is worth, from counts that add up over any number of tiles. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.samples import SAMPLE_MAX

IGNORE = 255
"""The label of pixels that carry none: VOC's void, no data."""
LEVELS = SAMPLE_MAX + 1
"""How many samples differ: 0..254."""

Mask = NDArray[np.bool_]
"""(h, w) bool: where buildings are."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pixels counted by what they are and what they were taken for. The Inria contest scores sums over scenes."""

    hits: int = 0
    """Building, found (true positives)."""
    false_alarms: int = 0
    """Background, called building (false positives)."""
    misses: int = 0
    """Building, not found (false negatives)."""
    rejections: int = 0
    """Background, left alone (true negatives)."""

    @staticmethod
    def of(predicted: Mask, truth: Mask, counted: Mask | None = None) -> "Confusion":
        """Counts two masks of one shape, where ``counted`` is true (None: everywhere)."""
        if counted is not None:
            predicted, truth = predicted[counted], truth[counted]
        found, wanted, hits = (int(np.count_nonzero(mask)) for mask in (predicted, truth, predicted & truth))
        return Confusion(hits, found - hits, wanted - hits, truth.size - found - wanted + hits)

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(
            self.hits + other.hits,
            self.false_alarms + other.false_alarms,
            self.misses + other.misses,
            self.rejections + other.rejections,
        )

    @property
    def iou(self) -> float:
        """Intersection over union of the building class; 1 when there is nothing to find and nothing was found."""
        return _share(self.hits, self.hits + self.false_alarms + self.misses)

    @property
    def accuracy(self) -> float:
        """The share of pixels classified rightly."""
        return _share(self.hits + self.rejections, self.pixels)

    @property
    def precision(self) -> float:
        """The share of what was called building that is."""
        return _share(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """The share of buildings' pixels that was found."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def pixels(self) -> int:
        """All of them."""
        return self.hits + self.false_alarms + self.misses + self.rejections


def _share(part: float, whole: float) -> float:
    """``part / whole``; 1 of nothing."""
    return part / whole if whole else 1.0


def _shares(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    """``_share`` of each."""
    shares: NDArray[np.float64] = np.divide(parts, wholes, out=np.ones(len(parts)), where=wholes > 0)
    return shares


@dataclass(frozen=True, slots=True)
class Histogram:
    """Samples of background and of buildings, counted: the confusion at every threshold at once."""

    background: NDArray[np.int64]
    """(255,) pixels of background by sample."""
    building: NDArray[np.int64]
    """(255,) pixels of buildings by sample."""

    @staticmethod
    def empty() -> "Histogram":
        """No pixel yet."""
        return Histogram(np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64))

    @staticmethod
    def of(samples: NDArray[np.uint8], truth: Mask) -> "Histogram":
        """Counts ``samples`` (0..254) where ``truth``, of the same shape, is false and where it is true."""
        found = [np.bincount(samples[truth == wanted], minlength=LEVELS) for wanted in (False, True)]
        return Histogram(*found)

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.background + other.background, self.building + other.building)

    def confusion(self, level: int) -> Confusion:
        """The counts when samples >= ``level`` are called building."""
        hits, alarms = int(self.building[level:].sum()), int(self.background[level:].sum())
        return Confusion(hits, alarms, int(self.building.sum()) - hits, int(self.background.sum()) - alarms)

    def ious(self) -> NDArray[np.float64]:
        """(255,) IoU at every level, equal to ``confusion(level).iou``."""
        hits, alarms = (np.cumsum(counts[::-1])[::-1] for counts in (self.building, self.background))
        return _shares(hits, self.building.sum() + alarms)

    def reliability(self, bins: int = 15) -> tuple[tuple[float, float], ...]:
        """(mean predicted probability, observed share of buildings) of each of ``bins`` bins that is not empty."""
        return tuple((predicted, observed) for predicted, observed, _ in self._bins(bins))

    def calibration_error(self, bins: int = 15) -> float:
        """Expected calibration error, 0..1: mean |predicted − observed|, weighed by pixels (Guo et al. 2017)."""
        off = sum(abs(predicted - observed) * pixels for predicted, observed, pixels in self._bins(bins))
        return _share(off, self._pixels())

    def _pixels(self) -> int:
        return int(self.background.sum() + self.building.sum())

    def _bins(self, bins: int) -> list[tuple[float, float, int]]:
        """(predicted, observed, pixels) of the bins that are not empty."""
        probability = np.arange(LEVELS) / SAMPLE_MAX
        bin_of = np.minimum((probability * bins).astype(int), bins - 1)
        total = self.background + self.building
        pixels, predicted, observed = (
            np.bincount(bin_of, weights, bins) for weights in (total, total * probability, self.building)
        )
        filled = np.flatnonzero(pixels)
        rows = zip(predicted[filled] / pixels[filled], observed[filled] / pixels[filled], pixels[filled], strict=True)
        return [(float(p), float(o), int(n)) for p, o, n in rows]


def best_level(histograms: Sequence[Histogram]) -> int:
    """The level in 1..253 with the highest mean IoU over ``histograms``: one per source, so that none decides alone.

    The ends are left out: at 0 and 1 a threshold decides nothing.
    """
    mean = np.mean([histogram.ious() for histogram in histograms], axis=0)
    return int(np.argmax(mean[1:-1])) + 1


@dataclass(frozen=True, slots=True)
class Classes:
    """Pixels of several classes, counted by what they are and what they were taken for."""

    counts: NDArray[np.int64]
    """(C, C): row the true class, column the predicted one."""

    @staticmethod
    def of(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> "Classes":
        """Counts class indices; ``truth`` beyond the last class (VOC's void) is left out."""
        known = truth < classes
        pairs = truth[known].astype(np.int64) * classes + predicted[known]
        return Classes(np.bincount(pairs, minlength=classes**2).reshape(classes, classes))

    def __add__(self, other: "Classes") -> "Classes":
        return Classes(self.counts + other.counts)

    def ious(self) -> NDArray[np.float64]:
        """(C,) IoU of each class; NaN for a class that neither occurs nor was predicted."""
        hits = np.diag(self.counts)
        unions = self.counts.sum(0) + self.counts.sum(1) - hits
        return np.where(unions > 0, _shares(hits, unions), np.nan)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that occur or were predicted: others are no success; 1 of none."""
        ious = self.ious()
        return float(np.nanmean(ious)) if self.counts.any() else 1.0


def boundary(mask: Mask, width: int) -> Mask:
    """The pixels of ``mask`` within ``width`` px of its outline: the mask less its erosion by a square of 2 width + 1.

    Beyond the array the mask is taken to go on as it ends, so that the array's border is no outline.
    """
    eroded = mask
    for axis in (0, 1):
        padded = np.pad(eroded, [(width, width) if axis == a else (0, 0) for a in (0, 1)], mode="edge")
        size = mask.shape[axis]
        shifted = (padded.take(range(start, start + size), axis) for start in range(2 * width + 1))
        eroded = np.logical_and.reduce(list(shifted))
    return mask & ~eroded


def boundary_confusion(predicted: Mask, truth: Mask, width: int) -> Confusion:
    """Counts of the inner boundaries alone; its ``iou`` is boundary IoU (Cheng et al. 2021, arXiv:2103.16562)."""
    return Confusion.of(boundary(predicted, width), boundary(truth, width))
