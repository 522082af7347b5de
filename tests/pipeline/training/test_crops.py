"""Samples depend on the seed and their number alone, and image and labels stay on each other."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SIDE, place, write_tif

from models.metrics import IGNORE
from pipeline.training.augment import colours
from pipeline.training.crops import Batches, Crops, Source, read_mirrored
from pipeline.training.pace import Pace
from pipeline.training.scenes import LabelledScene
from pipeline.training.settings import Augment, Recipe
from tiling.grid import Span, Window

PLAIN = Augment(scale=0, flips=False, rotate=0, colour=0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LabelledScene:
    folder, each = tmp_path_factory.mktemp("crops"), place(5)
    image, mask = write_tif(folder / "a.tif", each.image), write_tif(folder / "a_mask.tif", each.mask)
    return LabelledScene("a", image, mask, "mask", Window(Span(0, SIDE), Span(32, SIDE)))


def test_a_sample_is_a_function_of_seed_and_number(scene: LabelledScene) -> None:
    one, other = (Crops([Source(1, (scene,))], Augment(), seed=3) for _ in range(2))
    torch.manual_seed(99)
    first = [one[7, 64], one[8, 64]]
    torch.manual_seed(1)
    again = [other[8, 64], other[7, 64]]
    assert all(torch.equal(a, b) for a, b in zip(first[0] + first[1], again[1] + again[0], strict=True))
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(Crops([Source(1, (scene,))], Augment(), seed=4)[7, 64][0], first[0][0])


@given(number=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_without_augmentation_a_crop_is_a_window_of_the_part(scene: LabelledScene, number: int) -> None:
    image, labels = Crops([Source(1, (scene,))], PLAIN, seed=0)[number, 32]
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    inside = place(5).image[:, 32:]
    windows = np.lib.stride_tricks.sliding_window_view(inside, (32, 32), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    rows, cols = np.nonzero((windows == pixels).all((2, 3, 4)))
    assert len(rows) == 1
    expected = place(5).mask[rows[0] : rows[0] + 32, 32 + cols[0] : 64 + cols[0]] > 0
    assert (labels.numpy() == expected).all()


@given(number=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_turned_and_scaled_labels_stay_on_the_buildings(scene: LabelledScene, number: int) -> None:
    """The places' buildings are bright: whatever is done to a crop, its labels can be read off the picture."""
    image, labels = Crops([Source(1, (scene,))], Augment(colour=0, rotate=1), seed=0)[number, 96]
    known = labels != IGNORE
    bright = image.mean(0) > 0.42
    wrong = (bright != (labels == 1))[known].float().mean()
    assert wrong < 0.12  # outlines are blurred by turning; a label off its picture would give 0.3
    assert image.shape == (3, 96, 96)
    assert 0 <= image.min() <= image.max() <= 1 + 1e-6


def test_scaled_labels_lie_where_their_buildings_do(tmp_path: Path) -> None:
    """To a fraction of a pixel on average: a resampling that starts at corners would move labels by half of one."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[61:97, 63:101] = 1
    image = write_tif(tmp_path / "a.tif", np.repeat(60 + 140 * mask[..., None], 3, 2).astype(np.uint8))
    one = LabelledScene("a", image, write_tif(tmp_path / "m.tif", mask), "mask", Window.of((SIDE, SIDE)))
    crops = Crops([Source(1, (one,))], Augment(scale=0.5, flips=False, rotate=0, colour=0), seed=2)
    pairs = [crops[number, 96] for number in range(150)]
    brightness = [(image.mean(0) - 60 / 255, labels.float()) for image, labels in pairs]
    off = torch.stack([_centre(labels) - _centre(bright) for bright, labels in brightness if labels.any()])
    assert off.mean(0).abs().max() < 0.15


def _centre(weights: torch.Tensor) -> torch.Tensor:
    """(row, col) of the centre of mass of (h, w)."""
    rows, cols = (torch.arange(side, dtype=torch.float32) for side in weights.shape)
    return torch.stack([(weights.sum(1) * rows).sum(), (weights.sum(0) * cols).sum()]) / weights.sum()


def test_beyond_the_part_the_image_is_mirrored_and_unlabelled(scene: LabelledScene) -> None:
    window = Window(Span(-8, 40), Span(20, 60))
    image, labels = read_mirrored(scene, window)
    assert image.shape == (48, 40, 3)
    assert (labels[:8] == IGNORE).all()
    assert (labels[:, :12] == IGNORE).all()
    assert (labels[8:, 12:] == (place(5).mask[:40, 32:60] > 0)).all()
    assert (image[7, 12:] == image[8, 12:]).all()
    assert (image[8:, 11] == image[8:, 12]).all()


def test_colours_change_pixels_within_range_and_strength_zero_does_not() -> None:
    image = torch.rand(3, 48, 48)
    torch.manual_seed(0)
    changed = [colours(1.0)(image) for _ in range(60)]
    assert all(0 <= each.min() <= each.max() <= 1 for each in changed)
    assert sum(not torch.equal(each, image) for each in changed) > 45
    assert torch.equal(colours(0)(image), image)


@given(first=st.integers(0, 50), size=st.integers(1, 5), processes=st.integers(1, 4))
def test_processes_share_every_sample_out(first: int, size: int, processes: int) -> None:
    ranks = [iter(Batches(first, size, lambda _: 64, (index, processes))) for index in range(processes)]
    numbers = [number for _ in range(3) for rank in ranks for number, _ in next(rank)]
    assert sorted(numbers) == list(range(first * processes * size, (first + 3) * processes * size))


def test_pace_warms_up_falls_and_grows_the_crops() -> None:
    pace = Pace(Recipe(epochs=10, steps=10, rate=1e-2, warmup=0.2, crop=(32, 64)))
    pace.start(0)
    rates = [pace.rate(step) for step in range(101)]
    assert int(np.argmax(rates)) == 20
    assert rates[20] == pytest.approx(1e-2)
    assert all(a >= b for a, b in pairwise(rates[20:]))
    assert rates[100] == pytest.approx(1e-4)
    assert [pace.side(step) for step in (0, 49, 50, 100)] == [32, 32, 64, 64]
    assert Pace(Recipe(schedule="constant", rate=0.1)).rate(5) == 0.1


def test_a_time_budget_ends_a_training_whatever_its_steps() -> None:
    pace = Pace(Recipe(epochs=1000, minutes=1))
    pace.start(spent=30)
    assert pace.progress(1) == pytest.approx(0.5, abs=0.01)
    pace.start(spent=61)
    assert pace.progress(1) == 1
