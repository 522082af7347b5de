"""Labelled scenes predicted here, one at a time, by a weights file: in tiles with the network's reach."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from models import checkpoints
from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.samples import level
from models.weights import Weights
from pipeline.device import device_of
from pipeline.evaluation.subjects import Subject, metres_per_pixel, polygons_of
from pipeline.footprints.arrays import Polygons
from pipeline.footprints.marching import is_inside
from pipeline.tasks import pad
from pipeline.training.scenes import LabelledScene, opened, read_image, read_labels
from tiling.grid import Axis, Grid, Window, round_up

BLOCK = 1024
"""Side of the blocks that are predicted at a time, px."""


def of_weights(weights: Weights, scenes: Sequence[LabelledScene], device: str, precision: str) -> list[Subject]:
    """The scenes with what ``weights`` predict for them; nothing is predicted before it is asked for.

    Raises:
        InputError: ``device`` is not there.
    """
    there = device_of("device", device)
    predictor = Predictor(checkpoints.load(weights.path), weights, there, precision)
    predictions = Predictions(predictor, weights)
    return [subject(scene, predictions, weights) for scene in scenes]


def subject(scene: LabelledScene, predictions: "Predictions", weights: Weights) -> Subject:
    """One scene's part, to be evaluated."""
    origin, least = (scene.part.rows.start, scene.part.cols.start), level(weights.operating_threshold)
    whole = Window.of(scene.part.shape)

    def labels(window: Window) -> NDArray[np.uint8]:
        return read_labels(scene, window.moved(*origin))

    def samples(window: Window) -> NDArray[np.uint8]:
        return predictions.of(scene)[window.within(whole)]

    def predicted() -> Polygons:
        return polygons_of(lambda window: is_inside(samples(window), least).astype(np.uint8), whole.shape)

    def true() -> Polygons:
        return polygons_of(labels, whole.shape)

    metres = _metres(scene, weights)
    return Subject(scene.image.stem, scene.source, whole.shape, samples, labels, predicted, true, metres)


def _metres(scene: LabelledScene, weights: Weights) -> tuple[float, float]:
    """Size of a pixel on the ground, m: by the image's georeference, else that which the weights are for."""
    image = opened(scene.image)
    if image.crs is None:
        return weights.resolution or 1.0, weights.resolution or 1.0
    return metres_per_pixel(image.transform, CRS.from_user_input(image.crs.to_wkt()).to_wkt(), scene.part)


class Predictions:
    """What a network makes of scenes; of the last one only is it kept."""

    def __init__(self, predictor: Predictor, weights: Weights) -> None:
        self.predictor, self.network = predictor, CATALOGUE[weights.network]
        self.last: tuple[LabelledScene, NDArray[np.uint8]] | None = None

    def of(self, scene: LabelledScene) -> NDArray[np.uint8]:
        """Samples of the scene's part, uint8 of its shape."""
        if self.last is None or self.last[0] != scene:
            self.last = scene, self._predict(scene)
        return self.last[1]

    def _predict(self, scene: LabelledScene) -> NDArray[np.uint8]:
        found = np.empty(scene.part.shape, np.uint8)
        grid = Grid(*(self._axis(side) for side in scene.part.shape))
        origin = scene.part.rows.start, scene.part.cols.start
        for window, tile in ((grid.window(block), grid.tile(block)) for block in grid):
            rgb = pad(read_image(scene, tile.clip(scene.part.shape).moved(*origin)), tile.shape)
            found[window.slices] = self.predictor.samples(rgb)[window.within(tile)]
        return found

    def _axis(self, side: int) -> Axis:
        stride = self.network.stride
        block = min(round_up(BLOCK, stride), round_up(side, stride))
        return Axis(side, block, stride, self.network.before, self.network.after)
