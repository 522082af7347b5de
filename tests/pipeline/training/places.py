"""Small labelled places and files of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from PIL import Image
from rasterio.transform import Affine

SIDE = 160
PIXEL = 0.3
TRANSFORM = Affine(PIXEL, 0, 500_000, 0, -PIXEL, 5_500_000)
"""EPSG:32633, metres."""


@dataclass(frozen=True)
class Place:
    """A picture with what is true of it."""

    image: np.ndarray
    mask: np.ndarray
    boxes: list[shapely.Polygon]


def place(seed: int, side: int = SIDE) -> Place:
    """Bright rectangles on dark ground; the mask is where they are."""
    rng = np.random.default_rng(seed)
    image = rng.integers(40, 90, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), np.uint8)
    boxes = []
    for top in range(8, side - 40, 48):
        for left in range(8, side - 40, 48):
            height, width = (int(n) for n in rng.integers(16, 32, 2))
            image[top : top + height, left : left + width] = rng.integers(150, 250, 3)
            mask[top : top + height, left : left + width] = 255
            corner = TRANSFORM @ (left, top)
            boxes.append(shapely.box(corner[0], corner[1] - height * PIXEL, corner[0] + width * PIXEL, corner[1]))
    return Place(image, mask, boxes)


def write_tif(path: Path, array: np.ndarray) -> Path:
    """A GeoTIFF at ``TRANSFORM`` of (h, w) or (h, w, 3) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    profile = {"height": array.shape[0], "width": array.shape[1], "count": len(bands), "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=TRANSFORM, **profile) as file:
        file.write(bands)
    return path


def write_voc(folder: Path) -> None:
    """Class 1: the rectangles; class 2: their left halves; 255: a line of void."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for number in range(3):
        each = place(20 + number)
        classes = (each.mask > 0).astype(np.uint8)
        classes[:, : SIDE // 2] *= 2
        classes[SIDE // 2] = 255
        Image.fromarray(each.image).save(folder / "JPEGImages" / f"p{number}.jpg", quality=95)
        palette = Image.fromarray(classes)
        palette.save(folder / "SegmentationClass" / f"p{number}.png")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("p0\np1\n")
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("p2\n")


TINY = """
name: tiny
output: out
data:
  inria: {{kind: inria, folder: {root}/inria}}
network: {{name: ternausnet11, start: kaiming, options: {{filters: 2}}, batch_norm: true}}
recipe: {{epochs: 2, steps: 4, batch: 2, crop: [32, 64], rate: 1e-3, warmup: 0.1, average: 0.9, clip: 1,
  workers: 0, save_every: 2}}
device: cpu
"""
