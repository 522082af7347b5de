"""Independent builds of every network of the catalogue, out of other people's code or of torch's bare functions.

Each takes the state dict of ours and gives a function from the same input to what the output should be.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor, nn

from models.vision import torchvision  # before smp and ternausnet, which need the same cure

State = dict[str, Tensor]
Reference = Callable[[Tensor], Tensor]


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the references are as old as they are
        yield


with _quietly():
    import segmentation_models_pytorch as smp
    import ternausnet.models as pypi
    from torchvision.models.feature_extraction import create_feature_extractor


def _loaded(make: Callable[[], nn.Module], state: State) -> nn.Module:
    """What ``make`` makes, holding ``state``; made without memory, because initialising it takes the most time."""
    with _quietly(), torch.device("meta"):
        network = make()
    network.load_state_dict(state, assign=True)
    return network.eval()


def unet11(state: State) -> Reference:
    """UNet11 of PyPI ternausnet."""
    return _loaded(pypi.UNet11, state)


def unet11_deconv4(state: State) -> Reference:
    """The same with the decoder blocks that robot-surgery-segmentation gives it."""
    widths = ((512, 512, 256), (768, 512, 256), (768, 512, 128), (384, 256, 64), (192, 128, 32))

    def make() -> nn.Module:
        network = pypi.UNet11()
        for name, width in zip(("center", "dec5", "dec4", "dec3", "dec2"), widths, strict=True):
            setattr(network, name, pypi.DecoderBlockV2(*width, is_deconv=True))
        network.final = nn.Conv2d(32, state["final.weight"].shape[0], 1)
        return network

    return _loaded(make, state)


def unet16(state: State) -> Reference:
    """UNet16 of PyPI ternausnet."""
    deconv = "center.block.1.weight" in state
    return _loaded(lambda: pypi.UNet16(num_classes=state["final.weight"].shape[0], is_deconv=deconv), state)


def albunet34(state: State) -> Reference:
    """AlbuNet out of torchvision's ResNet34 and the blocks of PyPI ternausnet."""
    deconv = "center.block.1.weight" in state
    resnet = _loaded(torchvision.models.resnet34, _inner(state, "encoder."))
    names = ("center", "dec5", "dec4", "dec3", "dec2", "dec1")
    widths = ((512, 512, 256), (768, 512, 256), (512, 512, 256), (384, 256, 64), (128, 128, 128), (128, 128, 32))
    blocks = {
        name: _loaded(partial(pypi.DecoderBlockV2, *width, is_deconv=deconv), _inner(state, f"{name}."))
        for name, width in zip(names, widths, strict=True)
    }

    def run(x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(resnet.bn1(resnet.conv1(x))), 2)
        skips = []
        for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
            x = layer(x)
            skips.append(x)
        x = blocks["center"](F.max_pool2d(x, 2))
        for name in ("dec5", "dec4", "dec3", "dec2"):
            x = blocks[name](torch.cat([x, skips.pop()], 1))
        x = F.relu(_conv(blocks["dec1"](x), state, "dec0.conv"))
        return F.conv2d(x, state["final.weight"], state["final.bias"])

    return run


def unet(state: State) -> Reference:
    """Out of torch's functions."""

    def run(x: Tensor) -> Tensor:
        skips = []
        for level in range(5):
            x = _double(F.max_pool2d(x, 2) if level else x, state, f"encoder.{level}")
            skips.append(x)
        x = skips.pop()
        for level in range(4):
            x = _double(torch.cat([skips.pop(), _bilinear(x)], 1), state, f"decoder.{level}")
        return F.conv2d(x, state["final.weight"], state["final.bias"])

    return run


def unet_vgg16(state: State) -> Reference:
    """Torchvision's VGG16, decoded with torch's functions."""
    vgg = _loaded(lambda: torchvision.models.vgg16(init_weights=False).features, _inner(state, "encoder."))
    features = create_feature_extractor(vgg, ["3", "8", "15", "22", "29"])

    def run(x: Tensor) -> Tensor:
        *skips, x = features(x).values()
        for level in range(4):
            x = torch.cat([skips.pop(), _bilinear(x)], 1)
            for conv in range(2):
                x = F.relu(_conv(x, state, f"decoder.{level}.{conv}.conv"))
        return F.conv2d(x, state["final.weight"], state["final.bias"])

    return run


def smp_unet(depth: int) -> Callable[[State], Reference]:
    """Unet of segmentation_models_pytorch."""

    def build(state: State) -> Reference:
        classes = state["final.weight"].shape[0]
        return _loaded(lambda: smp.Unet(f"resnet{depth}", encoder_weights=None, classes=classes), smp_names(state))

    return build


def smp_names(state: State) -> State:
    """``state`` under the names of segmentation_models_pytorch."""
    renamed = ((re.sub(r"^final\.", "segmentation_head.0.", name), tensor) for name, tensor in state.items())
    return {re.sub(r"^decoder\.", "decoder.blocks.", name): tensor for name, tensor in renamed}


def smp_transpose(depth: int) -> Callable[[State], Reference]:
    """The encoder of segmentation_models_pytorch, decoded as by segmentation_models for Keras, in torch's functions."""

    def build(state: State) -> Reference:
        make = partial(smp.encoders.get_encoder, f"resnet{depth}", weights=None)
        encoder = _loaded(make, _inner(state, "encoder."))

        def run(x: Tensor) -> Tensor:
            *skips, x = encoder(x)[1:]
            for level in range(5):
                name = f"decoder.{level}"
                x = F.conv_transpose2d(x, state[f"{name}.up.0.weight"], stride=2, padding=1)
                x = F.relu(_norm(x, state, f"{name}.up.1"))
                x = torch.cat([x, skips.pop()], 1) if skips else x
                x = F.relu(_norm(_conv(x, state, f"{name}.conv.0"), state, f"{name}.conv.1"))
            return _conv(x, state, "final")

        return run

    return build


def _inner(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _conv(x: Tensor, state: State, name: str) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=1)


def _norm(x: Tensor, state: State, name: str) -> Tensor:
    statistics = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
    return F.batch_norm(x, *statistics, state[f"{name}.weight"], state[f"{name}.bias"])


def _double(x: Tensor, state: State, name: str) -> Tensor:
    for conv, norm in (("0", "1"), ("3", "4")):
        x = F.relu(_norm(_conv(x, state, f"{name}.{conv}"), state, f"{name}.{norm}"))
    return x


def _bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


REFERENCES: dict[str, tuple[str, Callable[[State], Reference]]] = {
    "ternausnet11": ("PyPI ternausnet", unet11),
    "ternausnet11-deconv4": ("PyPI ternausnet's blocks", unet11_deconv4),
    "ternausnet16": ("PyPI ternausnet", unet16),
    "ternausnet16-deconv": ("PyPI ternausnet", unet16),
    "albunet34": ("torchvision + PyPI ternausnet's blocks", albunet34),
    "albunet34-deconv": ("torchvision + PyPI ternausnet's blocks", albunet34),
    "unet": ("torch's functions", unet),
    "unet-vgg16": ("torchvision + torch's functions", unet_vgg16),
    **{f"unet-resnet{depth}": ("segmentation_models_pytorch", smp_unet(depth)) for depth in (18, 34, 50)},
    **{
        f"unet-resnet{depth}-transpose": ("smp's encoder + torch's functions", smp_transpose(depth))
        for depth in (18, 34, 50)
    },
}
