"""What a network is worth on held-out scenes, by source: exact at every threshold, from one pass."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.catalogue import CATALOGUE
from models.feeding import normalised, probability, sampled
from models.metrics import IGNORE, Classes, Histogram, best_level
from models.samples import SAMPLE_MAX
from models.weights import Weights
from pipeline.training.scenes import Image, LabelledScene, read_image, read_labels
from tiling.grid import Span, Window, round_up


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts of a validation."""

    histograms: dict[str, Histogram]
    """By source: pixels of other things and of buildings by their sample."""
    classes: dict[str, Classes]
    """By source: pixels by true and predicted class; empty for a network of one class."""

    @property
    def level(self) -> int:
        """The sample from which a pixel is best called building: highest mean IoU over the sources."""
        return best_level(list(self.histograms.values()))

    @property
    def threshold(self) -> float:
        """The same as a probability: that of the lowest sample called building."""
        return self.level / SAMPLE_MAX

    @property
    def ious(self) -> dict[str, float]:
        """IoU of each source: of buildings at the best level, or the mean over the classes that occur."""
        if self.classes:
            return {source: counts.mean_iou for source, counts in self.classes.items()}
        return {source: histogram.confusion(self.level).iou for source, histogram in self.histograms.items()}

    @property
    def mean(self) -> float:
        """Mean IoU over the sources: what the best checkpoint has most of."""
        return float(np.mean(list(self.ious.values())))

    @property
    def together(self) -> Histogram:
        """All sources in one."""
        return sum(self.histograms.values(), Histogram.empty())

    def named(self) -> dict[str, float]:
        """Scores by name, as they go into the weights' metadata."""
        overall = self.together.confusion(self.level)
        return {
            **{f"iou/{source}": value for source, value in self.ious.items()},
            "iou/mean": self.mean,
            "iou/overall": overall.iou,
            "accuracy/overall": overall.accuracy,
            "calibration-error": self.together.calibration_error(),
        }


def centred(scene: LabelledScene, side: int | None) -> LabelledScene:
    """The scene with only the centre of its part, at most ``side`` px a side; None: all of it."""

    def middle(span: Span) -> Span:
        size = min(side or len(span), len(span))
        start = span.start + (len(span) - size) // 2
        return Span(start, start + size)

    return replace(scene, part=Window(middle(scene.part.rows), middle(scene.part.cols)))


@torch.no_grad()
def validate(network: nn.Module, about: Weights, scenes: Sequence[LabelledScene], dtype: torch.dtype) -> Scores:
    """Predict the part of each scene in one piece, in ``dtype``, and count; the network is left in evaluation mode.

    ``about`` says how to feed and read it, as ``Predictor`` does with the weights that are made of it.
    """
    network.eval()
    histograms: dict[str, Histogram] = defaultdict(Histogram.empty)
    classes: dict[str, Classes] = {}
    for scene in scenes:
        labels = read_labels(scene, scene.part)
        logits = predict(network, about, read_image(scene, scene.part), dtype)
        known = labels != IGNORE
        samples = sampled(probability(logits, about.building))[0].cpu().numpy()
        truth = labels > 0 if about.building is None else labels == about.building
        histograms[scene.source] += Histogram.of(samples[known], truth[known])
        if logits.shape[1] > 1:
            counts = Classes.of(_indices(logits), labels, logits.shape[1])
            classes[scene.source] = classes[scene.source] + counts if scene.source in classes else counts
    return Scores(dict(histograms), classes)


def _indices(logits: Tensor) -> NDArray[np.uint8]:
    """The most probable class of each pixel of one image."""
    indices: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).cpu().numpy()
    return indices


def predict(network: nn.Module, about: Weights, image: Image, dtype: torch.dtype) -> Tensor:
    """(1, C, h, w) logits of an image of any size, mirrored to the stride on its right and bottom and cut again."""
    height, width = image.shape[:2]
    stride = CATALOGUE[about.network].stride
    more = [(0, round_up(side, stride) - side) for side in (height, width)]
    padded = torch.from_numpy(np.pad(image, [*more, (0, 0)], mode="symmetric"))
    device = next(network.parameters()).device
    images = padded.to(device).permute(2, 0, 1)[None].float() / 255
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        logits: Tensor = network(normalised(images, about.mean, about.std))
    return logits[..., :height, :width]
