"""Buildings on their lots: shapes, roofs and what stands on and around them."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.random import Generator

from pipeline.render.arrays import Points
from pipeline.render.elements import Box, Building, Parcel, Part, Site, Tree, outline
from pipeline.render.materials import NUMBER
from pipeline.render.roofs import SHAPES
from pipeline.render.style import Style, Weights
from pipeline.render.trees import SPECIES

LITTER = ("hedge", "hedge", "fence", "unit", "rubble", "wall", "tank", "tarp", "metal_grey", "car_white", "leaf_dark")
CARS = (*["car_white", "car_silver", "car_black", "car_grey"] * 3, "car_red", "car_blue")


def pick(rng: Generator, weights: Weights) -> str:
    """One name, drawn by its weight."""
    total = sum(weight for _, weight in weights)
    left = rng.random() * total
    for name, weight in weights:
        left -= weight
        if left < 0:
            return name
    return weights[-1][0]


def tone(rng: Generator, spread: float = 0.12) -> float:
    """A brightness factor near 1."""
    return float(np.exp(rng.normal(0, spread)))


@dataclass(frozen=True, slots=True)
class Roof:
    """What one building is covered with."""

    shape: str
    """Name in ``roofs.SHAPES``."""
    material: str
    """Name in ``materials.MATERIALS``."""
    tone: float
    """Factor on its brightness."""
    eave: float
    """Height of the eaves, m."""
    slope: float
    """Rise per metre; 0 for flat roofs."""


def draw_roof(rng: Generator, style: Style, eave: float | None = None) -> Roof:
    """A roof as this style builds it."""
    shape = pick(rng, style.roofs)
    height = float(rng.uniform(*style.height)) if eave is None else eave
    if shape == "flat":
        return Roof(shape, pick(rng, style.flat), tone(rng, 0.15), height, 0.0)
    low = shape in ("shed", "saw", "vault")
    slope = rng.uniform(0.04, 0.2) if low else rng.uniform(0.25, 0.8)
    return Roof(shape, pick(rng, style.pitched), tone(rng, 0.15), height, float(slope))


def build(site: Site, parcel: Parcel, boxes: list[Box], roof: Roof, mains: int = 1) -> None:
    """Add one building of local rectangles: ``mains`` that do not overlap, then wings that do not either."""
    parts = [_part(parcel, box, roof, int(number >= mains)) for number, box in enumerate(boxes)]
    site.buildings.append(Building(shapely.transform(outline(boxes), parcel.at), parts))


def _part(parcel: Parcel, box: Box, roof: Roof, layer: int) -> Part:
    """The ridge runs along the longer side."""
    s0, t0, s1, t1 = box
    corners = [(s0, t0), (s1, t0), (s1, t1), (s0, t1)]
    if t1 - t0 > s1 - s0:
        corners = corners[1:] + corners[:1]
    ring = parcel.at(corners)
    return Part(ring, layer, SHAPES.index(roof.shape), NUMBER[roof.material], roof.tone, roof.eave, roof.slope)


def plan_shape(rng: Generator, width: float, depth: float, plain: float = 0.45) -> list[Box]:
    """Rectangles of an I, L, T, U or Z plan within width x depth, the main bar first."""
    if rng.random() < plain or min(width, depth) < 6:
        return [(0.0, 0.0, width, depth)]
    bar = float(rng.uniform(0.45, 0.62)) * depth
    arm = float(rng.uniform(0.34, 0.48)) * width
    main: Box = (0.0, depth - bar, width, depth)
    kind = rng.integers(5)
    reach = float(rng.uniform(0.0, 0.35)) * (depth - bar)
    if kind == 0:
        return [main, (0.0, reach, arm, depth)]
    if kind == 1:
        return [main, (width - arm, reach, width, depth)]
    if kind == 2:
        s = float(rng.uniform(0.15, 0.85)) * (width - arm)
        return [main, (s, reach, s + arm, depth)]
    narrow = min(arm, width * 0.32)
    if kind == 3:
        return [main, (0.0, reach, narrow, depth), (width - narrow, 0.0, width, depth)]
    return [(0.0, 0.0, width - arm * 0.6, bar), (arm, bar * 0.35, width, depth)]


def boxes_at(boxes: list[Box], s: float, t: float) -> list[Box]:
    """The rectangles moved by (s, t)."""
    return [(a + s, b + t, c + s, d + t) for a, b, c, d in boxes]


def furnish_flat(site: Site, parcel: Parcel, box: Box, rng: Generator, amount: float = 1.0) -> None:
    """Units, rooflights, stair heads and tanks on a flat roof."""
    s0, t0, s1, t1 = box
    area = (s1 - s0) * (t1 - t0)
    for _ in range(min(rng.poisson(amount * area / 90), 30)):
        name = ("unit", "unit", "glass", "tank", "solar", "roof_stained")[rng.integers(6)]
        w, d = rng.uniform(0.7, 2.2, 2)
        if s1 - s0 < w + 2 or t1 - t0 < d + 2:
            continue
        s, t = rng.uniform(s0 + 0.8, s1 - w - 0.8), rng.uniform(t0 + 0.8, t1 - d - 0.8)
        site.thing(parcel.box(s, t, s + w, t + d), name, float(rng.uniform(0.2, 1.4)), tone(rng))


def furnish_pitched(site: Site, parcel: Parcel, box: Box, rng: Generator) -> None:
    """A chimney, panels or rooflights on a sloping roof."""
    s0, t0, s1, t1 = box
    along_s = s1 - s0 >= t1 - t0
    length, span = (s1 - s0, t1 - t0) if along_s else (t1 - t0, s1 - s0)
    if length < 5 or span < 4:
        return

    def put(u: float, v: float, w: float, d: float, name: str, height: float) -> None:
        corners = (s0 + u, t0 + v, s0 + u + w, t0 + v + d) if along_s else (s0 + v, t0 + u, s0 + v + d, t0 + u + w)
        site.thing(parcel.box(*corners), name, height, tone(rng))

    if rng.random() < 0.5:
        put(rng.uniform(0.5, length - 1.5), span / 2 + rng.uniform(-0.8, 0.2), 0.8, 0.7, "brick", 1.2)
    if rng.random() < 0.12:
        put(length * 0.2, span * 0.08, length * rng.uniform(0.3, 0.55), span * rng.uniform(0.2, 0.34), "solar", 0.1)
    for _ in range(rng.integers(0, 4) if rng.random() < 0.4 else 0):
        side = rng.choice([0.15, 0.68])
        name = "glass" if rng.random() < 0.6 else "unit"
        put(rng.uniform(0.5, length - 1.6), span * side, rng.uniform(0.6, 1.0), 0.9, name, 0.1)


def furnish(site: Site, parcel: Parcel, boxes: list[Box], roof: Roof, rng: Generator) -> None:
    """What stands on the main part of a roof."""
    if roof.shape == "flat":
        furnish_flat(site, parcel, boxes[0], rng)
    elif roof.shape in ("gable", "hip"):
        furnish_pitched(site, parcel, boxes[0], rng)


def car(site: Site, parcel: Parcel, s: float, t: float, along_s: bool, rng: Generator) -> None:
    """A parked car with its centre at (s, t)."""
    body, cabin = np.array([4.4, 1.8]) * rng.uniform(0.92, 1.15), np.array([2.3, 1.5])
    if not along_s:
        body, cabin = body[::-1], cabin[::-1]
    name = CARS[rng.integers(len(CARS))]
    site.thing(parcel.box(s - body[0] / 2, t - body[1] / 2, s + body[0] / 2, t + body[1] / 2), name, 0.9)
    site.thing(parcel.box(s - cabin[0] / 2, t - cabin[1] / 2, s + cabin[0] / 2, t + cabin[1] / 2), "glass", 1.4)
    roof = cabin * (0.6, 0.92) if along_s else cabin * (0.92, 0.6)
    site.thing(parcel.box(s - roof[0] / 2, t - roof[1] / 2, s + roof[0] / 2, t + roof[1] / 2), name, 1.45)


def tree(site: Site, parcel: Parcel, s: float, t: float, style: Style, rng: Generator) -> None:
    """A tree with its stem at (s, t)."""
    name = pick(rng, style.leaves)
    radius = float(np.clip(rng.lognormal(1.0, 0.45), 0.8, 7.5))
    species = {"conifer": "conifer", "twigs": "bare"}.get(name, "broadleaf")
    height = radius * float(rng.uniform(1.5, 2.6)) * (1.6 if species == "conifer" else 1.0)
    kind = SPECIES.index(species), NUMBER[name], tone(rng, 0.15)
    site.trees.append(Tree(parcel.at([(s, t)]), radius, min(height, 17.0), *kind))


def scatter_trees(site: Site, parcel: Parcel, style: Style, rng: Generator, density: float | None = None) -> None:
    """Trees anywhere in the parcel, ``density`` for every 100 m²."""
    width, depth = parcel.size
    number = rng.poisson((style.trees if density is None else density) * width * depth / 100)
    for s, t in rng.uniform(0, 1, (min(number, 900), 2)):
        tree(site, parcel, s * width, t * depth, style, rng)


def blob(parcel: Parcel, s: float, t: float, radius: float, rng: Generator) -> Points:
    """(16, 2) ring of an irregular spot."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    bumps = rng.normal(0, 1, 4) @ [np.cos(angle), np.sin(2 * angle), np.cos(2 * angle + 1), np.sin(3 * angle)]
    reach = radius * np.exp(0.22 * bumps)
    stretch = rng.uniform(0.6, 1.4)
    return parcel.at(np.column_stack([s + np.cos(angle) * reach * stretch, t + np.sin(angle) * reach]))


def litter(site: Site, parcel: Parcel, amount: float, rng: Generator) -> None:
    """Small things that lie about: bins, planks, bushes, toys, stones; ``amount`` for every 100 m²."""
    width, depth = parcel.size
    number = min(rng.poisson(amount * width * depth / 100), 60)
    scale = (max(width - 1, 0), max(depth - 1, 0), 1, 1)
    for s, t, w, d in rng.uniform(0, 1, (number, 4)) * scale:
        name = LITTER[rng.integers(len(LITTER))]
        site.thing(parcel.box(s, t, s + 0.3 + 1.3 * w * w, t + 0.3 + 1.3 * d * d), name, 0.3 + w, tone(rng, 0.4))


def pole(site: Site, parcel: Parcel, s: float, t: float) -> None:
    """A lamp or power pole, seen mostly by its shadow."""
    site.thing(parcel.box(s - 0.12, t - 0.12, s + 0.12, t + 0.12), "fence", 8.0)


def spots(site: Site, parcel: Parcel, names: tuple[str, ...], amount: float, rng: Generator) -> None:
    """Worn or wet spots on soft ground, ``amount`` for every 100 m²."""
    width, depth = parcel.size
    for _ in range(min(rng.poisson(amount * width * depth / 100), 80)):
        ring = blob(parcel, rng.uniform(0, width), rng.uniform(0, depth), rng.lognormal(0.7, 0.5), rng)
        site.ground(ring, names[rng.integers(len(names))], tone(rng))
