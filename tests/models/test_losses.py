"""The losses against formulas written out pixel by pixel, and their gradients against finite differences."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses import EPSILON, bce_log_jaccard, dice_cross_entropy, focal_dice
from models.metrics import IGNORE

LOSSES = [
    bce_log_jaccard,
    partial(bce_log_jaccard, weight=1.0, smoothing=0.05),
    dice_cross_entropy,
    focal_dice,
    partial(focal_dice, weight=0.2, focus=1.0),
]


def case(seed: int, classes: int, ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    logits = torch.randn(2, classes, 5, 4) * 2
    labels = torch.randint(max(classes, 2), (2, 5, 4), dtype=torch.uint8)
    labels[torch.rand(2, 5, 4) < ignored] = IGNORE
    return logits, labels


def pixels(logits: torch.Tensor, labels: torch.Tensor) -> list[tuple[list[float], int]]:
    """(probabilities of all classes, label) of each labelled pixel, by plain arithmetic."""
    found = []
    for n in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                scores = logits[n, :, y, x].tolist()
                scores = [0.0, *scores] if len(scores) == 1 else scores
                total = sum(math.exp(s) for s in scores)
                if labels[n, y, x] != IGNORE:
                    found.append(([math.exp(s) / total for s in scores], int(labels[n, y, x])))
    return found


def overlaps(found: list[tuple[list[float], int]], channels: int) -> list[tuple[float, float]]:
    """Σ p·t and Σ p + Σ t of each class that counts: all of a softmax, building alone of a sigmoid."""
    counted = [1] if channels == 1 else range(channels)
    hits = [sum(p[c] for p, t in found if t == c) for c in counted]
    return [(hit, sum(p[c] + (t == c) for p, t in found)) for hit, c in zip(hits, counted, strict=True)]


def entropy(found: list[tuple[list[float], int]], smoothing: float = 0.0) -> float:
    def one(p: list[float], t: int) -> float:
        return -sum(((1 - smoothing * len(p)) * (c == t) + smoothing) * math.log(p[c]) for c in range(len(p)))

    return sum(one(p, t) for p, t in found) / len(found)


@pytest.mark.parametrize("classes", [1, 3])
@given(seed=st.integers(0, 10**6), weight=st.floats(0, 1), smoothing=st.floats(0, 0.1))
@settings(max_examples=15, deadline=None)
def test_bce_log_jaccard_is_the_papers_formula(classes: int, seed: int, weight: float, smoothing: float) -> None:
    logits, labels = case(seed, classes)
    found = pixels(logits, labels)
    logs = [math.log((i + EPSILON) / (s - i + EPSILON)) for i, s in overlaps(found, classes)]
    expected = entropy(found, smoothing) - weight * sum(logs) / len(logs)
    assert float(bce_log_jaccard(logits, labels, weight, smoothing)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("classes", [1, 3])
@given(seed=st.integers(0, 10**6), weight=st.floats(0, 1), focus=st.floats(1, 4))
@settings(max_examples=15, deadline=None)
def test_dice_losses_are_their_formulas(classes: int, seed: int, weight: float, focus: float) -> None:
    logits, labels = case(seed, classes)
    found = pixels(logits, labels)
    dices = [1 - (2 * i + EPSILON) / (s + EPSILON) for i, s in overlaps(found, classes)]
    dice = sum(dices) / len(dices)
    focal = sum((1 - p[t]) ** focus * -math.log(p[t]) for p, t in found) / len(found)
    crossed, focused = dice_cross_entropy(logits, labels, weight), focal_dice(logits, labels, weight, focus)
    assert float(crossed) == pytest.approx((1 - weight) * entropy(found) + weight * dice, rel=1e-4)
    assert float(focused) == pytest.approx((1 - weight) * focal + weight * dice, rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [1, 4])
def test_gradients_are_those_of_finite_differences(loss, classes: int) -> None:
    logits, labels = case(3, classes)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
    step, direction = 1e-2, torch.randn_like(logits)
    with torch.no_grad():
        slope = (loss(logits + step * direction, labels) - loss(logits - step * direction, labels)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_ignored_pixels_change_nothing_and_get_no_gradient(loss, classes: int) -> None:
    logits, labels = case(4, classes)
    shaken = logits.clone()
    shaken[(labels == IGNORE)[:, None].expand_as(logits)] += 5
    shaken.requires_grad_()
    value = loss(shaken, labels)
    value.backward()
    assert value.item() == pytest.approx(loss(logits, labels).item(), rel=1e-6)
    assert (shaken.grad[(labels == IGNORE)[:, None].expand_as(logits)] == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [0, 1, IGNORE])
def test_extremes_stay_finite(loss, label: int) -> None:
    logits = torch.full((1, 1, 4, 4), -80.0, requires_grad=True)
    value = loss(logits, torch.full((1, 4, 4), label, dtype=torch.uint8))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_one_channel_takes_every_class_but_the_first_for_building(loss) -> None:
    logits, labels = case(7, 1)
    kinds = torch.where((labels == 1) & (torch.rand(labels.shape) < 0.5), 7, labels)
    assert (kinds == 7).any()
    assert loss(logits, kinds) == loss(logits, labels)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_logits_are_computed_in_fp32(loss) -> None:
    logits, labels = case(5, 1)
    rounded = logits.bfloat16()
    assert loss(rounded, labels).dtype == torch.float32
    assert float(loss(rounded, labels)) == pytest.approx(float(loss(rounded.float(), labels)), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_better_prediction_costs_less(loss) -> None:
    _, labels = case(6, 1, ignored=0)
    right = (labels.float() * 2 - 1)[:, None]
    assert loss(right * 3, labels) < loss(right, labels) < loss(-right, labels)
