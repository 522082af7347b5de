"""Where people live: houses in gardens, terraces, courtyard blocks, grown quarters, walled lots, apartment slabs."""

from dataclasses import replace

import numpy as np

from pipeline.render import plots
from pipeline.render.blocks import Block, car_park, cuts, fitting, split, two_rows, yard
from pipeline.render.elements import Box, Parcel, Site
from pipeline.render.plots import Roof, pick, tone


def detached(block: Block) -> None:
    """Houses in gardens."""
    for lot in two_rows(block, block.style.frontage):
        yard(block, lot)
        if block.rng.random() < 0.93:
            _house(block, lot)
        _garden(block, lot)


def _house(block: Block, lot: Parcel) -> None:
    """A house, its drive and perhaps an outbuilding."""
    rng, (width, depth), site = block.rng, lot.size, block.site
    side = min(block.shift(1.2, 4), width * 0.15)
    setback = min(block.shift(4, 9), depth * 0.28)
    wide, deep = min(width - 2 * side, block.shift(10, 22)), min(depth * 0.58, block.shift(8, 17))
    left = block.shift(side, width - side - wide) if width - side - wide > side else side
    boxes = plots.boxes_at(plots.plan_shape(rng, wide, deep), left, setback)
    roof = plots.draw_roof(rng, block.style)
    _drive(block, lot, boxes, setback)
    plots.build(site, lot, boxes, roof)
    plots.furnish(site, lot, boxes, roof, rng)
    room = depth - setback - deep
    if room > 9 and rng.random() < 0.4:
        w, d = block.shift(4.2, 7.0), block.shift(4.2, 6.8)
        s = 0.8 if rng.random() < 0.5 else width - w - 0.8
        t = depth - d - block.shift(0.8, max(0.8, min(4, room - d - 1.5)))
        plots.build(site, lot, [(s, t, s + w, t + d)], plots.draw_roof(rng, block.style, 2.4))


def _drive(block: Block, lot: Parcel, boxes: list[Box], setback: float) -> None:
    """A drive from the street to the house or past it, often with a car, and a path to the door."""
    rng, site = block.rng, block.site
    s0, _, s1, _ = boxes[0]
    name = ("concrete", "concrete", "old_asphalt", "paving", "gravel")[rng.integers(5)]
    wide = block.shift(2.8, 5.6)
    if rng.random() < 0.85:
        s = s0 if rng.random() < 0.5 else max(s1 - wide, s0)
        site.pave(lot.box(s, -3, s + wide, setback + 0.5), name, tone(rng))
        if rng.random() < 0.5:
            plots.car(site, lot, s + wide / 2, setback - 3, False, rng)
    middle = (s0 + s1) / 2
    site.pave(lot.box(middle, -2, middle + 1.2, setback), "paving", tone(rng))
    if rng.random() < 0.5:
        top = max(box[3] for box in boxes)
        site.pave(lot.box(middle - 3, top, middle + block.shift(1, 4), top + block.shift(2, 5)), "paving", tone(rng))


def _garden(block: Block, lot: Parcel) -> None:
    """Trees, hedges, fences and sometimes a pool."""
    rng, site, (width, depth) = block.rng, block.site, lot.size
    name = "hedge" if rng.random() < 0.5 else "fence"
    thick, high = (block.shift(0.6, 1.4), 1.6) if name == "hedge" else (0.15, 1.7)
    if rng.random() < 0.6:
        site.thing(lot.box(0, depth * 0.3, thick, depth), name, high, tone(rng))
    if rng.random() < 0.6:
        site.thing(lot.box(0, depth - thick, width, depth), name, high, tone(rng))
    if rng.random() < 0.1:
        s, t = block.shift(2, max(width - 7, 2.1)), depth * 0.78
        site.pave(lot.box(s - 1.2, t - 1.2, s + 6.2, t + 4.2), "paving", 1.1)
        site.pave(lot.box(s, t, s + 5, t + 3), "pool", tone(rng))
    for _ in range(rng.poisson(0.6)):
        s, t = block.shift(1, width - 1), block.shift(depth * 0.7, depth - 1)
        site.thing(lot.box(s, t, s + block.shift(0.6, 2.2), t + block.shift(0.6, 2.2)), "unit", 1.0, tone(rng, 0.4))
    plots.scatter_trees(site, lot, block.style, rng, block.style.trees * block.shift(0.2, 1.3) * 0.8)


def narrow(block: Block) -> None:
    """Long narrow houses on narrow lots, a garage on the alley behind each."""
    rng, site = block.rng, block.site
    for lot in two_rows(block, block.style.frontage, 5.0):
        yard(block, lot)
        width, depth = lot.size
        gap, setback = block.shift(0.4, 1.0), block.shift(4, 7)
        boxes = [(gap, setback, width - gap, depth * block.shift(0.5, 0.68))]
        if rng.random() < 0.4:
            end = boxes[0][3]
            boxes.append((gap + width * 0.15, end - 1, width - gap - 0.5, min(end + block.shift(2, 5), depth - 8.5)))
        roof = plots.draw_roof(rng, block.style)
        plots.build(site, lot, boxes, roof)
        plots.furnish(site, lot, boxes, roof, rng)
        site.pave(lot.box(width / 2 - 0.7, -2, width / 2 + 0.7, setback), "concrete", tone(rng))
        if rng.random() < 0.75:
            roof = plots.draw_roof(rng, block.style, 2.6)
            garage = (gap, depth - block.shift(5.5, 7.5), width - gap - block.shift(0, 1), depth - 0.4)
            plots.build(site, lot, [garage], roof)
        elif rng.random() < 0.6:
            plots.car(site, lot, width / 2, depth - 3, False, rng)
        plots.scatter_trees(site, lot, block.style, rng, block.style.trees * 0.35)
    length, deep = block.parcel.size
    site.pave(block.parcel.box(0, deep / 2 - 2.5, length, deep / 2 + 2.5), "old_asphalt", tone(rng))


def terrace(block: Block) -> None:
    """Rows of houses wall to wall, alike within a row."""
    rng, site, style = block.rng, block.site, block.style
    roof, run, deep, setback = plots.draw_roof(rng, style), 0, block.shift(8, 12), block.shift(3, 7)
    for lot in two_rows(block, (5.0, 8.0)):
        yard(block, lot)
        width, depth = lot.size
        if run == 0:
            run, roof = int(rng.integers(4, 12)), plots.draw_roof(rng, style)
            roof = replace(roof, shape="gable") if roof.shape == "hip" else roof
            setback, deep = block.shift(3, 7), block.shift(8, 12)
            continue  # a gap between two rows
        run -= 1
        box = (0.0, setback, width, setback + deep)
        ridge_along_street(site, lot, box, replace(roof, tone=roof.tone * tone(rng, 0.05)))
        plots.furnish(site, lot, [box], roof, rng)
        if rng.random() < 0.5:
            site.pave(lot.box(0.4, -2, 3.0, setback), "concrete", tone(rng))
            if rng.random() < 0.5:
                plots.car(site, lot, 1.7, setback - 2.6, False, rng)
        if rng.random() < 0.4:
            site.thing(lot.box(0, depth - 1, width, depth), "hedge", 1.5, tone(rng))
        if rng.random() < 0.12:
            plots.build(site, lot, [(0.4, depth - 5.4, 4.6, depth - 0.8)], plots.draw_roof(rng, style, 2.3))
        plots.scatter_trees(site, lot.cell((0, depth * 0.5, width, depth)), style, rng)


def ridge_along_street(site: Site, lot: Parcel, box: Box, roof: Roof) -> None:
    """A house whose ridge follows the street even where the house is deeper than wide."""
    plots.build(site, lot, [box], roof)
    building = site.buildings[-1]
    part = building.parts[0]._replace(ring=lot.box(*box))
    site.buildings[-1] = building._replace(parts=[part])


def perimeter(block: Block) -> None:
    """Houses wall to wall around a court, with wings into it; small blocks become one ring."""
    rng, site, style = block.rng, block.site, block.style
    length, depth = block.parcel.size
    if not block.holds(block.parcel):
        return infill(block)
    ring = min(block.shift(9, 14), depth / 3)
    site.ground(block.parcel.box(0, 0, length, depth), pick(rng, style.ground), tone(rng))
    court = block.parcel.cell((ring, ring, length - ring, depth - ring))
    plots.spots(site, court, ("grass", "lawn", "gravel", "soil"), 0.6, rng)
    if depth < 52 and rng.random() < 0.3:
        plots.build(site, block.parcel, around(length, depth, ring), plots.draw_roof(rng, style), mains=2)
    else:
        _row(block, block.parcel, (0, length), ring)
        _row(block, block.parcel.cell((0, 0, length, depth), True), (0, length), ring)
        side = block.parcel.quarter_turn()
        _row(block, side, (ring, depth - ring), ring)
        _row(block, side.cell((0, 0, depth, length), True), (ring, depth - ring), ring)
    plots.scatter_trees(site, court, style, rng)
    return None


def around(width: float, depth: float, bar: float) -> list[Box]:
    """Four bars around a court, those along the width first."""
    across: list[Box] = [(0.0, 0.0, width, bar), (0.0, depth - bar, width, depth)]
    return [*across, (0.0, 0.0, bar, depth), (width - bar, 0.0, width, depth)]


def _row(block: Block, parcel: Parcel, span: tuple[float, float], ring: float) -> None:
    """Houses along the street side of a parcel, some with a wing into the court."""
    rng, site, style = block.rng, block.site, block.style
    for s0, s1 in cuts(span[1] - span[0], style.frontage, rng):
        if rng.random() < 0.05:
            continue
        box: Box = (span[0] + s0, 0.0, span[0] + s1, ring)
        roof = plots.draw_roof(rng, style)
        ridge_along_street(site, parcel, box, roof)
        plots.furnish(site, parcel, [box], roof, rng)
        inner = box[0] > ring + 1 and box[2] < parcel.size[0] - ring - 1
        room = parcel.size[1] / 2 - ring - 2
        if inner and room > 5 and rng.random() < 0.45:
            wing = (box[0], ring, box[0] + (s1 - s0) * block.shift(0.35, 0.6), ring + block.shift(4, min(room, 14)))
            low = plots.draw_roof(rng, style, roof.eave * block.shift(0.3, 0.8))
            plots.build(site, parcel, [wing], low)


def infill(block: Block) -> None:
    """A grown quarter: plots of all sizes, mostly covered, houses often wall to wall, terraces at several heights."""
    _grown(block, float(np.mean(block.style.frontage)), 0.45, 0.0)


def shacks(block: Block) -> None:
    """Small houses at odd angles with narrow ways between."""
    _grown(block, float(np.mean(block.style.frontage)) * 0.9, 0.15, 0.16)


def _grown(block: Block, size: float, attached: float, turn: float) -> None:
    rng, site = block.rng, block.site
    length, depth = block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), pick(rng, block.style.ground), tone(rng))
    plots.spots(site, block.parcel, ("soil", "rubble", "grass", "gravel", "red_soil"), 0.8, rng)
    plots.litter(site, block.parcel, 1.0, rng)
    for box in split((0, 0, length, depth), size, rng):
        lot = block.parcel.cell(box, bool(rng.random() < 0.5))
        if not block.holds(lot):
            continue
        if rng.random() < 0.12:
            _open_plot(block, lot)
            continue
        if rng.random() > attached:
            gap = block.shift(0.3, 1.6)
            lot = lot.cell((gap, gap, lot.size[0] - gap, lot.size[1] - gap))
        if turn:
            lot = lot.turned(float(rng.normal(0, turn)))
        _stepped(block, lot)


def _open_plot(block: Block, lot: Parcel) -> None:
    """A plot without a building: a garden, rubble or a yard with things."""
    rng, site = block.rng, block.site
    yard(block, lot)
    plots.scatter_trees(site, lot, block.style, rng, block.style.trees * block.shift(0, 3))
    for _ in range(rng.poisson(2)):
        s, t = block.shift(0, lot.size[0]), block.shift(0, lot.size[1])
        site.thing(lot.box(s, t, s + block.shift(0.5, 2), t + block.shift(0.5, 2)), "rubble", 0.6, tone(rng, 0.3))


def _stepped(block: Block, lot: Parcel) -> None:
    """A house that covers most of its lot, its parts at different heights and with different roofs."""
    rng, site, style = block.rng, block.site, block.style
    width, depth = lot.size
    if min(width, depth) < 2.8 or width * depth < 14:
        return
    whole = rng.random() < 0.6
    boxes = [(0.0, 0.0, width, depth)] if whole else plots.plan_shape(rng, width, depth, 0.2)
    roof = plots.draw_roof(rng, style)
    plots.build(site, lot, boxes, roof)
    if roof.shape != "flat":
        plots.furnish(site, lot, boxes, roof, rng)
        return
    plots.furnish_flat(site, lot, boxes[0], rng, 2.5)
    plots.litter(site, lot.cell(boxes[0]), block.shift(0, 7), rng)
    s0, t0, s1, t1 = boxes[0]
    if rng.random() < 0.65 and min(s1 - s0, t1 - t0) > 4:
        upper = plots.draw_roof(rng, style)
        s, t = s0 + (s1 - s0) * block.shift(0.3, 0.7), t0 + (t1 - t0) * block.shift(0.3, 1.0)
        name = upper.material
        site.thing(lot.box(s0 + 0.3, t0 + 0.3, s, t), name, block.shift(0.6, 2.8), upper.tone)
    if rng.random() < 0.15:
        site.thing(lot.box(s0 + 1, t0 + 1, s0 + (s1 - s0) * 0.6, t0 + (t1 - t0) * 0.5), "tarp", 0.4, tone(rng))


def compound(block: Block) -> None:
    """Walled lots with flat-roofed houses, many around a court."""
    rng, site = block.rng, block.site
    for lot in two_rows(block, block.style.frontage):
        width, depth = lot.size
        yard(block, lot)
        for wall in ((0, 0, width, 0.3), (0, 0, 0.3, depth), (0, depth - 0.3, width, depth)):
            site.thing(lot.box(*wall), "wall", 2.2, tone(rng))
        if rng.random() < 0.12:
            continue
        inner = lot.cell((0.3, 0.3, width - 0.3, depth - 0.3))
        w, d = inner.size
        roof = plots.draw_roof(rng, block.style)
        if min(w, d) > 13 and rng.random() < 0.35:
            bar = min(w, d) * block.shift(0.26, 0.34)
            boxes = around(w, d, bar)
            plots.build(site, inner, boxes, roof, mains=2)
        else:
            boxes = plots.plan_shape(rng, w * block.shift(0.7, 1), d * block.shift(0.5, 0.82), 0.3)
            boxes = plots.boxes_at(boxes, 0, block.shift(0, d * 0.18))
            plots.build(site, inner, boxes, roof)
        plots.furnish_flat(site, inner, boxes[0], rng, 2.0)
        plots.scatter_trees(site, lot, block.style, rng)


def slabs(block: Block) -> None:
    """Apartment houses on lawns with car parks between."""
    rng, site = block.rng, block.site
    length, depth = block.parcel.size
    site.ground(block.parcel.box(0, 0, length, depth), "lawn" if rng.random() < 0.7 else "grass", tone(rng))
    plots.spots(site, block.parcel, ("dry_grass", "grass"), 0.3, rng)
    height = block.shift(8, 22)
    for s0, s1 in cuts(length, (32, 55), rng):
        for lot in fitting(block, block.parcel.cell((s0 + 3, 3, s1 - 3, depth - 3)), 20):
            if rng.random() < 0.3:
                car_park(block, lot)
            else:
                _slab(block, lot, height)
    plots.scatter_trees(site, block.parcel, block.style, rng, block.style.trees * 0.25)


def _slab(block: Block, lot: Parcel, height: float) -> None:
    """One apartment house, beside it a car park where there is room."""
    rng, (w, d) = block.rng, lot.size
    bar = block.shift(11, 15)
    wide, deep = (w, min(bar, d)) if rng.random() < 0.5 else (min(bar, w), d * block.shift(0.6, 0.95))
    if rng.random() < 0.3:
        wide, deep = w * 0.9, d * 0.8
    boxes = plots.plan_shape(rng, wide, deep, 0.85 if min(wide, deep) < 16 else 0.0)
    roof = plots.draw_roof(rng, block.style, height)
    plots.build(block.site, lot, boxes, roof)
    plots.furnish(block.site, lot, boxes, roof, rng)
    if w - wide > 10 and d > 12:
        car_park(block, lot.cell((wide + 3, 2, w, d)))
