"""How the network will run here: device, precision and memory per pixel, found out on the machine that will do it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from models.weights import Weights, WeightsError, describe
from pipeline import pixels
from pipeline.config import Region
from pipeline.device import device_of
from pipeline.engine import Engine
from pipeline.errors import InputError
from pipeline.machine import GIB
from pipeline.mosaic import Mosaic
from pipeline.network import adopt, first_line, room
from tiling.grid import Window

# The imagery on which precisions are compared, px a side.
SAMPLE_SIDE = 512
# Scenes that are opened to find imagery in their middle; a region may begin with empty ones.
SCENES_LOOKED_AT = 20


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

    def answer(self, mosaic: Mosaic) -> Engine:
        """Decide; ``mosaic`` gives the imagery on which a lower precision has to hold.

        Raises:
            InputError: the device is not there, or cannot run the network.
        """
        import torch  # noqa: PLC0415 - the driver plans without it; only whoever answers needs it

        device = device_of("inference.device", self.device)
        try:
            with room(device):
                return self._answer(mosaic, device)
        except (MemoryError, torch.AcceleratorError) as error:
            raise InputError(self._refusal(device, error)) from error

    def _refusal(self, device: str, error: Exception) -> str:
        """That a device cannot run the network, and why."""
        reason = "it has too little memory" if isinstance(error, MemoryError) else first_line(error)
        cure = "end what else runs there" if device == "cpu" else "end what else runs there, or use another one, or cpu"
        return f"inference.device: {device} cannot run {self.network}: {reason}{_told(device)}; {cure}"

    def _answer(self, mosaic: Mosaic, device: str) -> Engine:
        from models import precision  # noqa: PLC0415
        from models.checkpoints import load  # noqa: PLC0415
        from models.predictor import Predictor  # noqa: PLC0415

        try:
            network = load(self.weights.path, self.network)
        except WeightsError as error:
            raise InputError(f"model.weights: {error}") from error
        chosen, check = self.precision, ""
        if chosen == "auto":
            choice = precision.choose(network, self.weights, device, sample(mosaic))
            chosen, check = choice.precision, f"{choice.reason}; at most {choice.largest:.2g}"
        predictor = Predictor(network, self.weights, device, chosen, self.tta)
        need, most = predictor.need, predictor.patchwork.most_pixels if device != "cpu" else None
        engine = Engine(
            weights=self.weights.path,
            network=self.network,
            device=device,
            precision=chosen,
            tta=self.tta,
            fixed_bytes=need.fixed,
            bytes_per_pixel=need.per_pixel,
            most_pixels=most,
            device_bytes=_free(device),
            sha256=self.weights.sha256,
            check=check,
        )
        adopt(engine, predictor)
        return engine


def _free(device: str) -> int | None:
    """Memory that a tile may take on a GPU, B: what is free of it now, but for a tenth that fragments."""
    if device == "cpu":
        return None
    import torch  # noqa: PLC0415

    torch.cuda.empty_cache()
    return int(0.9 * torch.cuda.mem_get_info(device)[0])


def _told(device: str) -> str:
    """How much memory of a device is free, if it says so."""
    import torch  # noqa: PLC0415

    if device == "cpu":
        return f" ({psutil.virtual_memory().available / GIB:.2f} GiB free)"
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:
        return ""
    return f" ({free / GIB:.2f} of {total / GIB:.2f} GiB free)"


def sample(mosaic: Mosaic) -> NDArray[np.uint8]:
    """The middle of the first scene that has data there: uint8 (h, w, 3); of the first one, if none has."""
    seen: NDArray[np.uint8] | None = None
    for scene in mosaic.scenes[:SCENES_LOOKED_AT]:
        window = scene.window.clip(mosaic.shape)
        try:
            middle = Window(window.rows.middle(SAMPLE_SIDE), window.cols.middle(SAMPLE_SIDE))
            found = pixels.read(mosaic, middle)
        except pixels.SceneError:
            continue  # its blocks will be reported; another scene shows the precision as well
        seen = found.rgb if seen is None else seen
        if found.valid.mean() > 0.5:
            return found.rgb
    return np.full((SAMPLE_SIDE, SAMPLE_SIDE, 3), pixels.FILL, np.uint8) if seen is None else seen
