"""Scores in windows against scores of the whole array at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from models.metrics import IGNORE, boundary_confusion
from pipeline.evaluation import scoring
from pipeline.evaluation.scoring import Rules, Scores, judge, near_seam
from pipeline.store import NO_DATA
from tiling.grid import Span, Window

quick = settings(max_examples=30, deadline=None)


def window(height: int, width: int, top: int = 0, left: int = 0) -> Window:
    return Window(Span(top, top + height), Span(left, left + width))


def layers(seed: int, shape: tuple[int, int], holes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels of blobs, some of them missing."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((shape[0] // 5 + 1, shape[1] // 5 + 1)) < 0.4
    truth = np.kron(coarse, np.ones((5, 5), bool))[: shape[0], : shape[1]]
    samples = np.clip(rng.normal(80 + 100 * truth, 50), 0, 254).astype(np.uint8)
    labels = truth.astype(np.uint8)
    if holes:
        samples[rng.random(shape) < 0.05] = NO_DATA
        labels[rng.random(shape) < 0.05] = IGNORE
    return samples, labels


def scored(samples: np.ndarray, labels: np.ndarray, rules: Rules) -> Scores:
    whole = window(*samples.shape)
    readers = (lambda part, layer=layer: layer[part.within(whole)] for layer in (samples, labels))
    return sum((scores for _, scores in judge(whole, *readers, rules)), Scores())


@given(seed=st.integers(0, 10**6), height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(7, 40))
@quick
def test_the_division_into_windows_changes_nothing(seed: int, height: int, width: int, size: int) -> None:
    samples, labels = layers(seed, (height, width))
    rules = Rules(level=128, boundary=3, band=4, block=(16, 24), mosaic=(height, width))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "WINDOW", size)
        parts = scored(samples, labels, rules)
    assert parts == scored(samples, labels, rules)


@given(seed=st.integers(0, 10**6), level=st.integers(1, 254))
@quick
def test_scores_are_those_of_the_whole(seed: int, level: int) -> None:
    samples, labels = layers(seed, (40, 50))
    found = scored(samples, labels, Rules(level, boundary=2, band=4, block=None, mosaic=(0, 0)))
    counted = (samples != NO_DATA) & (labels != IGNORE)
    expected = jaccard_score(labels[counted] == 1, samples[counted] >= level, zero_division=1.0)
    assert found.pixels.iou == pytest.approx(expected)
    assert found.pixels.pixels == counted.sum()
    assert found.seams.pixels == 0
    clean, truth = layers(seed, (40, 50), holes=False)
    found = scored(clean, truth, Rules(level, boundary=2, band=4, block=None, mosaic=(0, 0)))
    assert found.outlines == boundary_confusion(clean >= level, truth == 1, 2)


@given(
    block=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    mosaic=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    band=st.integers(1, 4),
    origin=st.tuples(st.integers(0, 10), st.integers(0, 10)),
)
@quick
def test_near_a_seam_is_what_is_near_a_seam(
    block: tuple[int, int], mosaic: tuple[int, int], band: int, origin: tuple[int, int]
) -> None:
    origin = tuple(min(o, side - 1) for o, side in zip(origin, mosaic, strict=True))
    shape = tuple(side - o for o, side in zip(origin, mosaic, strict=True))
    near = near_seam(window(*shape), Rules(1, 1, band, block, mosaic, origin))
    for row, col in np.ndindex(*shape):
        expected = False
        for pixel, size, side in zip((row + origin[0], col + origin[1]), block, mosaic, strict=True):
            # A seam at s lies between the pixels s − 1 and s: the pixel's middle is |pixel + ½ − s| from it.
            expected |= any(abs(pixel + 0.5 - seam) < band for seam in range(size, side, size))
        assert near[row, col] == expected


def test_seams_and_interior_add_up() -> None:
    samples, labels = layers(3, (64, 64))
    found = scored(samples, labels, Rules(128, 2, 4, (32, 32), (64, 64)))
    assert found.seams + found.interior == found.pixels
    assert found.seams.pixels > 0
