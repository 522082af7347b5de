"""Small regions that the end-to-end tests run: rendered scenes, cheap weights, a region.yaml."""

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

AFFINE = Affine(0.3, 0, 617100.1, 0, -0.3, 3344400.7)


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
