"""Which precision: the fastest one of the device whose probabilities hold, found out on the imagery itself."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from models.predictor import Image, Predictor
from models.weights import Weights

CROP = 256
# ^ px a side, a multiple of every stride: 65,536 pixels, computed in both precisions: 0.4 s on two cores
MEAN_LIMIT = 1 / 508
# ^ half a step of a stored sample: on average no further off than rounding to samples may be
CROSSED_LIMIT = 0.002
# ^ of the pixels may change sides at the threshold. An Inria scene has about 5,600 buildings with some 170 px of
# outline: moving them all by a twentieth of a pixel changes as many. TernausNet11 in bf16 changes 0.0002.


@dataclass(frozen=True, slots=True)
class Choice:
    """A precision and how far its probabilities are from those in fp32."""

    precision: str
    """``fp32``, ``bf16`` or ``fp16``."""
    reason: str
    """One sentence."""
    tried: str
    """The precision that was compared with fp32."""
    mean: float = 0.0
    """Mean |Δp|."""
    largest: float = 0.0
    """Largest |Δp|."""
    crossed: float = 0.0
    """Share of the pixels that changed sides at the threshold."""


def fastest(device: str) -> str:
    """The fastest precision that ``device`` computes in hardware."""
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def choose(network: nn.Module, weights: Weights, device: str, rgb: Image) -> Choice:
    """Compare the device's fastest precision with fp32 on ``rgb``, uint8 (H, W, 3), of which a crop is looked at."""
    return judge(network, weights, device, fastest(device), rgb)


def judge(network: nn.Module, weights: Weights, device: str, precision: str, rgb: Image) -> Choice:
    """Whether ``precision`` holds on ``rgb``; what overflows does not hold. ``network`` is moved, its values stay."""
    if precision == "fp32":
        return Choice("fp32", f"{device} has no faster precision in hardware", "fp32")

    crop = middle(rgb)
    exact = Predictor(network, weights, device, "fp32").probabilities(crop)
    try:
        rough = Predictor(deepcopy(network), weights, device, precision).probabilities(crop)
    except ArithmeticError:
        return Choice("fp32", f"the network overflows in {precision}", precision, 1.0, 1.0, 1.0)
    threshold = weights.operating_threshold
    difference = np.abs(rough - exact)
    mean, largest = float(difference.mean()), float(difference.max())
    return _verdict(precision, mean, largest, float(((rough >= threshold) != (exact >= threshold)).mean()))


def middle(rgb: Image) -> Image:
    """The middle of an image (H, W, 3), ``CROP`` px a side; smaller images are repeated by reflection."""
    top, left = (max(0, (side - CROP) // 2) for side in rgb.shape[:2])
    crop = rgb[top : top + CROP, left : left + CROP]
    return np.pad(crop, [(0, CROP - crop.shape[0]), (0, CROP - crop.shape[1]), (0, 0)], mode="symmetric")


def _verdict(precision: str, mean: float, largest: float, crossed: float) -> Choice:
    if mean <= MEAN_LIMIT and crossed <= CROSSED_LIMIT:
        reason = f"{precision} holds: mean |Δp| {mean:.1g}, {crossed:.2%} of the pixels change sides at the threshold"
        return Choice(precision, reason, precision, mean, largest, crossed)
    reason = (
        f"{precision} does not hold: mean |Δp| {mean:.1g} (limit {MEAN_LIMIT:.1g}), {crossed:.2%} of the pixels change "
        f"sides at the threshold (limit {CROSSED_LIMIT:.1%})"
    )
    return Choice("fp32", reason, precision, mean, largest, crossed)
