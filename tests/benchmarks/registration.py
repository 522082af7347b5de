"""Whether a network draws buildings where they are: the shift of its mask at which IoU is highest, in pixels.

python -m tests.benchmarks.registration weights.safetensors 'scenes/*.tif'     each with its truth beside it, *_mask.tif
"""

import glob
import sys
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from models.checkpoints import load
from models.predictor import Predictor
from models.weights import describe

MARGIN = 1
SHIFTS = ((-1, 0), (0, 0), (1, 0), (0, -1), (0, 1))
"""(down, right), px."""


def overlaps(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels of intersection and union for each shift: (shifts, 2)."""
    height, width = (side - MARGIN for side in truth.shape)
    inner = truth[MARGIN:height, MARGIN:width]
    moved = (found[MARGIN + down : height + down, MARGIN + right : width + right] for down, right in SHIFTS)
    return np.array([((part & inner).sum(), (part | inner).sum()) for part in moved])


def peak(before: float, at: float, after: float) -> float:
    """Where a parabola through the values at -1, 0 and 1 is highest."""
    return 0.5 * (before - after) / (before - 2 * at + after)


def main(weights: Path, pattern: str) -> None:
    """Print one line."""
    said = describe(weights)
    predictor = Predictor(load(weights), said)
    stride, total = predictor.patchwork.graph.stride, np.zeros((len(SHIFTS), 2), np.int64)
    for path in sorted(path for path in glob.glob(pattern) if not path.endswith("_mask.tif")):  # noqa: PTH207
        with rasterio.open(path) as image, rasterio.open(path.replace(".tif", "_mask.tif")) as mask:
            rgb, truth = np.moveaxis(image.read([1, 2, 3]), 0, -1), mask.read(1) > 0
        rows, cols = (side // stride * stride for side in truth.shape)
        probabilities = predictor.probabilities(np.ascontiguousarray(rgb[:rows, :cols]))
        total += overlaps(probabilities >= said.operating_threshold, truth[:rows, :cols])
    up, here, down, left, right = total[:, 0] / total[:, 1]
    print(f"IoU {here:.3f}, highest {peak(up, here, down):+.2f} px down, {peak(left, here, right):+.2f} px right")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
