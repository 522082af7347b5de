"""What surfaces are made of: colours and roughness of the ground, of roofs, of cars, of leaves."""

from dataclasses import dataclass

import numpy as np

from pipeline.render.arrays import Array


@dataclass(frozen=True, slots=True)
class Material:
    """How a sunlit surface looks from above."""

    first: tuple[int, int, int]
    """sRGB 0..255 of one half of the surface."""
    second: tuple[int, int, int]
    """sRGB of the other half; coarse noise mixes the two."""
    fine: float = 0.05
    """Relative contrast of pixel-sized grain."""
    broad: float = 0.08
    """Relative contrast of metre-sized blotches."""


MATERIALS: dict[str, Material] = {
    # ground
    "asphalt": Material((112, 112, 112), (128, 126, 122), 0.04, 0.04),
    "old_asphalt": Material((138, 134, 128), (150, 144, 134), 0.06, 0.06),
    "concrete": Material((176, 170, 158), (190, 184, 172), 0.03, 0.04),
    "paving": Material((168, 160, 148), (150, 142, 132), 0.06, 0.08),
    "dirt_road": Material((168, 148, 120), (184, 166, 140), 0.06, 0.07),
    "lawn": Material((96, 112, 68), (112, 118, 78), 0.08, 0.12),
    "grass": Material((92, 104, 64), (130, 124, 86), 0.11, 0.18),
    "dry_grass": Material((140, 130, 96), (120, 116, 80), 0.10, 0.18),
    "meadow": Material((84, 104, 56), (110, 120, 72), 0.12, 0.18),
    "soil": Material((138, 116, 92), (160, 138, 112), 0.08, 0.14),
    "red_soil": Material((158, 112, 82), (174, 134, 104), 0.08, 0.14),
    "sand": Material((198, 182, 150), (184, 166, 136), 0.05, 0.10),
    "gravel": Material((164, 160, 152), (178, 172, 162), 0.10, 0.10),
    "white_ground": Material((222, 216, 204), (204, 196, 182), 0.03, 0.08),
    "rock": Material((150, 146, 138), (176, 170, 160), 0.14, 0.16),
    "leaf_litter": Material((116, 104, 82), (132, 120, 94), 0.16, 0.16),
    "water": Material((66, 82, 76), (58, 72, 72), 0.03, 0.05),
    "pool": Material((96, 178, 196), (120, 196, 206), 0.04, 0.05),
    "crop_green": Material((90, 116, 58), (104, 124, 66), 0.08, 0.10),
    "crop_yellow": Material((176, 160, 100), (164, 150, 94), 0.06, 0.08),
    "crop_dark": Material((70, 92, 52), (82, 100, 58), 0.09, 0.10),
    "plough": Material((128, 106, 84), (142, 120, 98), 0.07, 0.10),
    "clay_court": Material((172, 104, 78), (176, 110, 84), 0.02, 0.05),
    "blue_court": Material((76, 112, 150), (80, 116, 152), 0.02, 0.05),
    "green_court": Material((84, 124, 94), (90, 128, 98), 0.02, 0.05),
    "turf": Material((86, 124, 62), (96, 132, 70), 0.05, 0.06),
    "plastic": Material((216, 220, 218), (196, 202, 200), 0.05, 0.08),
    "ballast": Material((134, 124, 114), (146, 136, 126), 0.12, 0.08),
    "rail": Material((122, 104, 92), (150, 140, 132), 0.05, 0.05),
    "white_paint": Material((214, 212, 204), (196, 194, 186), 0.05, 0.05),
    "yellow_paint": Material((206, 176, 92), (190, 164, 92), 0.05, 0.05),
    "patch_asphalt": Material((92, 92, 94), (104, 102, 102), 0.04, 0.06),
    "rubble": Material((158, 148, 134), (130, 120, 108), 0.22, 0.14),
    # things that stand on the ground
    "hedge": Material((70, 88, 50), (84, 98, 58), 0.14, 0.12),
    "fence": Material((150, 132, 108), (130, 114, 94), 0.08, 0.08),
    "wall": Material((190, 180, 164), (170, 160, 146), 0.06, 0.10),
    "car_white": Material((232, 232, 230), (222, 222, 220), 0.02, 0.02),
    "car_silver": Material((170, 172, 174), (158, 160, 164), 0.02, 0.02),
    "car_black": Material((42, 42, 46), (56, 56, 60), 0.02, 0.02),
    "car_grey": Material((96, 98, 102), (88, 90, 94), 0.02, 0.02),
    "car_red": Material((140, 56, 50), (126, 50, 46), 0.02, 0.02),
    "car_blue": Material((66, 80, 112), (72, 88, 116), 0.02, 0.02),
    "glass": Material((44, 50, 58), (54, 60, 68), 0.02, 0.02),
    "container_red": Material((156, 72, 56), (140, 64, 52), 0.04, 0.08),
    "container_blue": Material((64, 100, 140), (70, 104, 142), 0.04, 0.08),
    "container_grey": Material((180, 180, 178), (160, 160, 158), 0.04, 0.08),
    # roofs
    "tile_red": Material((168, 100, 78), (150, 88, 70), 0.039, 0.090),
    "tile_orange": Material((188, 124, 90), (170, 108, 80), 0.039, 0.090),
    "tile_brown": Material((128, 96, 80), (112, 86, 74), 0.039, 0.081),
    "tile_dark": Material((92, 86, 84), (80, 76, 76), 0.033, 0.072),
    "slate": Material((98, 102, 110), (110, 112, 118), 0.039, 0.063),
    "shingle_brown": Material((146, 126, 104), (134, 114, 96), 0.046, 0.063),
    "shingle_grey": Material((128, 126, 124), (114, 112, 112), 0.046, 0.063),
    "shingle_dark": Material((88, 84, 82), (98, 94, 90), 0.046, 0.063),
    "shingle_tan": Material((172, 152, 124), (160, 140, 114), 0.046, 0.063),
    "bitumen": Material((86, 86, 88), (104, 102, 100), 0.033, 0.126),
    "roof_gravel": Material((158, 152, 144), (144, 138, 130), 0.058, 0.108),
    "membrane": Material((224, 224, 220), (206, 206, 202), 0.013, 0.063),
    "roof_concrete": Material((172, 164, 152), (154, 146, 136), 0.033, 0.135),
    "roof_stained": Material((134, 126, 116), (160, 150, 136), 0.046, 0.180),
    "roof_terracotta": Material((176, 134, 112), (164, 122, 104), 0.033, 0.108),
    "roof_mud": Material((192, 170, 138), (178, 156, 124), 0.033, 0.108),
    "roof_white": Material((226, 220, 206), (208, 200, 186), 0.026, 0.108),
    "fibre_cement": Material((128, 124, 118), (102, 98, 94), 0.046, 0.162),
    "metal_white": Material((226, 228, 230), (206, 210, 214), 0.013, 0.054),
    "metal_grey": Material((164, 168, 172), (148, 152, 156), 0.019, 0.072),
    "metal_blue": Material((70, 124, 170), (84, 136, 176), 0.019, 0.072),
    "metal_green": Material((88, 124, 104), (100, 132, 112), 0.019, 0.072),
    "metal_red": Material((156, 70, 60), (144, 66, 58), 0.019, 0.090),
    "metal_rust": Material((142, 98, 72), (162, 130, 106), 0.039, 0.162),
    # on roofs
    "solar": Material((40, 48, 72), (48, 56, 80), 0.03, 0.03),
    "unit": Material((190, 190, 188), (170, 170, 168), 0.04, 0.05),
    "brick": Material((142, 92, 76), (130, 84, 70), 0.06, 0.06),
    "tank": Material((40, 42, 46), (52, 54, 58), 0.02, 0.02),
    "tank_blue": Material((52, 92, 148), (60, 100, 156), 0.02, 0.02),
    "tarp": Material((70, 120, 180), (84, 132, 186), 0.04, 0.06),
    # crowns
    "leaf": Material((76, 96, 52), (90, 108, 62), 0.20, 0.16),
    "leaf_dark": Material((58, 78, 46), (68, 86, 52), 0.20, 0.16),
    "leaf_light": Material((104, 122, 66), (118, 132, 76), 0.20, 0.16),
    "leaf_autumn": Material((150, 118, 72), (134, 102, 66), 0.20, 0.16),
    "conifer": Material((48, 66, 48), (58, 76, 54), 0.16, 0.12),
    "twigs": Material((146, 136, 126), (126, 116, 108), 0.10, 0.08),
}
"""Every material by name; colours as a sunlit surface shows them in an unexaggerated aerial picture."""

NUMBER = {name: index for index, name in enumerate(MATERIALS)}
"""Material name to its row in ``table()``."""


def to_linear(srgb: Array) -> Array:
    """Linear light 0..1 of sRGB 0..255, by the plain power of 2.2 that survey cameras come close to."""
    return np.asarray((srgb / 255.0) ** 2.2, np.float32)


def table(seed: int, spread: float = 0.10) -> tuple[Array, Array, Array]:
    """Linear colours of both halves, (M, 3) float32 each, and (M, 2) contrasts, all shifted a little."""
    rng = np.random.default_rng([seed, 11])
    rows = list(MATERIALS.values())
    bright, hue = rng.normal(0, spread, (len(rows), 1)), rng.normal(0, spread * 0.45, (len(rows), 3))
    shift = np.exp(bright + hue).astype(np.float32)
    first = to_linear(np.array([row.first for row in rows], np.float32)) * shift
    second = to_linear(np.array([row.second for row in rows], np.float32)) * shift
    contrast = np.array([(row.fine, row.broad) for row in rows], np.float32)
    return first, second, contrast
