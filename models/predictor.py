"""From an RGB image to building probabilities: device, precision, layout, normalisation, test-time augmentation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.feeding import channels_last, normalised, probability, sampled
from models.layers import check_sides
from models.patchwork import Patch, Patchwork, Shape
from models.weights import Weights

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, 0..255."""
Samples = NDArray[np.uint8]
"""(H, W) uint8 P(building) in steps of 1 / 254, 0..254."""
Probabilities = NDArray[np.float32]
"""(H, W) float32 P(building), 0..1."""
Store = Callable[[Patch, Tensor], None]
"""Takes where, and (h, w) fp32 P(building) there."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

PATCH_BYTES = {"cpu": 32 << 20, "cuda": 2 << 30}
# ^ Features of one patch. CPU: what a cache of 32 MiB holds, and what the allocator keeps from patch to patch; at
# 48 MiB it gives them back each time, and the system spends 0.5 s per Mpx on clearing pages instead of 0.13.
# CUDA: enough work per launch to fill any GPU, and tensors far below 2³¹ elements.

WORKSPACE = {"cpu": 256 << 20, "cuda": 3 << 30}
# ^ What one tile takes beside held layers: features of a patch, the library's scratch and code, fragments.
# CPU: see docs/performance.md. CUDA: the features of a patch and 1 GiB, until it is measured on a device.


@dataclass(frozen=True, slots=True)
class Need:
    """Memory that predicting takes on the device, beside the input."""

    fixed: int
    """For any tile, weights included, B."""
    per_pixel: float
    """For each pixel of the tile, B."""

    def bytes(self, pixels: int) -> int:
        """For a tile of so many pixels, B."""
        return self.fixed + int(self.per_pixel * pixels)


class DeviceMemoryError(MemoryError):
    """The device cannot hold a tile; ``shape`` is its (height, width), px."""

    def __init__(self, shape: Shape) -> None:
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
        self.building = weights.building
        self.mean, self.std = (torch.tensor(rgb, device=self.device) for rgb in (weights.mean, weights.std))
        if precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False  # the default, which keeps 10 bits of the mantissa only
        network = channels_last(network.eval().to(self.device, self.dtype))
        self.copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.patchwork = Patchwork(network, PATCH_BYTES[self.device.type])

    @property
    def need(self) -> Need:
        """What a tile takes: the layers held, by the network's own graph, the result, and in d4 the mean's parts."""
        weights = sum(tensor.nbytes for tensor in self.patchwork.graph.network.state_dict().values())
        turned = 0 if self.turns == 1 else 3 + 3 * 4  # a turned image; in fp32 the sum, a part, and it turned back
        result = 4  # at most: probabilities in fp32
        return Need(weights + WORKSPACE[self.device.type], self.patchwork.held_bytes + turned + result)

    def upload(self, rgb: Image) -> Tensor:
        """An image on the device, for ``samples``; a thread that reads ahead may call it meanwhile.

        Raises:
            ValueError: it is no RGB image.
            DeviceMemoryError: the device cannot hold it.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"an image must be (height, width, 3), not {rgb.shape}")
        pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
        if self.copies is None:
            return pixels
        with _memory_of(pixels), torch.cuda.stream(self.copies):
            uploaded = pixels.pin_memory().to(self.device, non_blocking=True)
            self.copies.synchronize()
            uploaded.record_stream(torch.cuda.default_stream(self.device))
        return uploaded

    @torch.inference_mode()
    def probabilities(self, rgb: Image | Tensor) -> Probabilities:
        """P(building) in an image, or in what ``upload`` made of it; its sides are multiples of the stride.

        Raises:
            ValueError: a side is not a multiple of the network's stride.
            DeviceMemoryError: the device cannot hold it.
            NotFiniteError: the network overflowed.
        """
        out: Probabilities = self._predict(rgb, torch.float32, lambda found: found)
        return out

    @torch.inference_mode()
    def samples(self, rgb: Image | Tensor) -> Samples:
        """The same as samples, round(P · 254); raises as ``probabilities``."""
        out: Samples = self._predict(rgb, torch.uint8, sampled)
        return out

    def _predict(self, rgb: Image | Tensor, dtype: torch.dtype, encode: Callable[[Tensor], Tensor]) -> NDArray[Any]:
        pixels = rgb if isinstance(rgb, Tensor) else self.upload(rgb)
        check_sides(pixels.permute(2, 0, 1), self.patchwork.graph.stride)
        with _memory_of(pixels):
            out = torch.empty(pixels.shape[:2], dtype=dtype, device=self.device)
            forward = self._forward if self.turns == 1 else self._mean_over_turns
            forward(pixels, lambda patch, found: _place(out, patch, encode(found)))
            return out.cpu().numpy()

    def _forward(self, pixels: Tensor, store: Store) -> None:
        """Store P(building) of ``pixels``, (H, W, 3) uint8, patch by patch."""

        def read(patch: Patch) -> Tensor:
            scaled = pixels[patch.slices].float().div_(255).permute(2, 0, 1)[None]
            return normalised(scaled, self.mean, self.std).to(self.dtype)

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
        store(Patch((0, height), (0, width)), total.div_(self.turns))

    def _probability(self, logits: Tensor) -> Tensor:
        """(1, C, h, w) logits -> (h, w) fp32 P(building)."""
        if not logits.isfinite().all():
            raise NotFiniteError(f"the network gave values that are not finite in {self.precision}")
        return probability(logits, self.building)[0]


def _turns(pixels: Tensor) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """The 8 flips and rotations of an image (H, W, 3), each with what turns its result (h, w) back."""
    for axes in ((), (0,), (1,), (0, 1)):
        flipped = pixels.flip(axes)
        yield flipped, partial(torch.flip, dims=axes)
        yield flipped.transpose(0, 1), partial(_flip_transposed, axes)


def _flip_transposed(axes: tuple[int, ...], part: Tensor) -> Tensor:
    return part.t().flip(axes)


def _place(whole: Tensor, patch: Patch, part: Tensor) -> None:
    whole[patch.slices] = part


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory is short: torch has an exception for it, the CPU's allocator and CUDA's libraries sentences."""
    signs = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


@contextmanager
def _memory_of(pixels: Tensor) -> Iterator[None]:
    """Raise DeviceMemoryError where memory is short."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise DeviceMemoryError((pixels.shape[0], pixels.shape[1])) from error
        raise
