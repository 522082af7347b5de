"""Where training starts: from random weights, from ImageNet's encoder, or from another checkpoint."""

import hashlib
import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.checkpoints import read_tensors
from models.fitting import State, fitted
from models.header import WeightsError, refuse

logger = logging.getLogger(__name__)

IMAGENET_URL = "https://download.pytorch.org/models/"
IMAGENET_FILES = {
    "vgg11": "vgg11-8a719046.pth",
    "vgg16": "vgg16-397923af.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
}
# ^ torchvision's IMAGENET1K_V1, which TernausNet was started from; each name ends in the start of its SHA-256
CLASSIFIERS = ("fc.", "classifier.")
# ^ the heads of torchvision's ResNet and VGG, which no segmentation network uses


def lecun_uniform(network: nn.Module) -> None:
    """Draw all convolutions anew from U(-√(3 / fan in), √(3 / fan in)), as LeCun et al. 1998; biases become 0.

    The start of the paper's baseline (IoU 0.593 against 0.686 with ImageNet's encoder).
    """
    _draw(network, lambda weight, fan_in: nn.init.uniform_(weight, -math.sqrt(3 / fan_in), math.sqrt(3 / fan_in)))


def kaiming_normal(network: nn.Module) -> None:
    """Draw all convolutions anew from N(0, 2 / fan in), as ReLU needs it (He et al. 2015, arXiv:1502.01852, eq. 10)."""
    _draw(network, lambda weight, fan_in: nn.init.normal_(weight, 0, math.sqrt(2 / fan_in)))


def encoder_from(network: nn.Module, path: str | Path) -> None:
    """Fill the encoder of ``network`` from ``path``: weights of any network with that encoder, or of torchvision's.

    Raises WeightsError when the encoder in the file is another one.
    """
    encoder = _encoder(network)
    state = _encoder_tensors(read_tensors(path))
    encoder.load_state_dict(fitted(encoder, f"the encoder of {type(network).__name__}", state, Path(path)))


def imagenet_file(network: nn.Module, *, download: bool = False) -> Path:
    """Torchvision's ImageNet weights for the encoder of ``network``, in torch's cache.

    With ``download`` they are fetched when they are not there, and a warning is logged that says from where; nothing
    else here ever downloads. Raises WeightsError when they are not there, or not what their name says.
    """
    encoder = getattr(network, "imagenet", None)
    if encoder is None:
        raise WeightsError(f"{type(network).__name__} has an encoder of its own: no ImageNet weights exist for it")
    path = Path(torch.hub.get_dir(), "checkpoints", IMAGENET_FILES[encoder])
    if not path.exists():
        _fetch(path, download=download)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(path.stem.rpartition("-")[2]):
        refuse(path, f"it is damaged: its SHA-256 starts with {digest[:8]}; delete it and fetch it again")
    return path


def _draw(network: nn.Module, fill: Callable[[Tensor, float], Tensor]) -> None:
    """``fill(weight, fan in)`` for every convolution; a batch norm starts as the identity."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fill(layer.weight, _fan_in(layer))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def _fan_in(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """How many inputs an output sums; a transposed convolution with a stride spreads its kernel over outputs."""
    taps = layer.in_channels * math.prod(layer.kernel_size)
    return taps / math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else taps


def _encoder(network: nn.Module) -> nn.Module:
    """The encoder of ``network``; raises WeightsError where there is none."""
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise WeightsError(f"{type(network).__name__} has no encoder")
    return encoder


def _encoder_tensors(state: State) -> State:
    """The tensors of the encoder under its own names, out of a whole network, torchvision's or a bare one."""
    prefixes = (prefix for prefix in ("encoder.", "features.") if any(name.startswith(prefix) for name in state))
    prefix = next(prefixes, "")
    inner = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in inner.items() if not name.startswith(CLASSIFIERS)}


def _fetch(path: Path, *, download: bool) -> None:
    """Download the ImageNet weights ``path``; raises WeightsError when that is not wanted or fails."""
    url = IMAGENET_URL + path.name
    if not download:
        refuse(path, f"the ImageNet weights are not there; put the file of {url} there, or allow the download")
    logger.warning("downloading ImageNet weights from %s to %s", url, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path}: downloading {url} failed ({error}); put the file there by hand") from error
