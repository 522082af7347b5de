"""How a network is fed and read, in training as in use: its layout, what goes in, what its logits and samples say."""

import torch
from torch import Tensor, nn

from models.samples import SAMPLE_MAX
from models.weights import IMAGENET_MEAN, IMAGENET_STD

RGB = Tensor | tuple[float, float, float]
"""(3,) float32 on the images' device, or three numbers, which are sent there."""


def channels_last(network: nn.Module) -> nn.Module:
    """``network``, its weights converted in place to the layout in which vector units, and GPUs, convolve fastest."""
    converted: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted


def normalised(images: Tensor, mean: RGB = IMAGENET_MEAN, std: RGB = IMAGENET_STD) -> Tensor:
    """(N, 3, H, W) fp32 RGB in 0..1 -> the same less ``mean``, divided by ``std``, channels last."""
    mean, std = (torch.as_tensor(rgb, device=images.device)[:, None, None] for rgb in (mean, std))
    return images.sub(mean).div_(std).contiguous(memory_format=torch.channels_last)


def probability(logits: Tensor, building: int | None) -> Tensor:
    """(N, C, h, w) logits -> (N, h, w) fp32 P(building): the sigmoid of one class, of several the softmax's building.

    ``building`` is ``Weights.building``; None: everything but class 0, the background, counts as building.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return logits[:, 0].sigmoid()
    classes = logits.softmax(1)
    return 1 - classes[:, 0] if building is None else classes[:, building]


def sampled(probabilities: Tensor) -> Tensor:
    """fp32 P(building) in 0..1 -> uint8 samples of the same shape, round(P · 254)."""
    return probabilities.mul(SAMPLE_MAX).round_().to(torch.uint8)
