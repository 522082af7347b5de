"""From an RGB image to building probabilities: device, precision, layout, normalisation, test-time augmentation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Image = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

SAMPLE_SCALE = 254  # a sample is round(P · 254); 255 is kept for no data

NORMALISE_ROWS = 256  # rows converted at a time: the fp32 copy stays in the cache instead of doubling the input


def foreground(logits: Tensor) -> Tensor:
    """(N, C, H, W) logits -> (N, H, W) fp32 P(building): sigmoid of a single class, else 1 − P(class 0, background)."""
    if logits.shape[1] == 1:
        return logits[:, 0].float().sigmoid_()
    return 1 - logits.float().softmax(1)[:, 0]


def check_sides(shape: tuple[int, ...], stride: int) -> None:
    """Raise ``ValueError`` unless ``shape`` is (H, W, 3) with H and W positive multiples of ``stride``."""
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"an image must be (height, width, 3), not {shape}")
    for name, side in zip(("height", "width"), shape[:2], strict=True):
        if side < 1 or side % stride:
            low = side // stride * stride
            nearest = " and ".join(str(n) for n in (low, low + stride) if n)
            raise ValueError(f"{name} {side} is not a positive multiple of the stride {stride}; nearest: {nearest}")


def channels_last(network: nn.Module) -> nn.Module:
    """Convert the weights in place to the layout in which CPUs with AVX-512 and GPUs convolve fastest."""
    converted: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted


class Predictor:
    """A network on a device, ready to map images to P(building). Results do not depend on what was predicted before."""

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        device: str = "cpu",
        precision: str = "fp32",
        tta: str = "none",
    ) -> None:
        """``network`` is moved and converted in place; ``mean`` and ``std`` are of RGB in 0…1."""
        self.device = torch.device(device)
        self.dtype = PRECISIONS[precision]
        self.tta = tta
        self.stride = int(getattr(network, "stride", 32))
        self.network = channels_last(network.eval().to(self.device, self.dtype))
        self.mean = torch.tensor(mean, device=self.device)
        self.std = torch.tensor(std, device=self.device)

    def probabilities(self, rgb: Image) -> Probabilities:
        """(H, W, 3) uint8 RGB, sides multiples of the stride -> (H, W) float32 P(building) in 0…1."""
        probability: Probabilities = self._forward(rgb).cpu().numpy()
        return probability

    def samples(self, rgb: Image) -> Image:
        """(H, W, 3) uint8 RGB, sides multiples of the stride -> (H, W) uint8 samples, round(P · 254)."""
        quantised = self._forward(rgb).mul_(SAMPLE_SCALE).round_().to(torch.uint8)
        samples: Image = quantised.cpu().numpy()
        return samples

    @torch.inference_mode()
    def _forward(self, rgb: Image) -> Tensor:
        check_sides(rgb.shape, self.stride)
        pixels = torch.from_numpy(rgb).to(self.device)
        if self.tta == "d4":
            return self._mean_over_d4(pixels)
        return foreground(self.network(self._normalise(pixels)))[0]

    def _mean_over_d4(self, pixels: Tensor) -> Tensor:
        total = torch.zeros(pixels.shape[:2], device=self.device)
        for turns in range(4):
            turned = torch.rot90(pixels, turns)
            for flipped in (False, True):
                seen = turned.flip(1) if flipped else turned
                probability = foreground(self.network(self._normalise(seen)))[0]
                total += torch.rot90(probability.flip(1) if flipped else probability, -turns)
        return total / 8

    def _normalise(self, pixels: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) in the network's precision, channels last."""
        normalised = torch.empty(pixels.shape, dtype=self.dtype, device=self.device)
        for start in range(0, pixels.shape[0], NORMALISE_ROWS):
            rows = slice(start, start + NORMALISE_ROWS)
            normalised[rows] = pixels[rows].float().div_(255).sub_(self.mean).div_(self.std)
        return normalised.permute(2, 0, 1)[None]
