"""Kinds of places: how dense, how tall, how green, of what materials. One style is one kind of town or countryside."""

from dataclasses import dataclass

Weights = tuple[tuple[str, float], ...]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """The habits of one kind of place."""

    quarter: float
    """Distance between the centres of quarters, m."""
    block: tuple[Range, Range]
    """Length and depth of a block, m."""
    street: Range
    """Width of streets with their pavements, m."""
    avenue: Range
    """Width of the roads between quarters, m."""
    bend: float
    """Largest slope of the smooth warp that bends streets, as a ratio."""
    uses: Weights
    """What blocks are used for, see ``uses.USES``."""
    frontage: Range
    """Width of a lot along the street, m."""
    height: Range
    """Height of the eaves, m."""
    roofs: Weights
    """Shapes of roofs."""
    pitched: Weights
    """Materials of sloping roofs."""
    flat: Weights
    """Materials of flat roofs."""
    ground: Weights
    """Materials of yards and gardens."""
    road: Weights
    """Materials of streets."""
    trees: float
    """Trees for every 100 m² of garden."""
    leaves: Weights
    """Materials of crowns."""


def mix(text: str) -> Weights:
    """Names with weights from text such as ``gable 6, hip 4``."""
    pairs = (entry.split() for entry in text.split(","))
    return tuple((name, float(weight)) for name, weight in pairs)


MIXED_TREES = mix("leaf 4, leaf_dark 3, leaf_light 2, conifer 1")
SHINGLES = mix(
    "shingle_brown 3, shingle_grey 4, shingle_dark 4, shingle_tan 2, metal_white 1, metal_grey 0.7, tile_red 0.3"
)
CONCRETE = mix("roof_concrete 4, roof_stained 4, roof_terracotta 1, roof_white 0.5")

STYLES: dict[str, Style] = {
    "suburb": Style(  # temperate: tiled roofs, hedges, terraces among detached houses
        quarter=360,
        block=((90, 170), (52, 76)),
        street=(6, 9),
        avenue=(11, 18),
        bend=0.1,
        uses=mix("detached 8, terrace 4, slabs 1.2, park 0.7, sport 0.3, wood 0.3, field 0.3, retail 0.3"),
        frontage=(13, 22),
        height=(3, 6.5),
        roofs=mix("gable 6, hip 4, flat 1, shed 0.3"),
        pitched=mix("tile_red 4, tile_orange 2, tile_brown 4, tile_dark 4, slate 2, metal_grey 0.4"),
        flat=mix("roof_gravel 3, bitumen 3, membrane 0.6, lawn 0.2"),
        ground=mix("lawn 6, grass 3, paving 0.7"),
        road=mix("asphalt 3, old_asphalt 2"),
        trees=1.0,
        leaves=MIXED_TREES,
    ),
    "us_suburb": Style(  # shingles, wide lots, bare and green trees
        quarter=420,
        block=((120, 220), (58, 84)),
        street=(7, 10.5),
        avenue=(12, 22),
        bend=0.12,
        uses=mix("detached 12, slabs 0.8, park 0.5, wood 1, retail 0.8, sport 0.3, bare 0.3, halls 0.3"),
        frontage=(13, 22),
        height=(2.8, 5),
        roofs=mix("hip 6, gable 6, flat 0.6"),
        pitched=SHINGLES,
        flat=mix("membrane 3, roof_gravel 2, bitumen 2, shingle_tan 1"),
        ground=mix("lawn 3, grass 4, dry_grass 3, leaf_litter 2"),
        road=mix("asphalt 3, old_asphalt 4, concrete 1"),
        trees=1.9,
        leaves=mix("leaf 3, leaf_dark 3, leaf_light 1.5, twigs 3"),
    ),
    "grid_city": Style(  # long narrow houses side by side, garages on back alleys
        quarter=420,
        block=((140, 200), (74, 86)),
        street=(8, 11),
        avenue=(12, 22),
        bend=0.0,
        uses=mix("narrow 8, slabs 0.8, retail 0.7, park 0.5, halls 0.6, parking 0.3, perimeter 0.5"),
        frontage=(7.5, 11),
        height=(5, 10),
        roofs=mix("flat 5, gable 4, hip 3"),
        pitched=SHINGLES,
        flat=mix("bitumen 4, membrane 2.5, roof_gravel 3, shingle_brown 2, metal_white 0.7"),
        ground=mix("lawn 5, grass 3, concrete 1.5"),
        road=mix("asphalt 3, old_asphalt 2"),
        trees=0.8,
        leaves=mix("leaf 3, leaf_light 3, twigs 2, leaf_dark 1"),
    ),
    "old_town": Style(  # courtyard blocks, tall, tiled or metal
        quarter=300,
        block=((60, 110), (48, 84)),
        street=(5.5, 10),
        avenue=(10, 18),
        bend=0.12,
        uses=mix("perimeter 8, infill 1.5, slabs 0.6, park 0.6, parking 0.2"),
        frontage=(10, 20),
        height=(9, 18),
        roofs=mix("gable 7, hip 3, flat 2.5, shed 1"),
        pitched=mix("tile_red 5, tile_orange 4, tile_brown 3, slate 3, metal_grey 2, metal_rust 0.4, metal_red 0.5"),
        flat=mix("roof_gravel 2, bitumen 3, membrane 0.7, roof_concrete 1, roof_terracotta 1"),
        ground=mix("paving 3, lawn 2, concrete 2, gravel 1"),
        road=mix("asphalt 3, old_asphalt 2, paving 1"),
        trees=0.5,
        leaves=MIXED_TREES,
    ),
    "tin_town": Style(  # dense, of concrete terraces and sheet metal
        quarter=240,
        block=((50, 100), (34, 60)),
        street=(4, 8),
        avenue=(7, 12),
        bend=0.22,
        uses=mix("infill 9, shacks 1.5, bare 0.7, field 0.8, halls 0.5, wood 0.4, perimeter 0.3"),
        frontage=(7, 13),
        height=(3, 13),
        roofs=mix("flat 8, shed 3, gable 1.5"),
        pitched=mix("metal_grey 4, metal_white 2, metal_blue 2.5, metal_rust 3, metal_red 1, metal_green 0.6"),
        flat=CONCRETE,
        ground=mix("soil 4, grass 2, meadow 2, paving 1, rubble 1"),
        road=mix("old_asphalt 2, dirt_road 3"),
        trees=0.9,
        leaves=MIXED_TREES,
    ),
    "arid": Style(  # walled compounds and courtyards
        quarter=320,
        block=((70, 130), (40, 64)),
        street=(5.5, 10),
        avenue=(10, 20),
        bend=0.08,
        uses=mix("compound 8, infill 2, bare 1.2, perimeter 0.5, halls 0.5, parking 0.3, slabs 0.4"),
        frontage=(14, 24),
        height=(3.2, 9),
        roofs=mix("flat 9, gable 0.3"),
        pitched=mix("metal_grey 2, metal_white 1, metal_rust 1"),
        flat=mix("roof_mud 4, roof_white 3, roof_concrete 3, roof_stained 1, roof_terracotta 0.4"),
        ground=mix("sand 5, soil 2, paving 2, white_ground 1, dry_grass 0.6"),
        road=mix("old_asphalt 2, dirt_road 2, asphalt 1"),
        trees=0.35,
        leaves=mix("leaf 2, leaf_dark 2, leaf_light 1"),
    ),
    "favela": Style(  # small houses at odd angles, fibre cement and red soil
        quarter=260,
        block=((45, 90), (26, 48)),
        street=(3, 7),
        avenue=(7, 12),
        bend=0.25,
        uses=mix("shacks 8, infill 3, detached 1, wood 1.5, bare 0.8, field 0.6, sport 0.3, halls 0.3"),
        frontage=(6, 11),
        height=(2.8, 7),
        roofs=mix("flat 3, shed 4, gable 5"),
        pitched=mix("fibre_cement 6, tile_orange 4, tile_brown 2, metal_grey 2, metal_rust 1, metal_white 1"),
        flat=CONCRETE,
        ground=mix("red_soil 3, soil 2, meadow 3, grass 2, concrete 1"),
        road=mix("old_asphalt 3, dirt_road 2, asphalt 1"),
        trees=1.3,
        leaves=mix("leaf 3, leaf_dark 4, leaf_light 1"),
    ),
    "industrial": Style(  # halls, yards, car parks
        quarter=560,
        block=((90, 190), (64, 120)),
        street=(8, 13),
        avenue=(14, 26),
        bend=0.04,
        uses=mix("halls 8, retail 2, parking 1, bare 1.2, slabs 0.6, park 0.4, field 0.5, detached 0.5"),
        frontage=(14, 22),
        height=(5, 11),
        roofs=mix("flat 5, gable 4, saw 1, vault 0.8"),
        pitched=mix(
            "metal_white 4, metal_grey 5, metal_blue 1.5, metal_green 1, metal_red 0.7, metal_rust 0.7, fibre_cement 2"
        ),
        flat=mix("membrane 3, roof_gravel 3, bitumen 4, metal_grey 1.5"),
        ground=mix("concrete 3, gravel 2, dry_grass 2, grass 2"),
        road=mix("asphalt 3, old_asphalt 2, concrete 1"),
        trees=0.25,
        leaves=MIXED_TREES,
    ),
    "rural": Style(  # fields, woods and farms
        quarter=520,
        block=((130, 260), (90, 170)),
        street=(6, 9),
        avenue=(8, 13),
        bend=0.22,
        uses=mix("field 6, farm 3, wood 1.5, detached 1.5, bare 0.4, park 0.5, greenhouses 0.5, water 0.4"),
        frontage=(20, 36),
        height=(3, 6),
        roofs=mix("gable 8, hip 3, flat 0.5"),
        pitched=mix("tile_red 3, tile_brown 3, tile_dark 2, slate 1, metal_grey 3, metal_rust 1.5, fibre_cement 2"),
        flat=mix("bitumen 1, roof_concrete 1"),
        ground=mix("grass 4, meadow 4, lawn 2, gravel 1"),
        road=mix("asphalt 2, old_asphalt 2, dirt_road 2"),
        trees=1.0,
        leaves=MIXED_TREES,
    ),
}
"""Every style by name."""
