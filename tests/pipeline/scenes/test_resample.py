"""Resampled scenes at their edges. That windows do not show, and agreement with GDAL, are in test_pixels."""

from pathlib import Path

import imagery
import numpy as np
from affine import Affine

from pipeline import config, pixels, survey
from pipeline.scenes import resample
from tiling.grid import Span, Window


def test_a_stripe_that_only_grazes_the_scene_has_no_pixels(tmp_path: Path) -> None:
    """The mosaic's last row is a stripe of its own, and its samples lie 0.01 of a pixel below the scene."""
    below = (resample.STRIPE + 0.01) * 0.3
    top = 16_666_667 * 0.3
    imagery.write(
        tmp_path / "a.tif",
        imagery.noise(139, 200),
        transform=Affine(0.275, 0, 500_001, 0, -0.275, top - below + 139 * 0.275),
    )
    mosaic = survey.survey(config.load(imagery.region(tmp_path, "scenes: [a.tif]\ngrid: {resolution: 0.3}")))
    assert mosaic.shape[0] == resample.STRIPE + 1
    found = pixels.read(mosaic, Window.of(mosaic.shape))
    assert found.valid[1:-1].mean() > 0.99
    assert not found.valid[-1].any()
    part = pixels.read(mosaic, Window(Span(50, mosaic.shape[0]), Span(0, mosaic.shape[1])))
    assert np.array_equal(part.rgb, found.rgb[50:])
