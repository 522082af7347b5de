"""The derived reach against the networks themselves: what is outside cannot matter, what is at its edge does."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.catalogue import CATALOGUE, build
from models.reach import Reach, reach


def small(name: str) -> nn.Module:
    """The network with as few channels as it can have: they do not matter here."""
    return build(name, **dict.fromkeys(set(CATALOGUE[name].options) & {"filters"}, 2))


def strip(length: int, width: int, axis: int) -> tuple[int, ...]:
    """The shape of an image ``length`` px long on ``axis`` and ``width`` px on the other one: cheap, and enough."""
    return (1, 3, length, width) if axis == 2 else (1, 3, width, length)


def spread(network: nn.Module, length: int, axis: int, pixel: int, channels: int = 3) -> Tensor:
    """Indices on ``axis`` of the outputs that the input ``pixel`` can change.

    All weights are positive and the pixel is infinite, so every output that depends on it is, however diluted.
    """
    width = getattr(network, "stride", length)
    x = torch.zeros(strip(length, width, axis))[:, :channels]
    x.select(axis, pixel).fill_(torch.inf)
    with torch.inference_mode():
        touched = network(x).isfinite().logical_not()
    return touched.any(5 - axis).any(1).any(0).nonzero().flatten()


def positive(network: nn.Module) -> nn.Module:
    """``network`` with positive weights and no shifts."""
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01 if parameter.dim() > 1 else 0.0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    return network.eval()


def room(found: Reach) -> tuple[int, int]:
    """(first pixel of a block of one stride, length of an image) with room for the block's reach on both sides."""
    first = found.halo[0] + found.stride
    return first, first + found.stride + found.halo[1] + found.stride


@pytest.fixture(scope="module", params=CATALOGUE)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return small(request.param).eval()


class TestEveryNetwork:
    def test_nothing_outside_the_reach_matters(self, network: nn.Module) -> None:
        axis, found = 2, reach(network)
        first, length = room(found)
        stop = first + found.stride
        x = torch.randn(strip(length, found.stride, axis))
        far = 100 * torch.randn_like(x)
        inside = slice(first - found.before, stop + found.after)
        far.narrow(axis, inside.start, inside.stop - inside.start).zero_()
        with torch.inference_mode():
            near, changed = (network(image).narrow(axis, first, found.stride) for image in (x, x + far))
        assert far.any()
        assert (near - changed).abs().max() == 0

    def test_the_last_pixels_inside_do(self, network: nn.Module) -> None:
        found = reach(network)
        first, length = room(found)
        network = positive(network)
        block = torch.arange(first, first + found.stride)
        for edge in (first - found.before, first + found.stride - 1 + found.after):
            assert torch.isin(block, spread(network, length, 3, edge)).any()


@pytest.mark.parametrize("name", ["ternausnet11", "unet"])
def test_worst_pixel(name: str) -> None:
    network = positive(small(name))
    found = reach(network)
    first, length = room(found)
    pixels = range(first + found.stride // 2, first + found.stride // 2 + found.stride)
    spreads = {pixel: spread(network, length, 3, pixel) for pixel in pixels}
    assert max(int(touched.max()) - pixel for pixel, touched in spreads.items()) == found.worst_before
    assert max(pixel - int(touched.min()) for pixel, touched in spreads.items()) == found.worst_after


# The figures that the design was made with: 128 and 160 px on the grid, (153, 184) at worst; TernausNet16 202 or more.
def test_known_figures() -> None:
    with torch.device("meta"):
        eleven, sixteen, albunet = (reach(build(name)) for name in ("ternausnet11", "ternausnet16", "albunet34"))
    assert eleven == Reach(stride=32, before=123, after=155, worst_before=153, worst_after=184)
    assert eleven.halo == (128, 160)
    assert min(sixteen.worst_before, sixteen.worst_after) >= 202
    assert albunet.stride == 64


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv1": lambda: nn.Conv2d(1, 1, 1),
    "conv3": lambda: nn.Conv2d(1, 1, 3, padding=1),
    "conv5": lambda: nn.Conv2d(1, 1, 5, padding=2),
    "dilated": lambda: nn.Conv2d(1, 1, 3, padding=2, dilation=2),
    "relu": nn.ReLU,
}
DOWN: dict[str, Callable[[], nn.Module]] = {
    "pool2": lambda: nn.MaxPool2d(2),
    "pool3": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "conv": lambda: nn.Conv2d(1, 1, 3, stride=2, padding=1),
    "conv7": lambda: nn.Conv2d(1, 1, 7, stride=2, padding=3),
}
UP: dict[str, Callable[[], nn.Module]] = {
    "deconv3": lambda: nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1),
    "deconv4": lambda: nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1),
    "nearest": lambda: nn.Upsample(scale_factor=2, mode="nearest"),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
}


class Hourglass(nn.Module):
    """A random U-Net with one channel: a layer, then down, a smaller one and up, and the sum with what was there."""

    def __init__(self, plan: list[tuple[str, str, str]]) -> None:
        super().__init__()
        same, down, up = plan[0]
        self.same = LAYERS[same]()
        self.inner = nn.Sequential(DOWN[down](), Hourglass(plan[1:]) if plan[1:] else nn.ReLU(), UP[up]())
        self.stride = 2 ** len(plan)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 1, H, W)."""
        x = self.same(x)
        return x + self.inner(x)


LEVEL = st.tuples(st.sampled_from(sorted(LAYERS)), st.sampled_from(sorted(DOWN)), st.sampled_from(sorted(UP)))


@given(plan=st.lists(LEVEL, min_size=1, max_size=3), axis=st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_random_networks(plan: list[tuple[str, str, str]], axis: int) -> None:
    network = positive(Hourglass(plan))
    found = reach(network)
    assert found.stride == network.stride
    first, length = room(found)
    first += found.stride
    length += 2 * found.stride
    blocks = {pixel: spread(network, length, axis, pixel, channels=1) for pixel in range(length)}
    block = torch.arange(first, first + found.stride)
    seen = [pixel for pixel, touched in blocks.items() if torch.isin(block, touched).any()]
    assert (first - seen[0], seen[-1] - int(block[-1])) == (found.before, found.after)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "aligned corners"),
        (nn.Upsample(size=(8, 8), mode="nearest"), "integer factor"),
        (nn.Upsample(scale_factor=1.5, mode="nearest"), "integer factor"),
        (nn.AdaptiveAvgPool2d(1), "not known or not bounded"),
        (nn.InstanceNorm2d(3), "not known or not bounded"),
        (nn.Conv2d(3, 3, (1, 3)), "treated alike"),
    ],
)
def test_unbounded_or_unknown_layers_are_refused(layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reach(nn.Sequential(layer))


class Unknown(nn.Module):
    """Does what no layer says."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return torch.roll(x, 1, -1)


def test_unknown_functions_are_refused() -> None:
    with pytest.raises(ValueError, match="roll"):
        reach(Unknown())


def test_joining_unequal_resolutions_is_refused() -> None:
    class Unequal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.pool(x)], 1)

    with pytest.raises(ValueError, match="different resolutions"):
        reach(Unequal())
