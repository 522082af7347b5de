"""The networks by name, with the facts that a plan needs. No torch here: a driver plans without importing it.

``models.reach`` derives stride and reach from each network itself; the contract tests hold this table to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

MAX_OPTION = 1024
# ^ the widest layer of the family has 2048 channels (ResNet50); a larger option would only be an attack on the memory


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of a network before it is built."""

    name: str
    """As in ``model.name`` of a region.yaml."""
    factory: str
    """``module:class`` inside this package."""
    stride: int
    """Sides of its input are multiples of it, px."""
    before: int
    """Context above and left of a block with edges on the stride, px: the exact reach, rounded up to the stride."""
    after: int
    """The same below and right, px."""
    structure: Mapping[str, str | int] = field(default_factory=dict, hash=False)
    """Arguments that make this variant of the class; they decide stride and reach."""
    options: tuple[str, ...] = ("num_classes",)
    """Arguments left to the caller, positive integers: channel counts, which change neither stride nor reach."""
    batch_norm: bool = False
    """Whether it has batch norm; one without may be lent it for training (``models.folding``)."""


_TERNAUS = ("num_classes", "filters")
_RESNET = "resnet_unet:ResNetUNet"
_normed = partial(Network, batch_norm=True)

CATALOGUE = {
    network.name: network
    for network in (
        Network("ternausnet11", "ternausnet:TernausNet11", 32, 128, 160, {"upsampling": "deconv3"}, _TERNAUS),
        Network("ternausnet11-deconv4", "ternausnet:TernausNet11", 32, 160, 160, {"upsampling": "deconv4"}, _TERNAUS),
        Network("ternausnet16", "ternausnet:TernausNet16", 32, 192, 192, {"upsampling": "bilinear"}, _TERNAUS),
        Network("ternausnet16-deconv", "ternausnet:TernausNet16", 32, 192, 192, {"upsampling": "deconv4"}, _TERNAUS),
        _normed("albunet34", "ternausnet:AlbuNet34", 64, 640, 640, {"upsampling": "bilinear"}, _TERNAUS),
        _normed("albunet34-deconv", "ternausnet:AlbuNet34", 64, 640, 640, {"upsampling": "deconv4"}, _TERNAUS),
        _normed("unet", "unet:UNet", 16, 112, 112),
        Network("unet-vgg16", "unet:VGG16UNet", 16, 144, 144),
        *(
            _normed(f"unet-resnet{depth}{suffix}", _RESNET, 32, before, after, {"depth": depth, "decoder": decoder})
            for depth, before, after in ((18, 288, 256), (34, 544, 512), (50, 288, 256))
            for decoder, suffix in (("upsampling", ""), ("transpose", "-transpose"))
        ),
    )
}


def find(name: str) -> Network:
    """The entry called ``name``; raises ValueError with the nearest name."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(CATALOGUE)}"
    raise ValueError(f"there is no network {name!r}; {hint}")


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Raise ValueError for an option that the network does not have or that is not a positive integer up to 1024."""
    network = find(name)
    for option, value in options.items():
        if option not in network.options:
            raise ValueError(f"{name} has no option {option!r}; it has {', '.join(network.options)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_OPTION:
            raise ValueError(f"{option} of {name} is {value!r}; it must be an integer from 1 to {MAX_OPTION}")


def build(name: str, **options: int) -> "nn.Module":
    """A new network with random weights; ``options`` as its catalogue entry lists them. Imports torch."""
    check_options(name, options)
    network = find(name)
    module, factory = network.factory.split(":")
    made: nn.Module = getattr(import_module(f"models.{module}"), factory)(**network.structure, **options)
    return made
