"""The job of ``by_hand.py`` with pytorch-toolbelt's slicer and merger, as its documentation shows: another yardstick.

python -m tests.benchmarks.toolbelt scene.tif weights.safetensors out.gpkg
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import models.vision  # noqa: F401 - cures torchvision, which the toolbelt imports
from models.checkpoints import load
from models.weights import describe
from tests.benchmarks import by_hand


def predict(image: NDArray[np.uint8], path: Path) -> NDArray[np.float32]:
    """Merged probabilities of a whole scene, with the weights of a pyramid."""
    from pytorch_toolbelt.inference.tiles import ImageSlicer, TileMerger  # noqa: PLC0415 - after the cure

    weights = describe(path)
    network = load(path, weights.network).eval()
    tiler = ImageSlicer(image.shape, by_hand.WINDOW, by_hand.WINDOW - by_hand.OVERLAP, weight="pyramid")
    merger = TileMerger(tiler.target_shape, 1, tiler.weight)
    windows = tiler.split(image)
    for first in range(0, len(windows), by_hand.BATCH):
        batch = slice(first, first + by_hand.BATCH)
        with torch.inference_mode():
            probabilities = network(by_hand.normalised(windows[batch], weights)).sigmoid()
        merger.integrate_batch(probabilities, tiler.crops[batch])
    merged: NDArray[np.float32] = np.moveaxis(merger.merge().numpy(), 0, -1)
    return np.asarray(tiler.crop_to_orignal_size(merged)[..., 0])


if __name__ == "__main__":
    by_hand.main(*map(Path, sys.argv[1:4]), predict)
