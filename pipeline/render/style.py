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
    """What blocks are used for, see `blocks.USES`."""
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
    """Trees for every 100 m2 of garden."""
    leaves: Weights
    """Materials of crowns."""


_GREEN: Weights = (("leaf", 4), ("leaf_dark", 3), ("leaf_light", 2), ("conifer", 1))
_ASPHALT: Weights = (("asphalt", 3), ("old_asphalt", 2))
_CONCRETE: Weights = (("roof_concrete", 4), ("roof_stained", 4), ("roof_terracotta", 1), ("roof_white", 0.5))
_METAL: Weights = (("metal_grey", 4), ("metal_white", 2), ("metal_blue", 2.5), ("metal_rust", 3), ("metal_red", 1), ("metal_green", 0.6))
_US_ROOFS: Weights = (
    ("shingle_brown", 3), ("shingle_grey", 4), ("shingle_dark", 4), ("shingle_tan", 2), ("metal_white", 1), ("metal_grey", 0.7), ("tile_red", 0.3),
)  # fmt: skip

STYLES: dict[str, Style] = {
    "suburb": Style(  # temperate: tile roofs, hedges, terraces among detached houses
        360, ((90, 170), (52, 76)), (11, 15), (16, 24), 0.10,
        (("detached", 6), ("terrace", 3), ("slabs", 1.2), ("park", 0.7), ("sport", 0.3), ("wood", 0.3), ("field", 0.3), ("retail", 0.3)),
        (14, 24), (3, 6.5), (("gable", 6), ("hip", 4), ("flat", 1), ("shed", 0.3)),
        (("tile_red", 4), ("tile_orange", 2), ("tile_brown", 4), ("tile_dark", 4), ("slate", 2), ("metal_grey", 0.4)),
        (("roof_gravel", 3), ("bitumen", 3), ("membrane", 0.6), ("lawn", 0.2)), (("lawn", 6), ("grass", 3), ("paving", 0.7)), _ASPHALT, 1.0, _GREEN,
    ),
    "us_suburb": Style(
        420, ((120, 220), (58, 84)), (13, 17), (16, 26), 0.12,
        (("detached", 8), ("slabs", 0.8), ("park", 0.5), ("wood", 1.0), ("retail", 0.8), ("sport", 0.3), ("bare", 0.3), ("halls", 0.3)),
        (15, 28), (2.8, 5), (("hip", 6), ("gable", 6), ("flat", 0.6)), _US_ROOFS,
        (("membrane", 3), ("roof_gravel", 2), ("bitumen", 2), ("shingle_tan", 1)), (("lawn", 3), ("grass", 4), ("dry_grass", 3), ("leaf_litter", 2)),
        (("asphalt", 3), ("old_asphalt", 4), ("concrete", 1)), 1.9, (("leaf", 3), ("leaf_dark", 3), ("leaf_light", 1.5), ("twigs", 3)),
    ),
    "grid_city": Style(  # long narrow houses side by side, back alleys with garages
        420, ((140, 200), (74, 86)), (13, 17), (17, 26), 0.0,
        (("narrow", 8), ("slabs", 0.8), ("retail", 0.7), ("park", 0.5), ("halls", 0.6), ("parking", 0.3), ("perimeter", 0.5)),
        (7.5, 11), (5, 10), (("flat", 5), ("gable", 4), ("hip", 3)), _US_ROOFS,
        (("bitumen", 4), ("membrane", 2.5), ("roof_gravel", 3), ("shingle_brown", 2), ("metal_white", 0.7)), (("lawn", 5), ("grass", 3), ("concrete", 1.5)),
        _ASPHALT, 0.8, (("leaf", 3), ("leaf_light", 3), ("twigs", 2), ("leaf_dark", 1)),
    ),
    "old_town": Style(  # courtyard blocks, tall, tiled or metal
        300, ((60, 110), (48, 84)), (9, 14), (13, 22), 0.12,
        (("perimeter", 8), ("infill", 1.5), ("slabs", 0.6), ("park", 0.6), ("parking", 0.2)),
        (10, 20), (9, 18), (("gable", 7), ("hip", 3), ("flat", 2.5), ("shed", 1)),
        (("tile_red", 5), ("tile_orange", 4), ("tile_brown", 3), ("slate", 3), ("metal_grey", 2), ("metal_rust", 0.4), ("metal_red", 0.5)),
        (("roof_gravel", 2), ("bitumen", 3), ("membrane", 0.7), ("roof_concrete", 1), ("roof_terracotta", 1)),
        (("paving", 3), ("lawn", 2), ("concrete", 2), ("gravel", 1)), (("asphalt", 3), ("old_asphalt", 2), ("paving", 1)), 0.5, _GREEN,
    ),
    "tin_town": Style(  # dense town of concrete terraces and sheet metal
        240, ((50, 100), (34, 60)), (5, 9), (9, 15), 0.22,
        (("infill", 9), ("shacks", 1.5), ("bare", 0.7), ("field", 0.8), ("halls", 0.5), ("wood", 0.4), ("perimeter", 0.3)),
        (7, 13), (3, 13), (("flat", 8), ("shed", 3), ("gable", 1.5)), _METAL, _CONCRETE,
        (("soil", 4), ("grass", 2), ("meadow", 2), ("paving", 1), ("rubble", 1)), (("old_asphalt", 2), ("dirt_road", 3)), 0.9, _GREEN,
    ),
    "arid": Style(  # walled compounds and courtyards
        320, ((70, 130), (40, 64)), (8, 13), (14, 24), 0.08,
        (("compound", 8), ("infill", 2), ("bare", 1.2), ("perimeter", 0.5), ("halls", 0.5), ("parking", 0.3), ("slabs", 0.4)),
        (14, 24), (3.2, 9), (("flat", 9), ("gable", 0.3)), (("metal_grey", 2), ("metal_white", 1), ("metal_rust", 1)),
        (("roof_mud", 4), ("roof_white", 3), ("roof_concrete", 3), ("roof_stained", 1), ("roof_terracotta", 0.4)),
        (("sand", 5), ("soil", 2), ("paving", 2), ("white_ground", 1), ("dry_grass", 0.6)), (("old_asphalt", 2), ("dirt_road", 2), ("asphalt", 1)),
        0.35, (("leaf", 2), ("leaf_dark", 2), ("leaf_light", 1)),
    ),
    "favela": Style(
        260, ((45, 90), (26, 48)), (4, 8), (9, 15), 0.25,
        (("shacks", 8), ("infill", 3), ("detached", 1.0), ("wood", 1.5), ("bare", 0.8), ("field", 0.6), ("sport", 0.3), ("halls", 0.3)),
        (6, 11), (2.8, 7), (("flat", 3), ("shed", 4), ("gable", 5)),
        (("fibre_cement", 6), ("tile_orange", 4), ("tile_brown", 2), ("metal_grey", 2), ("metal_rust", 1), ("metal_white", 1)), _CONCRETE,
        (("red_soil", 3), ("soil", 2), ("meadow", 3), ("grass", 2), ("concrete", 1)), (("old_asphalt", 3), ("dirt_road", 2), ("asphalt", 1)),
        1.3, (("leaf", 3), ("leaf_dark", 4), ("leaf_light", 1)),
    ),
    "industrial": Style(
        450, ((120, 240), (80, 140)), (14, 20), (18, 30), 0.04,
        (("halls", 8), ("retail", 2), ("parking", 1), ("bare", 1.2), ("slabs", 0.6), ("park", 0.4), ("field", 0.5), ("detached", 0.5)),
        (14, 22), (5, 11), (("flat", 5), ("gable", 4), ("saw", 1), ("vault", 0.8)),
        (("metal_white", 4), ("metal_grey", 5), ("metal_blue", 1.5), ("metal_green", 1), ("metal_red", 0.7), ("metal_rust", 0.7), ("fibre_cement", 2)),
        (("membrane", 3), ("roof_gravel", 3), ("bitumen", 4), ("metal_grey", 1.5)), (("concrete", 3), ("gravel", 2), ("dry_grass", 2), ("grass", 2)),
        (("asphalt", 3), ("old_asphalt", 2), ("concrete", 1)), 0.25, _GREEN,
    ),
    "rural": Style(
        520, ((130, 260), (90, 170)), (6, 9), (8, 13), 0.22,
        (("field", 6), ("farm", 3), ("wood", 1.5), ("detached", 1.5), ("bare", 0.4), ("park", 0.5), ("greenhouses", 0.5), ("water", 0.4)),
        (20, 36), (3, 6), (("gable", 8), ("hip", 3), ("flat", 0.5)),
        (("tile_red", 3), ("tile_brown", 3), ("tile_dark", 2), ("slate", 1), ("metal_grey", 3), ("metal_rust", 1.5), ("fibre_cement", 2)),
        (("bitumen", 1), ("roof_concrete", 1)), (("grass", 4), ("meadow", 4), ("lawn", 2), ("gravel", 1)),
        (("asphalt", 2), ("old_asphalt", 2), ("dirt_road", 2)), 1.0, _GREEN,
    ),
}  # fmt: skip
"""Every style by name."""
