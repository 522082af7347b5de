"""Training samples: sample n of a run is a function of the seed and n alone.

So a resumed run sees what an undisturbed one would have seen, whatever the number of workers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from models.metrics import IGNORE
from models.vision import v2
from pipeline.training.augment import colours
from pipeline.training.scenes import Image, LabelledScene, Labels, read_image, read_labels
from pipeline.training.settings import Augment
from tiling.grid import Span, Window

Sample = tuple[Tensor, Tensor]
"""(3, side, side) float32 RGB 0..1 and (side, side) uint8 labels."""
Index = tuple[int, int]
"""Number of a sample in the run, and its side in px."""


@dataclass(frozen=True, slots=True)
class Source:
    """Scenes that are drawn from together, in proportion to their area."""

    share: float
    """Of all samples, relative to the other sources'."""
    scenes: tuple[LabelledScene, ...]
    """At least one."""


class Crops(Dataset[Sample]):
    """Random crops of labelled scenes: placed, scaled, turned and recoloured. Windows are read from the files."""

    def __init__(self, sources: Sequence[Source], augment: Augment, seed: int) -> None:
        self.sources, self.augment, self.seed = sources, augment, seed
        shares = np.array([source.share for source in sources])
        self.shares = shares / shares.sum()
        self.recolour = colours(augment.colour)

    def __getitem__(self, index: Index) -> Sample:
        number, side = index
        rng = np.random.default_rng((self.seed, number))
        image, labels = self._placed(self._scene(rng), side, rng)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return self.recolour(image), labels

    def _scene(self, rng: np.random.Generator) -> LabelledScene:
        scenes = self.sources[int(rng.choice(len(self.sources), p=self.shares))].scenes
        areas = np.array([scene.part.area for scene in scenes], float)
        return scenes[int(rng.choice(len(scenes), p=areas / areas.sum()))]

    def _placed(self, scene: LabelledScene, side: int, rng: np.random.Generator) -> Sample:
        """A crop at a random place, scale and angle."""
        seen = math.ceil(side * math.exp(rng.uniform(-1, 1) * self.augment.scale))
        angle = float(rng.uniform(-45, 45)) if rng.random() < self.augment.rotate else 0.0
        turn = math.radians(abs(angle))
        span = math.ceil(seen * (math.cos(turn) + math.sin(turn)))  # room for the corners of the turned crop
        image, labels = read_mirrored(scene, _place(scene.part, span, rng))
        if self.augment.flips:
            image, labels = _flipped(image, labels, rng)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
        return _warped(pixels, torch.from_numpy(np.ascontiguousarray(labels))[None], angle, seen, side)


def _place(part: Window, span: int, rng: np.random.Generator) -> Window:
    """A window of ``span`` px a side inside ``part``; where that is smaller, one that hangs over its ends."""

    def placed(outer: Span) -> Span:
        room = len(outer) - span
        start = outer.start + int(rng.integers(min(room, 0), max(room, 0) + 1))
        return Span(start, start + span)

    return Window(placed(part.rows), placed(part.cols))


def read_mirrored(scene: LabelledScene, window: Window) -> tuple[Image, Labels]:
    """Image and labels of ``window``; outside the scene's part the image is mirrored and the labels are ``IGNORE``."""
    inside = window.intersection(scene.part)
    pads = [
        (inner.start - outer.start, outer.stop - inner.stop)
        for inner, outer in ((inside.rows, window.rows), (inside.cols, window.cols))
    ]
    image = np.pad(read_image(scene, inside), [*pads, (0, 0)], mode="symmetric")
    return image, np.pad(read_labels(scene, inside), pads, constant_values=IGNORE)


def _flipped(image: Image, labels: Labels, rng: np.random.Generator) -> tuple[Image, Labels]:
    """One of the eight flips and quarter turns."""
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = np.rot90(image, quarters), np.rot90(labels, quarters)
    return (image[:, ::-1], labels[:, ::-1]) if mirrored else (image, labels)


def _warped(image: Tensor, labels: Tensor, angle: float, seen: int, side: int) -> Sample:
    """Turned by ``angle`` degrees, cut to ``seen`` px around the centre, resized to ``side``."""
    nearest, bilinear = v2.InterpolationMode.NEAREST, v2.InterpolationMode.BILINEAR
    if angle:
        image = v2.functional.rotate(image, angle, interpolation=bilinear)
        labels = v2.functional.rotate(labels, angle, interpolation=nearest, fill=[IGNORE])
    image, labels = (v2.functional.center_crop(item, [seen, seen]) for item in (image, labels))
    if seen != side:
        image = v2.functional.resize(image, [side, side], interpolation=bilinear, antialias=True)
        # about pixel centres, as the image; plain NEAREST would move the labels by half a pixel
        labels = v2.functional.resize(labels, [side, side], interpolation=v2.InterpolationMode.NEAREST_EXACT)
    return image, labels[0]


class Batches(Sampler[list[Index]]):
    """The batches of a run from number ``first`` on, without end: of each, the samples that fall to this process."""

    def __init__(self, first: int, size: int, side: Callable[[int], int], rank: tuple[int, int] = (0, 1)) -> None:
        """``size`` samples per process; ``side(batch)`` px; ``rank`` is this process's index and their number."""
        self.first, self.size, self.side, self.rank = first, size, side, rank

    def __iter__(self) -> Iterator[list[Index]]:
        index, processes = self.rank
        batch = self.first
        while True:
            start = (batch * processes + index) * self.size
            yield [(number, self.side(batch)) for number in range(start, start + self.size)]
            batch += 1
