"""Where people work and shop: halls, shops, car parks, farms."""

from dataclasses import replace

import numpy as np

from pipeline.render import plots
from pipeline.render.blocks import Block, car_park, cuts, fitting, split
from pipeline.render.elements import Box, Parcel
from pipeline.render.open_land import field, open_use
from pipeline.render.plots import Roof, pick, tone


def parking(block: Block) -> None:
    """Nothing but parked cars."""
    open_use(block, (50, 90), car_park)


def halls(block: Block) -> None:
    """Large halls in paved yards, with containers, lorries and cars."""
    length, depth = block.parcel.size
    for s0, s1 in cuts(length, (40, 110), block.rng):
        for lot in fitting(block, block.parcel.cell((s0, 0, s1, depth)), 24):
            _hall(block, lot)


def _hall(block: Block, lot: Parcel) -> None:
    """One hall in its yard."""
    rng, site, (w, d) = block.rng, block.site, lot.size
    name = ("concrete", "asphalt", "old_asphalt", "gravel")[rng.integers(4)]
    site.pave(lot.box(1, 1, w - 1, d - 1), name, tone(rng))
    plots.spots(site, lot, ("soil", "patch_asphalt", "gravel"), 0.15, rng)
    margin = block.shift(3, min(14, min(w, d) * 0.2))
    wide, deep = (w - 2 * margin) * block.shift(0.6, 1), (d - 2 * margin) * block.shift(0.5, 1)
    boxes = plots.boxes_at(plots.plan_shape(rng, wide, deep, 0.6), margin, margin)
    roof = plots.draw_roof(rng, block.style)
    roof = replace(roof, eave=max(roof.eave, 5.0), slope=min(roof.slope, 0.22))
    plots.build(site, lot, boxes, roof)
    _rooflights(block, lot, boxes[0])
    _clutter(block, lot, margin)


def _rooflights(block: Block, lot: Parcel, box: Box) -> None:
    """Strips or a grid of rooflights on a hall."""
    rng, site, (s0, t0, s1, t1) = block.rng, block.site, box
    if rng.random() < 0.5:
        plots.furnish_flat(site, lot, box, rng, 0.8)
    if rng.random() < 0.5:
        step = block.shift(5, 10)
        for s in np.arange(s0 + step, s1 - step / 2, step):
            site.thing(lot.box(s, t0 + 2, s + 1.0, t1 - 2), "metal_white", 0.2, tone(rng, 0.05))


def _clutter(block: Block, lot: Parcel, margin: float) -> None:
    """Containers, lorries and parked cars around a hall."""
    rng, site, (width, depth) = block.rng, block.site, lot.size
    names = ("container_red", "container_blue", "container_grey", "car_white")
    for _ in range(rng.poisson(5)):
        s, t = block.shift(2, width - 10), block.shift(1.5, max(margin - 3.5, 1.6))
        if rng.random() < 0.5:
            t = depth - t - 2.5
        long = 12.2 if rng.random() < 0.5 else 6.1
        site.thing(lot.box(s, t, s + long, t + 2.45), names[rng.integers(4)], 2.6, tone(rng))
    for s in np.arange(3, width - 3, 2.7):
        if rng.random() < 0.3:
            plots.car(site, lot, s, depth - 4, False, rng)


def retail(block: Block) -> None:
    """One large shop behind its car park."""
    length, depth = block.parcel.size
    if not block.holds(block.parcel):
        return parking(block)
    at = length * block.shift(0.4, 0.6)
    car_park(block, block.parcel.cell((0, 0, at, depth)))
    lot = block.parcel.cell((at, 2, length - 3, depth - 3))
    block.site.pave(lot.box(0, 0, *lot.size), "concrete", tone(block.rng))
    boxes = plots.boxes_at(plots.plan_shape(block.rng, lot.size[0] * 0.9, lot.size[1] * 0.9, 0.5), 2, 2)
    roof = Roof("flat", pick(block.rng, block.style.flat), tone(block.rng), block.shift(5, 9), 0.0)
    plots.build(block.site, lot, boxes, roof)
    plots.furnish_flat(block.site, lot, boxes[0], block.rng, 0.7)
    return None


def greenhouses(block: Block) -> None:
    """Rows of low plastic tunnels over crops: no buildings."""
    rng, site, (length, depth) = block.rng, block.site, block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), "soil", tone(rng))
    step = block.shift(2.2, 4.0)
    for s in np.arange(2, length - 3, step):
        site.thing(block.parcel.box(s, 3, s + step * 0.6, depth - 3), "plastic", 0.5, tone(rng, 0.05))


def farm(block: Block) -> None:
    """A farmyard in its fields."""
    rng, site, (length, depth) = block.rng, block.site, block.parcel.size
    field(block)
    at = block.shift(0, max(length - 75, 0))
    places = fitting(block, block.parcel.cell((at, 0, min(at + 75, length), min(65, depth))), 30)
    farmyard = next(places, None)
    if farmyard is None:
        return
    w, d = farmyard.size
    site.ground(farmyard.box(0, 0, w, d), pick(rng, block.style.ground), tone(rng))
    site.ground(plots.blob(farmyard, w / 2, d / 2, 18, rng), "gravel", tone(rng))
    for box in split((4, 4, w - 4, d - 4), 26, rng):
        if rng.random() < 0.35:
            continue
        lot = farmyard.cell(box).turned(float(rng.normal(0, 0.1)))
        wide, deep = lot.size[0] * block.shift(0.5, 0.9), lot.size[1] * block.shift(0.4, 0.8)
        boxes = plots.plan_shape(rng, wide, deep, 0.6)
        roof = plots.draw_roof(rng, block.style)
        plots.build(site, lot, boxes, roof)
        plots.furnish(site, lot, boxes, roof, rng)
    plots.scatter_trees(site, farmyard, block.style, rng, 0.4)
