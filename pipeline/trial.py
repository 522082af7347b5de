"""How the network will run here: device, precision and memory per pixel, found out on the machine that will do it."""

from dataclasses import dataclass, replace
from typing import Any

from models.weights import Weights, WeightsError, describe
from pipeline.config import Region
from pipeline.errors import InputError
from pipeline.plan import Engine


@dataclass(frozen=True, slots=True)
class Request:
    """What the region asks for; ``answer`` is called where the network will run, because it imports torch."""

    weights: Weights
    """What the weights file says."""
    network: str
    """Name in the catalogue."""
    device: str
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: str
    """``auto``, ``fp32``, ``bf16`` or ``fp16``."""
    tta: str
    """``none`` or ``d4``."""

    @classmethod
    def of(cls, region: Region) -> "Request":
        """The request of a region.

        Raises:
            InputError: the weights file cannot be used, or is of another network.
        """
        try:
            weights = describe(region.model.weights)
        except WeightsError as error:
            raise InputError(f"model.weights: {error}") from error
        if weights.network != region.model.name:
            raise InputError(
                f"model.weights: {region.model.weights} holds {weights.network}, model.name is {region.model.name}; "
                f"set model.name to {weights.network} or give other weights"
            )
        options = region.inference
        return cls(weights, region.model.name, options.device, options.precision, options.tta)

    def remembering(self, head: dict[str, Any] | None) -> "Request":
        """The request with what an unfinished run of the same output has decided already."""
        return replace(self, precision=head["precision"]) if head else self

    def answer(self) -> Engine:
        """Decide.

        Raises:
            InputError: the device is not there.
        """
        import torch  # noqa: PLC0415 - the driver plans without torch; only whoever answers needs it

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(
                f"inference.device: {self.device} asked for, but torch sees no CUDA device here; use cpu or auto"
            )
        precision = self.precision
        if precision == "auto":
            fast = device != "cpu" or torch.cpu._is_avx512_bf16_supported()
            precision = "bf16" if fast else "fp32"
        bytes_per_pixel = {"fp32": 1160.0, "bf16": 576.0, "fp16": 576.0}[precision]
        return Engine(self.weights.path, self.network, device, precision, self.tta, bytes_per_pixel)
