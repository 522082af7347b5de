"""Blocks without buildings: parks, woods, fields, bare ground, sports grounds, ponds."""

from collections.abc import Callable

import numpy as np

from pipeline.render import plots
from pipeline.render.blocks import Block, cuts
from pipeline.render.elements import Box, Parcel
from pipeline.render.plots import tone


def open_use(block: Block, cells: tuple[float, float], make: Callable[[Block, Parcel], None]) -> None:
    """Fill whatever part of the block lies inside the quarter with open plots."""
    length, depth = block.parcel.size
    for s0, s1 in cuts(length, cells, block.rng):
        make(block, block.parcel.cell((s0, 0, s1, depth)))


def park(block: Block) -> None:
    """Grass, paths and trees."""
    rng, site, (length, depth) = block.rng, block.site, block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), "grass" if rng.random() < 0.5 else "lawn", tone(rng))
    plots.spots(site, block.parcel, ("dry_grass", "meadow", "soil", "lawn"), 0.4, rng)
    for _ in range(3):
        s, t = rng.uniform(0, length, 2), rng.uniform(-0.2, 1.2, 2) * depth
        path = np.array([(s[0], t[0]), (s[1], t[1]), (s[1] + 2, t[1]), (s[0] + 2, t[0])])
        site.pave(block.parcel.at(path), "gravel", tone(rng))
    plots.scatter_trees(site, block.parcel, block.style, rng, block.shift(0.2, 1.2))


def wood(block: Block) -> None:
    """Trees, mostly closed."""
    site, (length, depth) = block.site, block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), "leaf_litter", tone(block.rng))
    plots.spots(site, block.parcel, ("meadow", "grass", "leaf_litter", "soil"), 1.0, block.rng)
    plots.scatter_trees(site, block.parcel, block.style, block.rng, block.shift(1.5, 4.0))


def field(block: Block) -> None:
    """Crops, meadows and ploughed land in strips."""
    open_use(block, (30, 120), _strip)


def _strip(block: Block, lot: Parcel) -> None:
    rng, site, (width, depth) = block.rng, block.site, lot.size
    name = ("crop_green", "crop_yellow", "crop_dark", "plough", "meadow", "dry_grass", "soil", "grass")[rng.integers(8)]
    shade = tone(rng)
    site.ground(lot.box(0, 0, width, depth), name, shade)
    if name.startswith(("crop", "plough")):
        step = float(rng.choice([0.8, 1.6, 3.2, 12.0]))
        for s in np.arange(0.5, width, step):
            site.ground(lot.box(s, 0.5, s + step * 0.4, depth - 0.5), name, shade * 0.88)
    plots.spots(site, lot, ("meadow", "soil", "dry_grass"), 0.08, rng)
    if rng.random() < 0.5:
        edge = lot.cell((0, 0, min(4, width), depth))
        plots.scatter_trees(site, edge, block.style, rng, 2.0)


def bare(block: Block) -> None:
    """Building land, quarry, rubble: bright ground without buildings."""
    rng, site, (length, depth) = block.rng, block.site, block.parcel.size
    name = ("soil", "red_soil", "sand", "white_ground", "rock", "gravel")[rng.integers(6)]
    site.ground(block.parcel.box(0, 0, length, depth), name, tone(rng))
    plots.spots(site, block.parcel, ("soil", "rock", "grass", "dry_grass", "white_ground", "rubble"), 1.0, rng)
    for _ in range(rng.poisson(6)):
        s, t, r = block.shift(0, length), block.shift(0, depth), block.shift(0.7, 4)
        site.thing(plots.blob(block.parcel, s, t, r, rng), "rubble", block.shift(0.3, 1.5), tone(rng, 0.25))
    if rng.random() < 0.4:
        s, t = block.shift(5, length * 0.6), block.shift(5, depth * 0.5)
        site.pave(block.parcel.box(s, t, s + block.shift(10, 30), t + block.shift(10, 25)), "concrete", tone(rng))
    plots.scatter_trees(site, block.parcel, block.style, rng, 0.08)


def sport(block: Block) -> None:
    """Courts and a pitch."""
    rng, site, (length, depth) = block.rng, block.site, block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), "grass", tone(rng))
    for s0, s1 in cuts(length, (20, 70), rng):
        name = ("turf", "clay_court", "blue_court", "green_court", "sand")[rng.integers(5)]
        box = (s0 + 3, 4.0, s1 - 3, depth - 4)
        site.pave(block.parcel.box(*box), name, tone(rng))
        _lines(block, box)
    plots.scatter_trees(site, block.parcel.cell((0, depth - 4, length, depth)), block.style, rng, 1.0)


def _lines(block: Block, box: Box) -> None:
    """The white lines of a court."""
    s0, t0, s1, t1 = box[0] + 2, box[1] + 2, box[2] - 2, box[3] - 2
    for s in (s0, (s0 + s1) / 2, s1):
        block.site.pave(block.parcel.box(s - 0.08, t0, s + 0.08, t1), "white_paint")
    for t in (t0, t1):
        block.site.pave(block.parcel.box(s0, t - 0.08, s1, t + 0.08), "white_paint")


def water(block: Block) -> None:
    """A pond in a meadow."""
    site, (length, depth) = block.site, block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), "meadow", tone(block.rng))
    for _ in range(3):
        s, t = length * block.shift(0.35, 0.65), depth * block.shift(0.4, 0.6)
        site.ground(plots.blob(block.parcel, s, t, depth * 0.3, block.rng), "water")
    plots.scatter_trees(site, block.parcel.cell((0, 0, length, depth * 0.15)), block.style, block.rng, 1.5)
