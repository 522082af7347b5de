"""The losses of TernausNet's family: logits in, one number out; pixels labelled ``IGNORE`` count nowhere.

All take logits (N, C, H, W) of any float type and labels (N, H, W) uint8, class indices, and compute in fp32. One
channel is the logit of "building"; several are classes of a softmax. Where no pixel is labelled, the loss is zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from models.metrics import IGNORE

EPSILON = 1e-6
"""Makes two empty masks equal and keeps the logarithm finite; a millionth of a pixel."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits, labels) -> a scalar."""


def bce_log_jaccard(logits: Tensor, labels: Tensor, weight: float = 0.5, smoothing: float = 0.0) -> Tensor:
    """H − w · log J: cross entropy minus the log of the soft Jaccard index over the batch (TernausNet, equations 3–5).

    With several classes, H is the softmax's cross entropy and log J the mean over the classes. ``weight`` is w;
    ``smoothing`` moves the cross entropy's targets that far from 0 and 1, for labels that lie a pixel off.
    """
    scores, targets = _labelled(logits, labels)
    soft = targets * (1 - smoothing * _spread(targets)) + smoothing
    overlap, total = _sums(_probabilities(scores), targets)
    jaccard = (overlap + EPSILON) / (total - overlap + EPSILON)
    return _cross_entropy(scores, soft) - weight * torch.log(jaccard).mean()


def dice_cross_entropy(logits: Tensor, labels: Tensor, weight: float = 0.5) -> Tensor:
    """(1 − w) · H + w · (1 − D); D is the soft Dice index over the batch, mean over classes (Milletari et al. 2016)."""
    scores, targets = _labelled(logits, labels)
    return (1 - weight) * _cross_entropy(scores, targets) + weight * _dice(scores, targets)


def focal_dice(logits: Tensor, labels: Tensor, weight: float = 0.5, focus: float = 2.0) -> Tensor:
    """(1 − w) · F + w · (1 − D), with the focal loss F (Lin et al. 2017, arXiv:1708.02002, equation 4).

    F weighs each pixel's cross entropy by (1 − p)^focus, p being the probability of its class; ``focus`` is at least 1.
    """
    scores, targets = _labelled(logits, labels)
    surprise = -(_log_probabilities(scores) * _all_classes(targets)).sum(1)
    focal = _mean((1 - torch.exp(-surprise)).clamp(min=0) ** focus * surprise)
    return (1 - weight) * focal + weight * _dice(scores, targets)


def _labelled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (P, C) fp32 of the P labelled pixels and their targets (P, C): one hot; of one channel 1, any building."""
    known = labels != IGNORE
    scores = logits.movedim(1, -1)[known].float()
    indices = labels[known].long()
    targets = indices[:, None] > 0 if scores.shape[1] == 1 else functional.one_hot(indices, scores.shape[1])
    return scores, targets.float()


def _spread(targets: Tensor) -> int:
    """How many shares of smoothing are taken from a full target: one for every class, of which a sigmoid has two."""
    return max(targets.shape[1], 2)


def _probabilities(scores: Tensor) -> Tensor:
    return torch.sigmoid(scores) if scores.shape[1] == 1 else scores.softmax(1)


def _log_probabilities(scores: Tensor) -> Tensor:
    """(P, K) log P of all K >= 2 classes; a single score s is the pair of logits (0, s)."""
    both = torch.cat([torch.zeros_like(scores), scores], 1) if scores.shape[1] == 1 else scores
    return both.log_softmax(1)


def _all_classes(targets: Tensor) -> Tensor:
    return torch.cat([1 - targets, targets], 1) if targets.shape[1] == 1 else targets


def _cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    if scores.shape[1] == 1:
        return _mean(functional.binary_cross_entropy_with_logits(scores, targets, reduction="none"))
    return _mean(-(scores.log_softmax(1) * targets).sum(1))


def _mean(values: Tensor) -> Tensor:
    """Their mean; 0, with a gradient, where there are none."""
    return values.sum() / max(values.numel(), 1)


def _sums(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For each class, over all pixels: Σ p·t and Σ p + Σ t."""
    return (probabilities * targets).sum(0), probabilities.sum(0) + targets.sum(0)


def _dice(scores: Tensor, targets: Tensor) -> Tensor:
    overlap, total = _sums(_probabilities(scores), targets)
    return (1 - (2 * overlap + EPSILON) / (total + EPSILON)).mean()
