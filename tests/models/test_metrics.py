"""The metrics against scikit-learn, scipy and sums written out, on random cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_score, recall_score

from models.metrics import LEVELS, Classes, Confusion, Histogram, best_level, boundary, boundary_confusion

seeds = st.integers(0, 10**6)
quick = settings(max_examples=20, deadline=None)


def masks(seed: int, shape: tuple[int, int] = (23, 31)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(shape) < rng.random(), rng.random(shape) < rng.random()


def samples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 30)) < 0.3
    return np.clip(rng.normal(90 + 80 * truth, 60), 0, 254).astype(np.uint8), truth


@given(seeds)
@quick
def test_confusion_equals_scikit_learn(seed: int) -> None:
    predicted, truth = masks(seed)
    found, p, t = Confusion.of(predicted, truth), predicted.ravel(), truth.ravel()
    assert found.iou == pytest.approx(jaccard_score(t, p, zero_division=1.0))
    assert found.accuracy == pytest.approx(accuracy_score(t, p))
    assert found.precision == pytest.approx(precision_score(t, p, zero_division=1.0))
    assert found.recall == pytest.approx(recall_score(t, p, zero_division=1.0))
    assert found.pixels == truth.size


@given(seeds, st.integers(0, 23))
@quick
def test_counts_add_up_over_tiles(seed: int, cut: int) -> None:
    predicted, truth = masks(seed)
    parts = [Confusion.of(predicted[rows], truth[rows]) for rows in (slice(None, cut), slice(cut, None))]
    assert parts[0] + parts[1] == Confusion.of(predicted, truth)
    rows = np.arange(23)[:, None] < cut
    assert Confusion.of(predicted, truth, np.broadcast_to(rows, truth.shape)) == parts[0]


def test_nothing_to_find_and_nothing_found_is_right() -> None:
    nothing = np.zeros((4, 4), bool)
    found = Confusion.of(nothing, nothing)
    assert (found.iou, found.accuracy, found.precision, found.recall) == (1, 1, 1, 1)
    assert Confusion.of(~nothing, nothing).iou == 0


@given(seeds, st.integers(0, 254))
@quick
def test_a_histogram_holds_the_confusion_at_every_level(seed: int, level: int) -> None:
    values, truth = samples(seed)
    histogram = Histogram.of(values, truth)
    assert histogram.confusion(level) == Confusion.of(values >= level, truth)
    assert histogram.ious()[level] == pytest.approx(histogram.confusion(level).iou)
    halves = Histogram.of(values[:20], truth[:20]) + Histogram.of(values[20:], truth[20:]) + Histogram.empty()
    np.testing.assert_array_equal(halves.building, histogram.building)
    np.testing.assert_array_equal(halves.background, histogram.background)


@given(st.lists(seeds, min_size=1, max_size=3))
@quick
def test_the_best_level_is_best(chosen: list[int]) -> None:
    histograms = [Histogram.of(*samples(seed)) for seed in chosen]
    means = [np.mean([h.confusion(level).iou for h in histograms]) for level in range(1, LEVELS - 1)]
    assert means[best_level(histograms) - 1] == pytest.approx(max(means))


@given(seeds, st.integers(1, 20))
@quick
def test_the_reliability_curve_is_that_of_the_pixels(seed: int, bins: int) -> None:
    values, truth = samples(seed)
    probability = values / 254
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    inside = [bin_of == i for i in range(bins) if (bin_of == i).any()]
    curve = np.array(Histogram.of(values, truth).reliability(bins))
    np.testing.assert_allclose(curve, [(probability[i].mean(), truth[i].mean()) for i in inside])
    error = sum(abs(probability[i].mean() - truth[i].mean()) * i.sum() for i in inside) / values.size
    assert Histogram.of(values, truth).calibration_error(bins) == pytest.approx(error)


@given(seeds, st.integers(2, 5))
@quick
def test_classes_equal_scikit_learn(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, classes, (2, 200)).astype(np.uint8)
    void = rng.random(200) < 0.1
    found = Classes.of(predicted, np.where(void, 255, truth).astype(np.uint8), classes)
    kept = ~void
    np.testing.assert_array_equal(found.counts, confusion_matrix(truth[kept], predicted[kept], labels=range(classes)))
    expected = jaccard_score(truth[kept], predicted[kept], labels=range(classes), average=None, zero_division=1.0)
    np.testing.assert_allclose(found.ious(), expected)
    np.testing.assert_array_equal((found + found).counts, 2 * found.counts)


def test_classes_that_do_not_occur_are_no_success() -> None:
    truth, predicted = np.array([0, 0, 1, 1], np.uint8), np.array([0, 1, 1, 1], np.uint8)
    found = Classes.of(predicted, truth, 21)
    assert found.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(found.ious()[2:]).all()
    assert Classes.of(predicted[:0], truth[:0], 21).mean_iou == 1.0


@given(seeds, st.integers(1, 4))
@quick
def test_boundaries_are_what_erosion_takes_away(seed: int, width: int) -> None:
    predicted, truth = (np.kron(mask, np.ones((5, 5), bool)) for mask in masks(seed, (6, 7)))
    bands = []
    for mask in (predicted, truth):
        padded = np.pad(mask, width, mode="edge")
        eroded = binary_erosion(padded, np.ones((3, 3)), iterations=width, border_value=1)
        bands.append(mask & ~eroded[width:-width, width:-width])
        np.testing.assert_array_equal(boundary(mask, width), bands[-1])
    union = (bands[0] | bands[1]).sum()
    expected = (bands[0] & bands[1]).sum() / union if union else 1
    assert boundary_confusion(predicted, truth, width).iou == pytest.approx(expected)


def test_boundary_iou_sees_what_iou_does_not() -> None:
    truth = np.zeros((80, 80), bool)
    truth[10:70, 10:70] = True
    grown = boundary(~truth, 2) | truth
    assert Confusion.of(grown, truth).iou > 0.85
    assert boundary_confusion(grown, truth, 2).iou < 0.1
