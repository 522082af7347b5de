"""Where things are: an endless world of quarters, blocks and lots, drawn from one seed and read by any view.

Quarters are the cells of a jittered Voronoi diagram, each with its own direction of streets; avenues run between them.
A quarter is cut into blocks by streets, a block is filled by its use. Every quarter and block has its own
random numbers, so what stands at a place never depends on the view that shows it. Last, one smooth warp bends
all streets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.render.arrays import Points
from pipeline.render.blocks import Block
from pipeline.render.elements import Building, Parcel, Patch, Site
from pipeline.render.materials import NUMBER
from pipeline.render.plots import car, litter, pick, pole, scatter_trees, spots, tone, tree
from pipeline.render.style import STYLES, Style
from pipeline.render.uses import USES
from pipeline.render.view import Bounds

WAVE = 430.0
"""Length of the waves that bend streets, m."""
_OFFSET = 1 << 20
"""Makes cell numbers of either sign valid parts of a seed."""


@dataclass(frozen=True, slots=True)
class World:
    """An endless place. Coordinates are metres east (x) and north (y) of its own origin."""

    seed: int
    """Any non-negative integer; equal seeds give equal worlds."""
    style: str = "auto"
    """A name in ``style.STYLES``, or ``auto``: drawn by the seed."""

    def __post_init__(self) -> None:
        """Refuse what no world can be made of."""
        if self.seed < 0:
            raise InputError(f"seed: {self.seed} is negative; the nearest seed is 0")
        if self.style != "auto" and self.style not in STYLES:
            raise InputError(f"style: {self.style!r} is not known; choose auto or one of {', '.join(STYLES)}")

    @property
    def habits(self) -> Style:
        """The style in force."""
        if self.style != "auto":
            return STYLES[self.style]
        names = list(STYLES)
        return STYLES[names[int(np.random.default_rng([self.seed, 1]).integers(len(names)))]]


class Quarter(NamedTuple):
    """One cell of the diagram."""

    ring: Points
    """(N, 2) convex, m, without its share of the avenues, before the warp."""
    walls: NDArray[np.float64]
    """(N, 3): a x + b y <= c inside."""
    centre: Points
    """(2,) m."""
    angle: float
    """Direction of its streets, rad."""
    key: tuple[int, int]
    """Its cell."""


def contents(world: World, bounds: Bounds) -> Site:
    """All that stands or lies within ``bounds`` (left, bottom, right, top; m), in drawing order and world coordinates.

    Whole blocks are returned, so much of it may lie outside.
    """
    reach = 1.1 * world.habits.bend * WAVE / (2 * np.pi) + 1.0
    left, bottom, right, top = bounds
    wide = (left - reach, bottom - reach, right + reach, top + reach)
    site = Site()
    for quarter in _quarters(world, wide):
        site.paved += _avenue_lines(world, quarter.key)
        for block in _block_numbers(world, quarter, wide):
            _extend(site, _filled_block(world, quarter.key, block))
    return site


def _extend(site: Site, other: Site) -> None:
    site.streets += other.streets
    site.base += other.base
    site.natural += other.natural
    site.paved += other.paved
    site.details += other.details
    site.buildings += other.buildings
    site.trees += other.trees


def _rng(world: World, *key: int) -> np.random.Generator:
    return np.random.default_rng([world.seed, *(number + _OFFSET for number in key)])


def _seed_point(world: World, row: int, col: int) -> Points:
    size = world.habits.quarter
    return (np.array([col, row]) + _rng(world, 2, row, col).uniform(-0.28, 0.28, 2)) * size


def _quarters(world: World, bounds: Bounds) -> Iterator[Quarter]:
    """Quarters whose cells may meet the bounds, in the order of their numbers."""
    size, box = world.habits.quarter, shapely.box(*bounds)
    for row in range(int(np.floor(bounds[1] / size)) - 1, int(np.ceil(bounds[3] / size)) + 2):
        for col in range(int(np.floor(bounds[0] / size)) - 1, int(np.ceil(bounds[2] / size)) + 2):
            quarter = _quarter(world, row, col)
            if shapely.Polygon(quarter.ring).intersects(box):
                yield quarter


@lru_cache(maxsize=256)
def _quarter(world: World, row: int, col: int) -> Quarter:
    """The Voronoi cell of a seed point, cut back by half an avenue."""
    centre = _seed_point(world, row, col)
    rng = _rng(world, 3, row, col)
    near = [_seed_point(world, row + i, col + j) for i in range(-2, 3) for j in range(-2, 3) if (i, j) != (0, 0)]
    toward = np.array(near) - centre
    distance = np.hypot(toward[:, 0], toward[:, 1])
    normal = toward / distance[:, None]
    width = float(np.mean(world.habits.avenue)) / 2
    offset = (normal * centre).sum(axis=1) + distance / 2 - width
    walls = np.column_stack([normal, offset])
    turn = rng.choice([0, 0, 0.3, -0.25, 0.7, np.pi / 2]) + rng.normal(0, 0.03)
    angle = float(_rng(world, 4).uniform(0, np.pi) + turn)
    return Quarter(_convex(walls, centre), walls, centre, angle, (row, col))


def _convex(walls: NDArray[np.float64], centre: Points) -> Points:
    """The ring of the half-planes' intersection: those crossings of two walls that lie within all, by angle."""
    i, j = np.triu_indices(len(walls), 1)
    (a, b, c), (d, e, f) = walls[i].T, walls[j].T
    determinant = a * e - b * d
    cross = np.abs(determinant) > 1e-9
    a, b, c, d, e, f, determinant = (values[cross] for values in (a, b, c, d, e, f, determinant))
    points = np.column_stack([c * e - b * f, a * f - c * d]) / determinant[:, None]
    points = points[(points @ walls[:, :2].T <= walls[:, 2] + 1e-9).all(axis=1)]
    turn = np.arctan2(*(points - centre).T[::-1])
    return np.asarray(points[np.argsort(turn)])


@lru_cache(maxsize=256)
def _streets(world: World, key: tuple[int, int]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Intervals that blocks take along and across the quarter's direction, m from its centre."""
    rng, style = _rng(world, 5, *key), world.habits
    street = float(rng.uniform(*style.street))

    def intervals(size: tuple[float, float]) -> list[tuple[float, float]]:
        at, reach, found = -style.quarter * rng.uniform(1.0, 1.3), style.quarter * 1.3, []
        while at < reach:
            length = float(rng.uniform(*size))
            found.append((at, at + length))
            at += length + street
        return found

    return intervals(style.block[0]), intervals(style.block[1])


def _axes(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@lru_cache(maxsize=256)
def _avenue_lines(world: World, key: tuple[int, int]) -> list[Patch]:
    """Lines along the middle of the avenues around a quarter; each side draws its own, so most are double."""
    quarter, rng = _quarter(world, *key), _rng(world, 9, *key)
    middle = float(np.mean(world.habits.avenue)) / 2
    if rng.random() < 0.35 or middle < 5:
        return []
    name, offset = str(rng.choice(["white_paint", "yellow_paint"])), middle - float(rng.uniform(0.1, 0.3))
    found = []
    for here, there in zip(quarter.ring, np.roll(quarter.ring, -1, axis=0), strict=True):
        along = (there - here) / np.hypot(*(there - here))
        out = np.array([along[1], -along[0]])
        steps = np.arange(0, np.hypot(*(there - here)), 8.0)[:, None] * along + here
        for start in steps:
            line = (
                start
                + out * offset
                + np.array([0, 8.0, 8.0, 0])[:, None] * along
                + np.array([0, 0, 0.15, 0.15])[:, None] * out
            )
            found.append(Patch(line, NUMBER[name], 0.95, 0.0))
    return _bent_patches(world, found)


def _block_parcel(world: World, quarter: Quarter, number: tuple[int, int]) -> Parcel:
    along, across = _streets(world, quarter.key)
    (s0, s1), (t0, t1) = along[number[0]], across[number[1]]
    axes = _axes(quarter.angle)
    return Parcel(quarter.centre + np.array([s0, t0]) @ axes, axes, (s1 - s0, t1 - t0))


def _block_numbers(world: World, quarter: Quarter, bounds: Bounds) -> list[tuple[int, int]]:
    """Blocks of a quarter that meet the bounds."""
    along, across = _streets(world, quarter.key)
    axes = _axes(quarter.angle)
    corner = np.array([[(s0, t0), (s1, t0), (s1, t1), (s0, t1)] for s0, s1 in along for t0, t1 in across])
    boxes = shapely.polygons(quarter.centre + corner @ axes)
    seen = shapely.Polygon(quarter.ring).intersection(shapely.box(*bounds))
    met = np.flatnonzero(shapely.intersects(boxes, seen))
    return [(int(n) // len(across), int(n) % len(across)) for n in met]


@lru_cache(maxsize=256)
def _filled_block(world: World, key: tuple[int, int], number: tuple[int, int]) -> Site:
    """One filled block, cut to its quarter and warped."""
    quarter = _quarter(world, *key)
    parcel = _block_parcel(world, quarter, number)
    rng, style, site = _rng(world, 6, *key, *number), world.habits, Site()
    kerb = float(rng.uniform(2.0, 4.5)) if style.street[0] >= 5.5 else 0.6
    width, depth = parcel.size
    _pave_streets(site, parcel, style, kerb, (_rng(world, 8, *key), rng))
    inner = parcel.cell((kerb, kerb, width - kerb, depth - kerb))
    walls = quarter.walls - np.array([0, 0, kerb])
    block = Block(inner, walls, style, rng, site)
    if not block.holds(inner):
        _fill_corner(block)
    USES[pick(rng, style.uses)](block)
    if style.street[0] >= 5.5 and rng.random() < 0.7:
        _street_furniture(site, parcel, style, rng)
    return _warped(world, _clipped(site, quarter))


def _fill_corner(block: Block) -> None:
    """What lies under a block that an avenue cuts: its lots leave odd corners."""
    width, depth = block.parcel.size
    block.site.ground(block.parcel.box(0, 0, width, depth), pick(block.rng, block.style.ground), tone(block.rng))
    spots(block.site, block.parcel, ("grass", "soil", "lawn", "dry_grass", "gravel"), 0.6, block.rng)
    litter(block.site, block.parcel, 0.2, block.rng)
    scatter_trees(block.site, block.parcel, block.style, block.rng, block.style.trees * 0.25)


def _pave_streets(
    site: Site, parcel: Parcel, style: Style, kerb: float, rngs: tuple[np.random.Generator, np.random.Generator]
) -> None:
    """The street around the block, its pavement, markings and worn patches; streets of a quarter are alike."""
    common, rng = rngs
    width, depth = parcel.size
    half = style.street[1]
    name, shade = pick(common, style.road), tone(common, 0.08)
    site.streets.append(Patch(parcel.box(-half, -half, width + half, depth + half), NUMBER[name], shade, 0.0))
    walk = ("concrete", "paving", "concrete")[common.integers(3)]
    verge = pick(common, (*style.ground, (walk, 4))) if kerb > 1 else name
    site.base.append(Patch(parcel.box(0, 0, width, depth), NUMBER[verge], tone(common), 0.0))
    if kerb > 1:
        inset, shade_walk = kerb - 1.6, tone(common)
        site.base.append(Patch(parcel.box(inset, inset, width - inset, depth - inset), NUMBER[walk], shade_walk, 0.0))
    middle = -float(np.mean(style.street)) / 2
    if style.street[0] >= 5.5 and rng.random() < 0.6:
        for s in np.arange(4.0, width - 4, 9.0):
            site.pave(parcel.box(s, middle - 0.08, s + 3.5, middle + 0.08), "white_paint", 0.9)
    for _ in range(rng.poisson(3)):
        s, t = rng.uniform(0, width), middle + rng.uniform(-2, 2)
        site.pave(parcel.box(s, t, s + rng.uniform(1, 12), t + rng.uniform(0.6, 2.2)), name, shade * tone(rng, 0.2))


def _street_furniture(site: Site, parcel: Parcel, style: Style, rng: np.random.Generator) -> None:
    """Street trees and cars parked along the kerb."""
    width, _ = parcel.size
    for s in np.arange(4.0, width - 4, rng.uniform(8, 16)):
        if rng.random() < 0.35 * min(style.trees, 1.5):
            tree(site, parcel, s, 0.8, style, rng)
    for s in np.arange(6.0, width - 4, rng.uniform(25, 45)):
        pole(site, parcel, s, 0.5)
    for s in np.arange(5.0, width - 5, 6.2):
        if rng.random() < 0.3:
            car(site, parcel, s, -1.1, True, rng)


def _whole(rings: list[Points], quarter: Quarter, room: float = 0.0) -> list[bool]:
    """Whether each ring lies wholly inside the quarter, ``room`` m of its avenues included."""
    if not rings:
        return []
    inside = (np.concatenate(rings) @ quarter.walls[:, :2].T <= quarter.walls[:, 2] + room).all(axis=1)
    starts = np.cumsum([0] + [len(ring) for ring in rings[:-1]])
    return [bool(whole) for whole in np.logical_and.reduceat(inside, starts)]


def _cut(patches: list[Patch], quarter: Quarter) -> list[Patch]:
    """Ground without what lies outside its quarter."""
    edge, kept = shapely.Polygon(quarter.ring), []
    for patch, whole in zip(patches, _whole([patch.ring for patch in patches], quarter), strict=True):
        if whole:
            kept.append(patch)
            continue
        rest = shapely.intersection(shapely.Polygon(patch.ring).buffer(0), edge)
        pieces = [piece for piece in shapely.get_parts(rest) if piece.geom_type == "Polygon" and piece.area > 0.01]
        kept += [patch._replace(ring=np.asarray(piece.exterior.coords)) for piece in pieces]
    return kept


def _clipped(site: Site, quarter: Quarter) -> Site:
    """Ground cut to the quarter; small things and trees outside it dropped."""
    details = compress(site.details, _whole([patch.ring for patch in site.details], quarter))
    trees = compress(site.trees, _whole([tree.place for tree in site.trees], quarter, 2.0))
    base, natural, paved = (_cut(kind, quarter) for kind in (site.base, site.natural, site.paved))
    return Site(site.streets, base, natural, paved, list(details), site.buildings, list(trees))


def _warped(world: World, site: Site) -> Site:
    """The site with every point moved by the world's smooth warp."""
    places = _bent(world, [tree.place for tree in site.trees])
    return Site(
        _bent_patches(world, site.streets),
        _bent_patches(world, site.base),
        _bent_patches(world, site.natural),
        _bent_patches(world, site.paved),
        _bent_patches(world, site.details),
        _bent_buildings(world, site.buildings),
        [tree._replace(place=place) for tree, place in zip(site.trees, places, strict=True)],
    )


def _bent_patches(world: World, patches: list[Patch]) -> list[Patch]:
    rings = _bent(world, [patch.ring for patch in patches])
    return [patch._replace(ring=ring) for patch, ring in zip(patches, rings, strict=True)]


def _bent_buildings(world: World, buildings: list[Building]) -> list[Building]:
    """Warped buildings. A wall that two share in part bends a little differently for each: the later one gives way."""
    if not buildings:
        return []
    drawn = np.array([building.footprint for building in buildings])
    shapes = shapely.transform(drawn, lambda points: warp(world, points))
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for i, j in zip(first, second, strict=True):
        if i < j and shapely.area(shapely.intersection(shapes[i], shapes[j])) > 0:
            shapes[j] = _largest(shapely.difference(shapes[j], shapes[i]))
    rings = iter(_bent(world, [part.ring for building in buildings for part in building.parts]))
    return [
        Building(shape, [part._replace(ring=next(rings)) for part in building.parts])
        for shape, building in zip(shapes, buildings, strict=True)
    ]


def _largest(shape: shapely.Geometry) -> shapely.Polygon:
    """The largest piece; what is cut off are slivers of a few mm."""
    pieces: list[shapely.Polygon] = list(shapely.get_parts(shape))
    return max(pieces, key=lambda piece: float(piece.area))


def _bent(world: World, rings: list[Points]) -> list[Points]:
    """Rings of any lengths, warped all at once."""
    if not rings:
        return []
    return np.split(warp(world, np.concatenate(rings)), np.cumsum([len(ring) for ring in rings])[:-1])


@lru_cache(maxsize=64)
def _waves(world: World) -> tuple[float, float, float, float]:
    rng = _rng(world, 7)
    bend = world.habits.bend
    return (bend * rng.uniform(0.4, 1), bend * rng.uniform(0.4, 1), rng.uniform(0, 6.28), rng.uniform(0, 6.28))


def warp(world: World, points: Points) -> Points:
    """(N, 2) points moved so that straight streets bend; shared corners stay shared."""
    east, north, first, second = _waves(world)
    rate = 2 * np.pi / WAVE
    x, y = points[:, 0], points[:, 1]
    return np.column_stack([x + east / rate * np.sin(rate * y + first), y + north / rate * np.sin(rate * x + second)])
