"""What fills a block of a town or of the countryside: one function for every use."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.render import plots
from pipeline.render.elements import Box, Frame, Plan
from pipeline.render.plots import Roof, pick, tone
from pipeline.render.style import Style


@dataclass(frozen=True, slots=True)
class Block:
    """One block and everything needed to fill it."""

    frame: Frame
    """Its rectangle, the long side along s."""
    walls: NDArray[np.float64]
    """(K, 3): a x + b y <= c holds inside the block's quarter."""
    style: Style
    """How this place builds."""
    rng: Generator
    """Its own random numbers."""
    plan: Plan
    """Where things are added."""

    def holds(self, frame: Frame) -> bool:
        """Whether a lot lies wholly inside the quarter."""
        width, depth = frame.size
        corners = frame.box(0, 0, width, depth)
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


def two_rows(block: Block, size: tuple[float, float], gap: float = 0.0) -> Iterator[Frame]:
    """Lots in two rows, back to back, their streets on the long sides; `gap` m of alley between."""
    length, depth = block.frame.size
    half = (depth - gap) / 2
    for flip, t0 in ((False, 0.0), (True, depth - half)):
        for s0, s1 in cuts(length, size, block.rng):
            lot = block.frame.cell((s0, t0, s1, t0 + half), flip)
            front = lot.cell((0.0, 0.0, s1 - s0, half * 0.7))
            if block.holds(lot):
                yield lot
            elif block.holds(front):
                yield front


def yard(block: Block, lot: Frame) -> None:
    """A lot's own ground, with spots."""
    name = pick(block.rng, block.style.ground)
    width, depth = lot.size
    block.plan.ground(lot.box(0, 0, width, depth), name, tone(block.rng))
    plots.spots(block.plan, lot, ("soil", "dry_grass", "grass", "leaf_litter"), 0.7, block.rng)
    plots.litter(block.plan, lot, block.shift(0, 1.6), block.rng)


def detached(block: Block) -> None:
    """Houses in gardens."""
    for lot in two_rows(block, block.style.frontage):
        yard(block, lot)
        if block.rng.random() < 0.93:
            _house(block, lot)
        _garden(block, lot)


def _house(block: Block, lot: Frame) -> None:
    """A house, its drive and perhaps an outbuilding."""
    rng, (width, depth), plan = block.rng, lot.size, block.plan
    side = min(block.shift(1.2, 4), width * 0.15)
    setback = min(block.shift(4, 9), depth * 0.28)
    wide, deep = min(width - 2 * side, block.shift(10, 22)), min(depth * 0.58, block.shift(8, 17))
    left = block.shift(side, width - side - wide) if width - side - wide > side else side
    boxes = plots.boxes_at(plots.plan_shape(rng, wide, deep), left, setback)
    roof = plots.draw_roof(rng, block.style)
    _drive(block, lot, boxes, setback)
    plots.build(plan, lot, boxes, roof)
    plots.furnish(plan, lot, boxes, roof, rng)
    room = depth - setback - deep
    if room > 8 and rng.random() < 0.4:
        w, d = block.shift(2.8, 6.5), block.shift(2.8, 6)
        s = 0.8 if rng.random() < 0.5 else width - w - 0.8
        t = depth - d - block.shift(0.8, min(4, room - d - 1.5))
        plots.build(plan, lot, [(s, t, s + w, t + d)], plots.draw_roof(rng, block.style, 2.4))


def _drive(block: Block, lot: Frame, boxes: list[Box], setback: float) -> None:
    """A drive from the street to the house or past it, often with a car, and a path to the door."""
    rng, plan = block.rng, block.plan
    s0, _, s1, _ = boxes[0]
    name = ("concrete", "concrete", "old_asphalt", "paving", "gravel")[rng.integers(5)]
    wide = block.shift(2.8, 5.6)
    if rng.random() < 0.85:
        s = s0 if rng.random() < 0.5 else max(s1 - wide, s0)
        plan.pave(lot.box(s, -3, s + wide, setback + 0.5), name, tone(rng))
        if rng.random() < 0.5:
            plots.car(plan, lot, s + wide / 2, setback - 3, False, rng)
    middle = (s0 + s1) / 2
    plan.pave(lot.box(middle, -2, middle + 1.2, setback), "paving", tone(rng))
    if rng.random() < 0.5:
        top = max(box[3] for box in boxes)
        plan.pave(lot.box(middle - 3, top, middle + block.shift(1, 4), top + block.shift(2, 5)), "paving", tone(rng))


def _garden(block: Block, lot: Frame) -> None:
    """Trees, hedges, fences and sometimes a pool."""
    rng, plan, (width, depth) = block.rng, block.plan, lot.size
    name = "hedge" if rng.random() < 0.5 else "fence"
    thick, high = (block.shift(0.6, 1.4), 1.6) if name == "hedge" else (0.15, 1.7)
    if rng.random() < 0.6:
        plan.thing(lot.box(0, depth * 0.3, thick, depth), name, high, tone(rng))
    if rng.random() < 0.6:
        plan.thing(lot.box(0, depth - thick, width, depth), name, high, tone(rng))
    if rng.random() < 0.1:
        s, t = block.shift(2, max(width - 7, 2.1)), depth * 0.78
        plan.pave(lot.box(s - 1.2, t - 1.2, s + 6.2, t + 4.2), "paving", 1.1)
        plan.pave(lot.box(s, t, s + 5, t + 3), "pool", tone(rng))
    for _ in range(rng.poisson(0.6)):
        s, t = block.shift(1, width - 1), block.shift(depth * 0.7, depth - 1)
        plan.thing(lot.box(s, t, s + block.shift(0.6, 2.2), t + block.shift(0.6, 2.2)), "unit", 1.0, tone(rng, 0.4))
    plots.scatter_trees(plan, lot, block.style, rng, block.style.trees * block.shift(0.2, 1.3) * 0.8)


def narrow(block: Block) -> None:
    """Long narrow houses on narrow lots, a garage on the alley behind each."""
    rng, plan = block.rng, block.plan
    for lot in two_rows(block, block.style.frontage, 5.0):
        yard(block, lot)
        width, depth = lot.size
        gap, setback = block.shift(0.4, 1.0), block.shift(4, 7)
        boxes = [(gap, setback, width - gap, depth * block.shift(0.5, 0.68))]
        if rng.random() < 0.4:
            boxes.append((gap + width * 0.15, boxes[0][3] - 1, width - gap - 0.5, boxes[0][3] + block.shift(2, 5)))
        roof = plots.draw_roof(rng, block.style)
        plots.build(plan, lot, boxes, roof)
        plots.furnish(plan, lot, boxes, roof, rng)
        plan.pave(lot.box(width / 2 - 0.7, -2, width / 2 + 0.7, setback), "concrete", tone(rng))
        if rng.random() < 0.75:
            roof = plots.draw_roof(rng, block.style, 2.6)
            garage = (gap, depth - block.shift(5.5, 7.5), width - gap - block.shift(0, 1), depth - 0.4)
            plots.build(plan, lot, [garage], roof)
        elif rng.random() < 0.6:
            plots.car(plan, lot, width / 2, depth - 3, False, rng)
        plots.scatter_trees(plan, lot, block.style, rng, block.style.trees * 0.35)
    length, deep = block.frame.size
    plan.pave(block.frame.box(0, deep / 2 - 2.5, length, deep / 2 + 2.5), "old_asphalt", tone(rng))


def terrace(block: Block) -> None:
    """Rows of houses wall to wall, alike within a row."""
    rng, plan, style = block.rng, block.plan, block.style
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
        ridge_along_street(plan, lot, box, replace(roof, tone=roof.tone * tone(rng, 0.05)))
        plots.furnish(plan, lot, [box], roof, rng)
        if rng.random() < 0.5:
            plan.pave(lot.box(0.4, -2, 3.0, setback), "concrete", tone(rng))
            if rng.random() < 0.5:
                plots.car(plan, lot, 1.7, setback - 2.6, False, rng)
        if rng.random() < 0.4:
            plan.thing(lot.box(0, depth - 1, width, depth), "hedge", 1.5, tone(rng))
        if rng.random() < 0.3:
            plots.build(plan, lot, [(0.5, depth - 4.5, 3.4, depth - 1.5)], plots.draw_roof(rng, style, 2.3))
        plots.scatter_trees(plan, lot.cell((0, depth * 0.5, width, depth)), style, rng)


def ridge_along_street(plan: Plan, lot: Frame, box: Box, roof: Roof) -> None:
    """A house whose ridge follows the street even where the house is deeper than wide."""
    plots.build(plan, lot, [box], roof)
    building = plan.buildings[-1]
    part = building.parts[0]._replace(ring=lot.box(*box))
    plan.buildings[-1] = building._replace(parts=[part])


def perimeter(block: Block) -> None:
    """Houses wall to wall around a court, with wings into it; small blocks become one ring."""
    rng, plan, style = block.rng, block.plan, block.style
    length, depth = block.frame.size
    if not block.holds(block.frame):
        return infill(block)
    ring = min(block.shift(9, 14), depth / 3)
    plan.ground(block.frame.box(0, 0, length, depth), pick(rng, style.ground), tone(rng))
    court = block.frame.cell((ring, ring, length - ring, depth - ring))
    plots.spots(plan, court, ("grass", "lawn", "gravel", "soil"), 0.6, rng)
    if depth < 52 and rng.random() < 0.3:
        plots.build(plan, block.frame, around(length, depth, ring), plots.draw_roof(rng, style), mains=2)
    else:
        _row(block, block.frame, (0, length), ring)
        _row(block, block.frame.cell((0, 0, length, depth), True), (0, length), ring)
        side = block.frame.quarter_turn()
        _row(block, side, (ring, depth - ring), ring)
        _row(block, side.cell((0, 0, depth, length), True), (ring, depth - ring), ring)
    plots.scatter_trees(plan, court, style, rng)
    return None


def around(width: float, depth: float, bar: float) -> list[Box]:
    """Four bars around a court, those along the width first."""
    across: list[Box] = [(0.0, 0.0, width, bar), (0.0, depth - bar, width, depth)]
    return [*across, (0.0, 0.0, bar, depth), (width - bar, 0.0, width, depth)]


def _row(block: Block, frame: Frame, span: tuple[float, float], ring: float) -> None:
    """Houses along the street side of a frame, some with a wing into the court."""
    rng, plan, style = block.rng, block.plan, block.style
    for s0, s1 in cuts(span[1] - span[0], style.frontage, rng):
        if rng.random() < 0.05:
            continue
        box: Box = (span[0] + s0, 0.0, span[0] + s1, ring)
        roof = plots.draw_roof(rng, style)
        ridge_along_street(plan, frame, box, roof)
        plots.furnish(plan, frame, [box], roof, rng)
        inner = box[0] > ring + 1 and box[2] < frame.size[0] - ring - 1
        room = frame.size[1] / 2 - ring - 2
        if inner and room > 5 and rng.random() < 0.45:
            wing = (box[0], ring, box[0] + (s1 - s0) * block.shift(0.35, 0.6), ring + block.shift(4, min(room, 14)))
            low = plots.draw_roof(rng, style, roof.eave * block.shift(0.3, 0.8))
            plots.build(plan, frame, [wing], low)


def split(box: Box, size: float, rng: Generator) -> Iterator[Box]:
    """A rectangle cut again and again across its longer side, down to about `size` m."""
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


def infill(block: Block) -> None:
    """A grown quarter: plots of all sizes, mostly covered, houses often wall to wall, terraces at several heights."""
    _grown(block, float(np.mean(block.style.frontage)), 0.45, 0.0)


def shacks(block: Block) -> None:
    """Small houses at odd angles with narrow ways between."""
    _grown(block, float(np.mean(block.style.frontage)) * 0.9, 0.15, 0.16)


def _grown(block: Block, size: float, attached: float, turn: float) -> None:
    rng, plan = block.rng, block.plan
    length, depth = block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), pick(rng, block.style.ground), tone(rng))
    plots.spots(plan, block.frame, ("soil", "rubble", "grass", "gravel", "red_soil"), 0.8, rng)
    plots.litter(plan, block.frame, 1.0, rng)
    for box in split((0, 0, length, depth), size, rng):
        lot = block.frame.cell(box, bool(rng.random() < 0.5))
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


def _open_plot(block: Block, lot: Frame) -> None:
    """A plot without a building: a garden, rubble or a yard with things."""
    rng, plan = block.rng, block.plan
    yard(block, lot)
    plots.scatter_trees(plan, lot, block.style, rng, block.style.trees * block.shift(0, 3))
    for _ in range(rng.poisson(2)):
        s, t = block.shift(0, lot.size[0]), block.shift(0, lot.size[1])
        plan.thing(lot.box(s, t, s + block.shift(0.5, 2), t + block.shift(0.5, 2)), "rubble", 0.6, tone(rng, 0.3))


def _stepped(block: Block, lot: Frame) -> None:
    """A house that covers most of its lot, its parts at different heights and with different roofs."""
    rng, plan, style = block.rng, block.plan, block.style
    width, depth = lot.size
    if min(width, depth) < 2.5:
        return
    whole = rng.random() < 0.6
    boxes = [(0.0, 0.0, width, depth)] if whole else plots.plan_shape(rng, width, depth, 0.2)
    roof = plots.draw_roof(rng, style)
    plots.build(plan, lot, boxes, roof)
    if roof.shape != "flat":
        plots.furnish(plan, lot, boxes, roof, rng)
        return
    plots.furnish_flat(plan, lot, boxes[0], rng, 2.5)
    plots.litter(plan, lot.cell(boxes[0]), block.shift(0, 7), rng)
    s0, t0, s1, t1 = boxes[0]
    if rng.random() < 0.65 and min(s1 - s0, t1 - t0) > 4:
        upper = plots.draw_roof(rng, style)
        s, t = s0 + (s1 - s0) * block.shift(0.3, 0.7), t0 + (t1 - t0) * block.shift(0.3, 1.0)
        name = upper.material
        plan.thing(lot.box(s0 + 0.3, t0 + 0.3, s, t), name, block.shift(0.6, 2.8), upper.tone)
    if rng.random() < 0.15:
        plan.thing(lot.box(s0 + 1, t0 + 1, s0 + (s1 - s0) * 0.6, t0 + (t1 - t0) * 0.5), "tarp", 0.4, tone(rng))


def compound(block: Block) -> None:
    """Walled lots with flat-roofed houses, many around a court."""
    rng, plan = block.rng, block.plan
    for lot in two_rows(block, block.style.frontage):
        width, depth = lot.size
        yard(block, lot)
        for wall in ((0, 0, width, 0.3), (0, 0, 0.3, depth), (0, depth - 0.3, width, depth)):
            plan.thing(lot.box(*wall), "wall", 2.2, tone(rng))
        if rng.random() < 0.12:
            continue
        inner = lot.cell((0.3, 0.3, width - 0.3, depth - 0.3))
        w, d = inner.size
        roof = plots.draw_roof(rng, block.style)
        if min(w, d) > 13 and rng.random() < 0.35:
            bar = min(w, d) * block.shift(0.26, 0.34)
            boxes = around(w, d, bar)
            plots.build(plan, inner, boxes, roof, mains=2)
        else:
            boxes = plots.plan_shape(rng, w * block.shift(0.7, 1), d * block.shift(0.5, 0.82), 0.3)
            boxes = plots.boxes_at(boxes, 0, block.shift(0, d * 0.18))
            plots.build(plan, inner, boxes, roof)
        plots.furnish_flat(plan, inner, boxes[0], rng, 2.0)
        plots.scatter_trees(plan, lot, block.style, rng)


def slabs(block: Block) -> None:
    """Apartment houses on lawns with car parks between."""
    rng, plan = block.rng, block.plan
    length, depth = block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), "lawn" if rng.random() < 0.7 else "grass", tone(rng))
    plots.spots(plan, block.frame, ("dry_grass", "grass"), 0.3, rng)
    height = block.shift(8, 22)
    for s0, s1 in cuts(length, (32, 55), rng):
        lot = block.frame.cell((s0 + 3, 3, s1 - 3, depth - 3))
        if not block.holds(lot):
            continue
        if rng.random() < 0.3:
            _car_park(block, lot)
            continue
        w, d = lot.size
        bar = block.shift(11, 15)
        wide, deep = (w, bar) if rng.random() < 0.5 else (bar, d * block.shift(0.6, 0.95))
        if rng.random() < 0.3:
            wide, deep = w * 0.9, d * 0.8
        boxes = plots.plan_shape(rng, wide, deep, 0.85 if min(wide, deep) < 16 else 0.0)
        roof = plots.draw_roof(rng, block.style, height)
        plots.build(plan, lot, boxes, roof)
        plots.furnish(plan, lot, boxes, roof, rng)
        if w - wide > 10 and d > 12:
            _car_park(block, lot.cell((wide + 3, 2, w, d)))
    plots.scatter_trees(plan, block.frame, block.style, rng, block.style.trees * 0.25)


def _car_park(block: Block, lot: Frame) -> None:
    """Rows of marked bays, partly taken."""
    rng, plan, (width, depth) = block.rng, block.plan, lot.size
    plan.pave(lot.box(0, 0, width, depth), ("asphalt", "old_asphalt", "concrete")[rng.integers(3)], tone(rng))
    full = block.shift(0.05, 0.9)
    for t in np.arange(3.0, depth - 3, 8.5):
        for s in np.arange(1.5, width - 2.0, 2.6):
            plan.pave(lot.box(s - 0.07, t - 2.4, s + 0.07, t + 2.4), "white_paint")
            if rng.random() < full:
                plots.car(plan, lot, s + 1.3, t + float(rng.normal(0, 0.25)), False, rng)


def _open_use(block: Block, cells: tuple[float, float], make: Callable[[Block, Frame], None]) -> None:
    """Fill whatever part of the block lies inside the quarter with open plots."""
    length, depth = block.frame.size
    for s0, s1 in cuts(length, cells, block.rng):
        make(block, block.frame.cell((s0, 0, s1, depth)))


def parking(block: Block) -> None:
    """Nothing but parked cars."""
    _open_use(block, (50, 90), _car_park)


def halls(block: Block) -> None:
    """Large halls in paved yards, with containers, lorries and cars."""
    rng, plan = block.rng, block.plan
    length, depth = block.frame.size
    for s0, s1 in cuts(length, (40, 110), rng):
        lot = block.frame.cell((s0, 0, s1, depth))
        if not block.holds(lot):
            continue
        w, d = lot.size
        name = ("concrete", "asphalt", "old_asphalt", "gravel")[rng.integers(4)]
        plan.pave(lot.box(1, 1, w - 1, d - 1), name, tone(rng))
        plots.spots(plan, lot, ("soil", "patch_asphalt", "gravel"), 0.15, rng)
        margin = block.shift(5, 14)
        wide, deep = (w - 2 * margin) * block.shift(0.6, 1), (d - 2 * margin) * block.shift(0.5, 1)
        boxes = plots.boxes_at(plots.plan_shape(rng, wide, deep, 0.6), margin, margin)
        roof = plots.draw_roof(rng, block.style)
        roof = replace(roof, eave=max(roof.eave, 5.0), slope=min(roof.slope, 0.22))
        plots.build(plan, lot, boxes, roof)
        _rooflights(block, lot, boxes[0])
        _clutter(block, lot, margin)


def _rooflights(block: Block, lot: Frame, box: Box) -> None:
    """Strips or a grid of rooflights on a hall."""
    rng, plan, (s0, t0, s1, t1) = block.rng, block.plan, box
    if rng.random() < 0.5:
        plots.furnish_flat(plan, lot, box, rng, 0.8)
    if rng.random() < 0.5:
        step = block.shift(5, 10)
        for s in np.arange(s0 + step, s1 - step / 2, step):
            plan.thing(lot.box(s, t0 + 2, s + 1.0, t1 - 2), "metal_white", 0.2, tone(rng, 0.05))


def _clutter(block: Block, lot: Frame, margin: float) -> None:
    """Containers, lorries and parked cars around a hall."""
    rng, plan, (width, depth) = block.rng, block.plan, lot.size
    names = ("container_red", "container_blue", "container_grey", "car_white")
    for _ in range(rng.poisson(5)):
        s, t = block.shift(2, width - 10), block.shift(1.5, max(margin - 3.5, 1.6))
        if rng.random() < 0.5:
            t = depth - t - 2.5
        long = 12.2 if rng.random() < 0.5 else 6.1
        plan.thing(lot.box(s, t, s + long, t + 2.45), names[rng.integers(4)], 2.6, tone(rng))
    for s in np.arange(3, width - 3, 2.7):
        if rng.random() < 0.3:
            plots.car(plan, lot, s, depth - 4, False, rng)


def retail(block: Block) -> None:
    """One large shop behind its car park."""
    length, depth = block.frame.size
    if not block.holds(block.frame):
        return parking(block)
    at = length * block.shift(0.4, 0.6)
    _car_park(block, block.frame.cell((0, 0, at, depth)))
    lot = block.frame.cell((at, 2, length - 3, depth - 3))
    block.plan.pave(lot.box(0, 0, *lot.size), "concrete", tone(block.rng))
    boxes = plots.boxes_at(plots.plan_shape(block.rng, lot.size[0] * 0.9, lot.size[1] * 0.9, 0.5), 2, 2)
    roof = Roof("flat", pick(block.rng, block.style.flat), tone(block.rng), block.shift(5, 9), 0.0)
    plots.build(block.plan, lot, boxes, roof)
    plots.furnish_flat(block.plan, lot, boxes[0], block.rng, 0.7)
    return None


def park(block: Block) -> None:
    """Grass, paths and trees."""
    rng, plan, (length, depth) = block.rng, block.plan, block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), "grass" if rng.random() < 0.5 else "lawn", tone(rng))
    plots.spots(plan, block.frame, ("dry_grass", "meadow", "soil", "lawn"), 0.4, rng)
    for _ in range(3):
        s, t = rng.uniform(0, length, 2), rng.uniform(-0.2, 1.2, 2) * depth
        path = np.array([(s[0], t[0]), (s[1], t[1]), (s[1] + 2, t[1]), (s[0] + 2, t[0])])
        plan.pave(block.frame.at(path), "gravel", tone(rng))
    plots.scatter_trees(plan, block.frame, block.style, rng, block.shift(0.2, 1.2))


def wood(block: Block) -> None:
    """Trees, mostly closed."""
    plan, (length, depth) = block.plan, block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), "leaf_litter", tone(block.rng))
    plots.spots(plan, block.frame, ("meadow", "grass", "leaf_litter", "soil"), 1.0, block.rng)
    plots.scatter_trees(plan, block.frame, block.style, block.rng, block.shift(1.5, 4.0))


def field(block: Block) -> None:
    """Crops, meadows and ploughed land in strips."""
    _open_use(block, (30, 120), _strip)


def _strip(block: Block, lot: Frame) -> None:
    rng, plan, (width, depth) = block.rng, block.plan, lot.size
    name = ("crop_green", "crop_yellow", "crop_dark", "plough", "meadow", "dry_grass", "soil", "grass")[rng.integers(8)]
    shade = tone(rng)
    plan.ground(lot.box(0, 0, width, depth), name, shade)
    if name.startswith(("crop", "plough")):
        step = float(rng.choice([0.8, 1.6, 3.2, 12.0]))
        for s in np.arange(0.5, width, step):
            plan.ground(lot.box(s, 0.5, s + step * 0.4, depth - 0.5), name, shade * 0.88)
    plots.spots(plan, lot, ("meadow", "soil", "dry_grass"), 0.08, rng)
    if rng.random() < 0.5:
        edge = lot.cell((0, 0, min(4, width), depth))
        plots.scatter_trees(plan, edge, block.style, rng, 2.0)


def greenhouses(block: Block) -> None:
    """Rows of low plastic tunnels over crops: no buildings."""
    rng, plan, (length, depth) = block.rng, block.plan, block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), "soil", tone(rng))
    step = block.shift(2.2, 4.0)
    for s in np.arange(2, length - 3, step):
        plan.thing(block.frame.box(s, 3, s + step * 0.6, depth - 3), "plastic", 0.5, tone(rng, 0.05))


def farm(block: Block) -> None:
    """A farmyard in its fields."""
    rng, plan, (length, depth) = block.rng, block.plan, block.frame.size
    field(block)
    at = block.shift(0, max(length - 75, 0))
    yard_frame = block.frame.cell((at, 0, min(at + 75, length), min(65, depth)))
    if not block.holds(yard_frame):
        return
    w, d = yard_frame.size
    plan.ground(yard_frame.box(0, 0, w, d), pick(rng, block.style.ground), tone(rng))
    plan.ground(plots.blob(yard_frame, w / 2, d / 2, 18, rng), "gravel", tone(rng))
    for box in split((4, 4, w - 4, d - 4), 26, rng):
        if rng.random() < 0.35:
            continue
        lot = yard_frame.cell(box).turned(float(rng.normal(0, 0.1)))
        wide, deep = lot.size[0] * block.shift(0.5, 0.9), lot.size[1] * block.shift(0.4, 0.8)
        boxes = plots.plan_shape(rng, wide, deep, 0.6)
        roof = plots.draw_roof(rng, block.style)
        plots.build(plan, lot, boxes, roof)
        plots.furnish(plan, lot, boxes, roof, rng)
    plots.scatter_trees(plan, yard_frame, block.style, rng, 0.4)


def bare(block: Block) -> None:
    """Building land, quarry, rubble: bright ground without buildings."""
    rng, plan, (length, depth) = block.rng, block.plan, block.frame.size
    name = ("soil", "red_soil", "sand", "white_ground", "rock", "gravel")[rng.integers(6)]
    plan.ground(block.frame.box(0, 0, length, depth), name, tone(rng))
    plots.spots(plan, block.frame, ("soil", "rock", "grass", "dry_grass", "white_ground", "rubble"), 1.0, rng)
    for _ in range(rng.poisson(6)):
        s, t, r = block.shift(0, length), block.shift(0, depth), block.shift(0.7, 4)
        plan.thing(plots.blob(block.frame, s, t, r, rng), "rubble", block.shift(0.3, 1.5), tone(rng, 0.25))
    if rng.random() < 0.4:
        s, t = block.shift(5, length * 0.6), block.shift(5, depth * 0.5)
        plan.pave(block.frame.box(s, t, s + block.shift(10, 30), t + block.shift(10, 25)), "concrete", tone(rng))
    plots.scatter_trees(plan, block.frame, block.style, rng, 0.08)


def sport(block: Block) -> None:
    """Courts and a pitch."""
    rng, plan, (length, depth) = block.rng, block.plan, block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), "grass", tone(rng))
    for s0, s1 in cuts(length, (20, 70), rng):
        name = ("turf", "clay_court", "blue_court", "green_court", "sand")[rng.integers(5)]
        box = (s0 + 3, 4.0, s1 - 3, depth - 4)
        plan.pave(block.frame.box(*box), name, tone(rng))
        _lines(block, box)
    plots.scatter_trees(plan, block.frame.cell((0, depth - 4, length, depth)), block.style, rng, 1.0)


def _lines(block: Block, box: Box) -> None:
    """The white lines of a court."""
    s0, t0, s1, t1 = box[0] + 2, box[1] + 2, box[2] - 2, box[3] - 2
    for s in (s0, (s0 + s1) / 2, s1):
        block.plan.pave(block.frame.box(s - 0.08, t0, s + 0.08, t1), "white_paint")
    for t in (t0, t1):
        block.plan.pave(block.frame.box(s0, t - 0.08, s1, t + 0.08), "white_paint")


def water(block: Block) -> None:
    """A pond in a meadow."""
    plan, (length, depth) = block.plan, block.frame.size
    plan.ground(block.frame.box(0, 0, length, depth), "meadow", tone(block.rng))
    for _ in range(3):
        s, t = length * block.shift(0.35, 0.65), depth * block.shift(0.4, 0.6)
        plan.ground(plots.blob(block.frame, s, t, depth * 0.3, block.rng), "water")
    plots.scatter_trees(plan, block.frame.cell((0, 0, length, depth * 0.15)), block.style, block.rng, 1.5)


_ALL = (
    detached,
    narrow,
    terrace,
    perimeter,
    infill,
    shacks,
    compound,
    slabs,
    halls,
    retail,
    parking,
    park,
    wood,
    field,
    greenhouses,
    farm,
    bare,
    sport,
    water,
)
USES: dict[str, Callable[[Block], None]] = {use.__name__: use for use in _ALL}
"""What a block can be used for, by name."""
