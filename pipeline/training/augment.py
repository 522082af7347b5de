"""Recolouring of crops, as other sensors, hours, seasons and compressions would show the same place."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.vision import v2


def colours(strength: float) -> nn.Module:
    """A transform of (3, h, w) float RGB 0..1 that draws from torch's generator; strength 0 leaves the pixels alone.

    The shares are small where a change is rare in the world (grey, swapped channels), large where every flight differs.
    """
    if not strength:
        return nn.Identity()
    jitter = v2.ColorJitter(0.35 * strength, 0.4 * strength, min(0.5 * strength, 1.0), min(0.04 * strength, 0.5))
    return nn.Sequential(
        v2.RandomApply([Exposure(0.25 * strength, 0.4 * strength)], 0.8),
        v2.RandomApply([jitter], 0.7),
        v2.RandomGrayscale(0.06),
        v2.RandomApply([v2.RandomChannelPermutation()], 0.03),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.3))], 0.2),
        v2.RandomApply([Noise(0.04 * strength)], 0.25),
        v2.RandomApply([Jpeg(25, 90)], 0.2),
    )


class Exposure(nn.Module):
    """Each channel multiplied by e^±``gain``, then a common gamma of e^±``gamma``: white balance, haze, exposure."""

    def __init__(self, gain: float, gamma: float) -> None:
        super().__init__()
        self.gain, self.gamma = gain, gamma

    def forward(self, image: Tensor) -> Tensor:
        """(3, h, w) float 0..1 -> the same."""
        gains = torch.exp(torch.empty(3, 1, 1).uniform_(-1, 1) * self.gain)
        gamma = torch.exp(torch.empty(1).uniform_(-1, 1) * self.gamma)
        exposed: Tensor = (image * gains).clamp(0, 1) ** gamma
        return exposed


class Noise(nn.Module):
    """Gaussian noise of a random strength up to ``most``."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = most

    def forward(self, image: Tensor) -> Tensor:
        """(3, h, w) float 0..1 -> the same."""
        return (image + torch.randn_like(image) * (torch.rand(1) * self.most)).clamp(0, 1)


class Jpeg(nn.Module):
    """Compression at a random quality. By Pillow: torchvision's needs compiled operators, which CPU builds lack."""

    def __init__(self, worst: int, best: int) -> None:
        super().__init__()
        self.worst, self.best = worst, best

    def forward(self, image: Tensor) -> Tensor:
        """(3, h, w) float 0..1 -> the same."""
        quality = int(torch.randint(self.worst, self.best + 1, ()))
        file = io.BytesIO()
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
