"""A block and what every use of it needs: division into lots, yards, car parks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.render import plots
from pipeline.render.elements import Box, Parcel, Site
from pipeline.render.plots import pick, tone
from pipeline.render.style import Style


@dataclass(frozen=True, slots=True)
class Block:
    """One block and everything needed to fill it."""

    parcel: Parcel
    """Its rectangle, the long side along s."""
    walls: NDArray[np.float64]
    """(K, 3): a x + b y <= c holds inside the block's quarter."""
    style: Style
    """How this place builds."""
    rng: Generator
    """Its own random numbers."""
    site: Site
    """Where things are added."""

    def holds(self, lot: Parcel) -> bool:
        """Whether a lot lies wholly inside the quarter."""
        width, depth = lot.size
        corners = lot.box(0, 0, width, depth)
        return bool((corners @ self.walls[:, :2].T <= self.walls[:, 2]).all())

    def shift(self, low: float, high: float) -> float:
        """A uniform random number."""
        return float(self.rng.uniform(low, high))


def cuts(length: float, size: tuple[float, float], rng: Generator) -> list[tuple[float, float]]:
    """Intervals that divide 0..length into pieces near the wanted size."""
    number = max(1, round(length / rng.uniform(*size)))
    weights = rng.uniform(0.85, 1.15, number)
    edges = np.concatenate([[0.0], np.cumsum(weights) / weights.sum() * length])
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def two_rows(block: Block, size: tuple[float, float], gap: float = 0.0) -> Iterator[Parcel]:
    """Lots in two rows, back to back, their streets on the long sides; ``gap`` m of alley between."""
    length, depth = block.parcel.size
    half = (depth - gap) / 2
    for flip, t0 in ((False, 0.0), (True, depth - half)):
        for s0, s1 in cuts(length, size, block.rng):
            lot = block.parcel.cell((s0, t0, s1, t0 + half), flip)
            front = lot.cell((0.0, 0.0, s1 - s0, half * 0.7))
            if block.holds(lot):
                yield lot
            elif block.holds(front):
                yield front


def fitting(block: Block, lot: Parcel, least: float) -> Iterator[Parcel]:
    """The lot if it lies inside the quarter, else those pieces of it that do, no side under ``least`` m."""
    width, depth = lot.size
    if block.holds(lot):
        yield lot
    elif max(width, depth) >= 2 * least and min(width, depth) >= least:
        s, t = (width / 2, depth) if width >= depth else (width, depth / 2)
        yield from fitting(block, lot.cell((0.0, 0.0, s, t)), least)
        yield from fitting(block, lot.cell((width - s, depth - t, width, depth)), least)


def yard(block: Block, lot: Parcel) -> None:
    """A lot's own ground, with spots."""
    name = pick(block.rng, block.style.ground)
    width, depth = lot.size
    block.site.ground(lot.box(0, 0, width, depth), name, tone(block.rng))
    plots.spots(block.site, lot, ("soil", "dry_grass", "grass", "leaf_litter"), 0.7, block.rng)
    plots.litter(block.site, lot, block.shift(0, 1.6), block.rng)


def split(box: Box, size: float, rng: Generator) -> Iterator[Box]:
    """A rectangle cut again and again across its longer side, down to about ``size`` m."""
    s0, t0, s1, t1 = box
    width, depth = s1 - s0, t1 - t0
    if max(width, depth) < size * rng.uniform(1.2, 1.9):
        yield box
    elif width >= depth:
        middle = s0 + width * rng.uniform(0.38, 0.62)
        yield from split((s0, t0, middle, t1), size, rng)
        yield from split((middle, t0, s1, t1), size, rng)
    else:
        middle = t0 + depth * rng.uniform(0.38, 0.62)
        yield from split((s0, t0, s1, middle), size, rng)
        yield from split((s0, middle, s1, t1), size, rng)


def car_park(block: Block, lot: Parcel) -> None:
    """Rows of marked bays, partly taken."""
    rng, site, (width, depth) = block.rng, block.site, lot.size
    site.pave(lot.box(0, 0, width, depth), ("asphalt", "old_asphalt", "concrete")[rng.integers(3)], tone(rng))
    full = block.shift(0.05, 0.9)
    for t in np.arange(3.0, depth - 3, 8.5):
        for s in np.arange(1.5, width - 2.0, 2.6):
            site.pave(lot.box(s - 0.07, t - 2.4, s + 0.07, t + 2.4), "white_paint")
            if rng.random() < full:
                plots.car(site, lot, s + 1.3, t + float(rng.normal(0, 0.25)), False, rng)
