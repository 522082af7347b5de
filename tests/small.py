"""Small scenes, cheap weights and regions that tests run; the one place where they are made."""

from pathlib import Path
from typing import Any

import imagery
import numpy as np
import torch
import yaml
from affine import Affine
from numpy.typing import NDArray

from models import checkpoints
from models.ternausnet import TernausNet11
from models.weights import Weights
from pipeline import config, plan, survey, tasks
from pipeline.trial import Request

AFFINE = Affine(0.3, 0, 617100.1, 0, -0.3, 3344400.7)
"""Of the first scene's corner, in UTM zone 14N."""
TINY_SHAPE, TINY_CUT, TINY_BLOCKS = (200, 420), 230, 8
"""Of the tiny region: (height, width) px, the column where its second scene begins, blocks."""
TINY = {
    "tiles": {"size": 128, "halo": 0},
    "footprints": {"min_area": 0.5, "min_hole": 0.1},
    "cluster": {"workers": 1},
}
"""Sections of the tiny region's config."""
FINE, FINE_BLOCKS = {"tiles": {"size": 64, "halo": 0}}, 28
"""Sections that cut the tiny region into more blocks, and how many."""


def write_weights(path: Path, seed: int = 0, filters: int = 2) -> Path:
    """A TernausNet11 with random (He) weights and a thin decoder, whose probabilities spread over 0..1."""
    torch.manual_seed(seed)
    network = TernausNet11(filters=filters)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.kaiming_normal_(parameter)
    with torch.no_grad():
        logits = network((torch.rand(1, 3, 128, 128) - 0.5) * 3)
        network.final.weight.mul_(2 / logits.std())
        network.final.bias.sub_(logits.mean()).mul_(2 / logits.std())
    checkpoints.save(network, path, Weights(network="ternausnet11", options={"filters": filters}, threshold=0.5))
    return path


def write_scene(path: Path, rgb: NDArray[np.uint8], affine: Affine = AFFINE, **profile: Any) -> Path:
    """A GeoTIFF of uint8 (h, w, 3) in UTM zone 14N."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return imagery.write(path, rgb, crs="EPSG:26914", transform=affine, compress="deflate", **profile)


def texture(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Smooth coloured blobs: uint8 (h, w, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (shape[0] // 24 + 3, shape[1] // 24 + 3, 3))
    rows, cols = (np.linspace(0, size / 24, size) for size in shape)
    r, c = rows.astype(int), cols.astype(int)
    fr, fc = (rows - r)[:, None, None], (cols - c)[None, :, None]
    top = coarse[np.ix_(r, c)] * (1 - fc) + coarse[np.ix_(r, c + 1)] * fc
    bottom = coarse[np.ix_(r + 1, c)] * (1 - fc) + coarse[np.ix_(r + 1, c + 1)] * fc
    return np.asarray(top * (1 - fr) + bottom * fr, dtype=np.uint8)


def blots(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Squares of 20 px in random colours, from which the tiny network makes many outlines: uint8 (h, w, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (-(-shape[0] // 20), -(-shape[1] // 20), 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((20, 20, 1), np.uint8))[: shape[0], : shape[1]])


def write_blots(path: Path, seed: int, corner: tuple[int, int], shape: tuple[int, int]) -> Path:
    """A scene of blots with its first pixel at (row, col) of the tiny region's grid."""
    return write_scene(path, blots(shape, seed), AFFINE @ Affine.translation(corner[1], corner[0]))


def write_region(folder: Path, weights: Path, scenes: list[str], **keys: Any) -> Path:
    """A region.yaml in ``folder``; ``keys`` are its further sections."""
    region = {
        "name": "small",
        "scenes": scenes,
        "output": "out",
        "model": {"weights": str(weights)},
        "inference": {"precision": "fp32", "device": "cpu"},
        **keys,
    }
    path = folder / "region.yaml"
    path.write_text(yaml.safe_dump(region), encoding="utf-8")
    return path


def tiny_weights(path: Path) -> Path:
    """The cheapest network."""
    return write_weights(path, seed=3, filters=1)


def tiny_region(folder: Path, weights: Path, **keys: Any) -> Path:
    """The tiny region: two scenes in 2 × 4 blocks without a halo; its region.yaml."""
    height, width = TINY_SHAPE
    write_blots(folder / "scenes/a.tif", 1, (0, 0), (height, TINY_CUT))
    write_blots(folder / "scenes/b.tif", 2, (0, TINY_CUT), (height, width - TINY_CUT))
    return tiny_config(folder, weights, **keys)


def tiny_config(folder: Path, weights: Path, **keys: Any) -> Path:
    """The tiny region's region.yaml alone."""
    return write_region(folder, weights, ["scenes/*.tif"], **{**TINY, **keys})


def planned(region: Path) -> plan.Plan:
    """The plan of a region.yaml, which this process is prepared for, as a worker would be."""
    loaded = config.load(region)
    request, mosaic = Request.of(loaded), survey.survey(loaded)
    made = plan.make(loaded, mosaic, request.weights, request.answer(mosaic), None)
    tasks.prepare(made)
    return made
