"""A threshold is calibrated on what it will be applied to: validation and the predictor agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from places import SIDE, place, write_tif

from models.catalogue import build
from models.metrics import Histogram
from models.predictor import Predictor
from models.samples import NO_DATA
from models.weights import Weights
from pipeline.training.scenes import LabelledScene
from pipeline.training.validation import validate
from tiling.grid import Window

CLASSES = {
    "one": ("building",),
    "two": ("background", "building"),
    "named": ("background", "road", "building"),
    "unnamed": ("background", "class 1", "class 2"),
}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_validation_counts_the_predictors_samples(tmp_path: Path, classes: tuple[str, ...]) -> None:
    torch.manual_seed(3)
    network = build("ternausnet11", num_classes=len(classes), filters=2)
    network.final.weight.data *= 1000  # else all probabilities are alike
    normalisation = {"mean": (0.3, 0.4, 0.5), "std": (0.2, 0.3, 0.1)}
    weights = Weights("ternausnet11", {"num_classes": len(classes), "filters": 2}, **normalisation, classes=classes)
    image, labels = place(0).image, (place(0).mask > 0).astype(np.uint8)
    if len(classes) > 2:
        labels[:, : SIDE // 2] *= 2
    paths = write_tif(tmp_path / "image.tif", image), write_tif(tmp_path / "labels.tif", labels)
    scene = LabelledScene("here", *paths, "classes", Window.of((SIDE, SIDE)))

    found = validate(network, weights, [scene], torch.float32).histograms["here"]

    samples = Predictor(network, weights).samples(image)
    buildings = labels == classes.index("building") if "road" in classes else labels > 0
    expected = Histogram.of(samples, buildings)
    assert samples.std() > 20
    assert samples.max() < NO_DATA
    for counted, wanted in ((found.building, expected.building), (found.background, expected.background)):
        assert counted.sum() == wanted.sum()
        # in one piece and in patches sums differ by rounding, which a sample here and there may show
        assert np.abs(np.cumsum(counted) - np.cumsum(wanted)).max() <= 5
