"""Which network a state dict belongs to, told by the names and shapes of its tensors. No torch here."""

import re
from collections.abc import Mapping
from typing import TypeVar

from models.catalogue import CATALOGUE

T = TypeVar("T")
Shapes = Mapping[str, tuple[int, ...]]

PREFIXES = ("module.", "model.")
# ^ what nn.DataParallel and Lightning put before every name
OPTIONAL = (".num_batches_tracked", "fc.weight", "fc.bias")
# ^ endings of tensors that a file may lack, because nothing reads them: torch counts batches since 0.4.1 only, and
#   AlbuNet never calls its encoder's classifier

# Convolutions that tell the networks apart, with the side of their kernels; the first row that fits decides.
_VGG11, _VGG16, _RESNET34 = "encoder.18.weight", "encoder.28.weight", "encoder.layer3.5.conv2.weight"
_RESNET50, _RESNET18 = "encoder.layer3.5.conv3.weight", "encoder.layer4.1.conv2.weight"
_BILINEAR, _TRANSPOSED = "center.block.2.conv.weight", "center.block.1.weight"
_UP, _UP_TRANSPOSED = "decoder.4.conv1.0.weight", "decoder.4.up.0.weight"
_SIGNS: tuple[tuple[str, dict[str, int]], ...] = (
    ("ternausnet11", {_VGG11: 3, _TRANSPOSED: 3}),
    ("ternausnet11-deconv4", {_VGG11: 3, _TRANSPOSED: 4}),
    ("ternausnet16", {_VGG16: 3, _BILINEAR: 3}),
    ("ternausnet16-deconv", {_VGG16: 3, _TRANSPOSED: 4}),
    ("albunet34", {_RESNET34: 3, _BILINEAR: 3}),
    ("albunet34-deconv", {_RESNET34: 3, _TRANSPOSED: 4}),
    ("unet-vgg16", {_VGG16: 3, "decoder.3.1.conv.weight": 3}),
    ("unet", {"encoder.4.3.weight": 3, "decoder.3.3.weight": 3}),
    ("unet-resnet50", {_RESNET50: 1, _UP: 3}),
    ("unet-resnet50-transpose", {_RESNET50: 1, _UP_TRANSPOSED: 4}),
    ("unet-resnet34", {_RESNET34: 3, _UP: 3}),
    ("unet-resnet34-transpose", {_RESNET34: 3, _UP_TRANSPOSED: 4}),
    ("unet-resnet18", {_RESNET18: 3, _UP: 3}),
    ("unet-resnet18-transpose", {_RESNET18: 3, _UP_TRANSPOSED: 4}),
)


def canonical(state: Mapping[str, T]) -> dict[str, T]:
    """``state`` under our names: without a wrapper's prefix, and with the names of sibling projects translated.

    Two names that become one are both kept, so that a misfit is found instead of hidden.
    """
    prefix = next((prefix for prefix in PREFIXES if state and all(name.startswith(prefix) for name in state)), "")
    state = {name.removeprefix(prefix): value for name, value in state.items()}
    translated = {name: _translate(name, grouped=_is_grouped_unet11(state)) for name in state}
    if len(set(translated.values())) < len(state):
        return dict(state)
    return {translated[name]: value for name, value in state.items()}


def recognise(shapes: Shapes) -> tuple[str, dict[str, int]] | None:
    """(catalogue name, options) of the network with tensors of these canonical names and shapes; None when unknown."""
    final = shapes.get("final.weight", ())
    name = next((name for name, signs in _SIGNS if _shows(shapes, signs)), None)
    if name is None or len(final) != 4:
        return None
    found = {"num_classes": final[0], "filters": final[1]}
    return name, {option: found[option] for option in CATALOGUE[name].options}


def _shows(shapes: Shapes, signs: Mapping[str, int]) -> bool:
    """Whether convolutions of these names are there, with kernels of these sides."""
    return all(len(shapes.get(name, ())) == 4 and shapes[name][-1] == side for name, side in signs.items())


def _is_grouped_unet11(state: Mapping[str, T]) -> bool:
    """Whether it is the UNet11 of robot-surgery-segmentation, which groups convolutions as UNet16 does."""
    return _VGG11 in state and "conv3.2.weight" in state


def _translate(name: str, *, grouped: bool) -> str:
    """Our name of a tensor that segmentation_models_pytorch, or a grouped UNet11, calls ``name``."""
    name = re.sub(r"^segmentation_head\.0\.", "final.", name)
    name = re.sub(r"^decoder\.blocks\.", "decoder.", name)
    if grouped:
        name = re.sub(r"^conv([12])\.0\.", r"conv\1.", name)
        name = re.sub(r"^conv([345])\.0\.", r"conv\1s.", name)
        name = re.sub(r"^conv([345])\.2\.", r"conv\1.", name)
    return name
