"""From an RGB image to building probabilities: device, precision, layout, normalisation, test-time augmentation."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.layers import check_sides
from models.patchwork import Patch, Patchwork
from models.weights import Weights

Image = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
Store = Callable[[Patch, Tensor], None]  # where, (h, w) fp32 probabilities

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

SAMPLE_MAX = 254
# ^ a sample is round(P · 254); 255 is kept for no data

PATCH_BYTES = {"cpu": 48 << 20, "cuda": 2 << 30}
# ^ Features of one patch. CPU: of 16, 48 and 96 MiB, 48 was fastest on Zen 4 with 32 MiB of shared cache (about half of
# the sum is alive at a time). CUDA: enough work per launch to fill any GPU, and tensors far below 2³¹ elements.


class DeviceMemoryError(MemoryError):
    """The device cannot hold a tile; ``shape`` is its (height, width), px."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__(f"the device cannot hold a tile of {shape[0]} × {shape[1]} px; use smaller ones")
        self.shape = shape


class NotFiniteError(ArithmeticError):
    """The network's values overflowed; in fp32 they may not."""


class Predictor:
    """A network on a device, ready to map images to P(building)."""

    def __init__(
        self, network: nn.Module, weights: Weights, device: str = "cpu", precision: str = "fp32", tta: str = "none"
    ) -> None:
        """``network`` is moved and converted in place; ``weights`` say how to feed and read it.

        ``precision`` is one of ``PRECISIONS``; ``tta`` is ``none`` or ``d4``, the mean over the 8 flips and rotations.
        """
        self.device = torch.device(device)
        self.precision = precision
        self.dtype = PRECISIONS[precision]
        self.turns = {"none": 1, "d4": 8}[tta]
        self.building = weights.classes.index("building") if "building" in weights.classes else None
        self.mean, self.std = (torch.tensor(rgb, device=self.device) for rgb in (weights.mean, weights.std))
        network = _channels_last(network.eval().to(self.device, self.dtype))
        self.patchwork = Patchwork(network, PATCH_BYTES[self.device.type])

    @torch.inference_mode()
    def probabilities(self, rgb: Image) -> Probabilities:
        """(H, W, 3) uint8 RGB, sides multiples of the stride -> (H, W) float32 P(building) in 0..1.

        Raises:
            ValueError: a side is not a multiple of the network's stride.
            DeviceMemoryError: the device cannot hold it.
            NotFiniteError: the network overflowed.
        """
        out = np.empty(rgb.shape[:2], np.float32)

        def store(patch: Patch, probability: Tensor) -> None:
            _crop(out, patch)[:] = probability.cpu().numpy()

        self._predict(rgb, store)
        return out

    @torch.inference_mode()
    def samples(self, rgb: Image) -> Image:
        """(H, W, 3) uint8 RGB, sides multiples of the stride -> (H, W) uint8 samples, round(P · 254).

        Raises:
            ValueError: a side is not a multiple of the network's stride.
            DeviceMemoryError: the device cannot hold it.
            NotFiniteError: the network overflowed.
        """
        out = np.empty(rgb.shape[:2], np.uint8)

        def store(patch: Patch, probability: Tensor) -> None:
            _crop(out, patch)[:] = probability.mul_(SAMPLE_MAX).round_().to(torch.uint8).cpu().numpy()

        self._predict(rgb, store)
        return out

    def _predict(self, rgb: Image, store: Store) -> None:
        if rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"an image must be (height, width, 3), not {rgb.shape}")
        shape = (rgb.shape[0], rgb.shape[1])
        try:
            pixels = torch.from_numpy(rgb).to(self.device)
            check_sides(pixels.permute(2, 0, 1), self.patchwork.graph.stride)
            self._forward(pixels, store) if self.turns == 1 else self._mean_over_turns(pixels, store)
        except RuntimeError as error:
            if _out_of_memory(error):
                raise DeviceMemoryError(shape) from error
            raise

    def _forward(self, pixels: Tensor, store: Store) -> None:
        """Store P(building) of ``pixels``, (H, W, 3) uint8, patch by patch."""

        def read(patch: Patch) -> Tensor:
            scaled = _crop(pixels, patch).float().div_(255).sub_(self.mean).div_(self.std)
            return scaled.to(self.dtype).contiguous().permute(2, 0, 1)[None]

        def write(patch: Patch, logits: Tensor) -> None:
            store(patch, self._probability(logits))

        height, width = pixels.shape[:2]
        self.patchwork.run((height, width), read, write)

    def _mean_over_turns(self, pixels: Tensor, store: Store) -> None:
        height, width = pixels.shape[:2]
        total = torch.zeros((height, width), device=self.device)
        for turned, undo in _turns(pixels):
            part = torch.empty(turned.shape[:2], device=self.device)
            self._forward(turned, partial(_place, part))
            total += undo(part)
        store(((0, height), (0, width)), total.div_(self.turns))

    def _probability(self, logits: Tensor) -> Tensor:
        """(1, C, h, w) logits -> (h, w) fp32: the sigmoid of one class; of several the softmax's building.

        Where no class is called so, everything but class 0, the background, counts as building.
        """
        logits = logits[0].float()
        if not logits.isfinite().all():
            raise NotFiniteError(f"the network gave values that are not finite in {self.precision}")
        if len(logits) == 1:
            return logits[0].sigmoid()
        classes = logits.softmax(0)
        return 1 - classes[0] if self.building is None else classes[self.building]


def _turns(pixels: Tensor) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """The 8 flips and rotations of an image (H, W, 3), each with what turns its result (h, w) back."""
    for axes in ((), (0,), (1,), (0, 1)):
        flipped = pixels.flip(axes)
        yield flipped, partial(torch.flip, dims=axes)
        yield flipped.transpose(0, 1), partial(_flip_transposed, axes)


def _flip_transposed(axes: tuple[int, ...], part: Tensor) -> Tensor:
    return part.t().flip(axes)


def _place(whole: Tensor, patch: Patch, part: Tensor) -> None:
    _crop(whole, patch).copy_(part)


@overload
def _crop(image: Tensor, patch: Patch) -> Tensor: ...
@overload
def _crop(image: NDArray[Any], patch: Patch) -> NDArray[Any]: ...
def _crop(image: Tensor | NDArray[Any], patch: Patch) -> Tensor | NDArray[Any]:
    return image[slice(*patch[0]), slice(*patch[1])]


def _channels_last(network: nn.Module) -> nn.Module:
    """Convert the weights to the layout in which processors with vector units, and GPUs, convolve fastest."""
    converted: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own; the CPU's allocator says it in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
