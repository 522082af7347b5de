"""Histograms that are filled batch by batch, and their bars."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = np.linspace(0, 1, 21)
AREA = np.array([0, *(base * 10.0**power for power in range(6) for base in (1, 2, 5)), np.inf])
"""m²: buildings span four powers of ten, so the bins grow with the size."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin."""

    low: float
    """From this value on."""
    high: float
    """To this one, not included (the last bin holds it too)."""
    count: int
    """How many values."""
    share: float
    """Of the fullest bin, 0..1."""

    @property
    def label(self) -> str:
        """Its range, for people."""
        return f"{self.low:,.4g} or more" if np.isinf(self.high) else f"{self.low:,.4g} to {self.high:,.4g}"


@dataclass(slots=True)
class Histogram:
    """Counts per bin."""

    edges: NDArray[np.float64]
    """Of the bins, ascending."""
    counts: NDArray[np.int64] = field(init=False)
    """Values in each bin."""

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges) - 1, np.int64)

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values; those below or above all bins count in the first or the last."""
        bins = np.searchsorted(self.edges, values, side="right") - 1
        self.counts += np.bincount(np.clip(bins, 0, len(self.counts) - 1), minlength=len(self.counts))

    @property
    def bars(self) -> list[Bar]:
        """The bins from the first that is not empty to the last."""
        filled = np.flatnonzero(self.counts)
        if not len(filled):
            return []
        top = int(self.counts.max())
        return list(self._bars(range(int(filled[0]), int(filled[-1]) + 1), top))

    def _bars(self, bins: range, top: int) -> Iterator[Bar]:
        for number in bins:
            count = int(self.counts[number])
            yield Bar(float(self.edges[number]), float(self.edges[number + 1]), count, count / top)
