"""One contract for every network of the catalogue."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lively import lively
from network_references import REFERENCES
from torch import nn

from models.catalogue import CATALOGUE, MAX_OPTION, Network, build, find
from models.checkpoints import load, save
from models.cost import flops_per_pixel, parameters
from models.reach import reach
from models.recognise import recognise
from models.weights import Weights


@pytest.fixture(scope="module", params=CATALOGUE.values(), ids=CATALOGUE.keys())
def facts(request: pytest.FixtureRequest) -> Network:
    return request.param


@pytest.fixture(scope="module")
def network(facts: Network) -> Iterator[nn.Module]:
    return lively(build(facts.name, num_classes=2))


class TestEveryNetwork:
    def test_gives_logits_of_the_inputs_size(self, facts: Network, network: nn.Module) -> None:
        with torch.inference_mode():
            logits = network(torch.randn(1, 3, facts.stride, 2 * facts.stride))
        assert logits.shape == (1, 2, facts.stride, 2 * facts.stride)
        assert logits.dtype == torch.float32
        assert logits.min() < 0 < logits.max()

    def test_equals_its_reference(self, facts: Network, network: nn.Module) -> None:
        torch.manual_seed(1)
        x = torch.randn(1, 3, 2 * facts.stride, facts.stride)
        if facts.name == "ternausnet11":  # PyPI's knows one class only
            network = build(facts.name)
        with torch.inference_mode():
            assert (network(x) - REFERENCES[facts.name][1](network.state_dict())(x)).abs().max() == 0

    @pytest.mark.parametrize("side", ["height", "width"])
    def test_refuses_sides_off_its_stride(self, facts: Network, network: nn.Module, side: str) -> None:
        shape = {"height": facts.stride, "width": facts.stride} | {side: 3 * facts.stride // 2}
        with pytest.raises(ValueError, match=rf"{side} .* nearest: {facts.stride} and {2 * facts.stride}"):
            network(torch.zeros(1, 3, *shape.values()))

    def test_every_trained_parameter_gets_a_gradient(self, facts: Network, network: nn.Module) -> None:
        network.zero_grad()
        network(torch.randn(1, 3, facts.stride, facts.stride)).square().mean().backward()
        trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained.values())
        assert all(parameter.grad.any() for name, parameter in trained.items() if name.endswith("weight"))
        network.zero_grad()

    def test_saves_and_loads(self, facts: Network, network: nn.Module, tmp_path: Path) -> None:
        weights = Weights(facts.name, {"num_classes": 2}, classes=("background", "building"))
        save(network, tmp_path / "weights", weights, half=True)
        loaded = load(tmp_path / "weights", facts.name)
        assert not loaded.training
        assert loaded.state_dict().keys() == network.state_dict().keys()
        for name, tensor in network.state_dict().items():
            other = loaded.state_dict()[name]
            assert other.dtype == tensor.dtype
            assert torch.equal(other, tensor.half().to(tensor.dtype))

    def test_catalogue_states_its_stride_and_reach(self, facts: Network, network: nn.Module) -> None:
        derived = reach(network)
        assert network.stride == facts.stride == derived.stride
        assert (facts.before, facts.after) == derived.halo

    def test_catalogue_states_whether_it_has_batch_norm(self, facts: Network, network: nn.Module) -> None:
        assert facts.batch_norm == any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())

    def test_is_recognised(self, facts: Network, network: nn.Module) -> None:
        name, options = recognise({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
        assert name == facts.name
        assert options.items() >= {"num_classes": 2}.items()
        assert set(options) == set(facts.options)


# One on each kind of encoder.
@pytest.mark.parametrize("name", ["ternausnet11", "unet", "unet-resnet18"])
def test_compiles_to_one_graph(name: str) -> None:
    network = build(name).eval()
    x = torch.randn(1, 3, network.stride, network.stride)
    torch.compiler.reset()
    with torch.inference_mode():
        assert torch.equal(torch.compile(network, backend="eager", fullgraph=True)(x), network(x))


# Counted in the originals (robot-surgery-segmentation's UNet11 for deconv4).
@pytest.mark.parametrize(
    ("name", "count", "keys"),
    [
        ("ternausnet11", 22_927_393, 56),
        ("ternausnet11-deconv4", 25_364_513, 56),
        ("ternausnet16", 29_306_465, 76),
        ("ternausnet16-deconv", 32_202_337, 76),
        ("albunet34", 35_117_897, 462),
    ],
)
def test_has_as_many_parameters_and_names_as_the_original(name: str, count: int, keys: int) -> None:
    with torch.device("meta"):
        network = build(name)
    assert (parameters(network), len(network.state_dict())) == (count, keys)


def test_flops_per_pixel_are_the_convolutions() -> None:
    with torch.device("meta"):
        assert flops_per_pixel(build("ternausnet11")) == 784_576
        layers = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 1, 1))
    assert flops_per_pixel(layers) == 2 * (3 * 5 * 9 + 5)


def test_documentation_states_these_figures() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    for name in CATALOGUE:
        with torch.device("meta"):
            network = build(name)
        found = reach(network)
        pairs = ((found.before, found.after), (found.worst_before, found.worst_after), found.halo)
        reaches = " | ".join(f"{before} / {after}" for before, after in pairs)
        cost = f"{flops_per_pixel(network):,} | {REFERENCES[name][0]} | 0 |"
        assert f"| {name} | {parameters(network):,} | {found.stride} | {reaches} | {cost}" in page


@pytest.mark.parametrize("filters", [1, 8, 48])
def test_filters_are_free(filters: int) -> None:
    with torch.inference_mode():
        for name in ("ternausnet11", "ternausnet16", "albunet34-deconv"):
            assert build(name, filters=filters).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'ternausnet11'"):
        find("ternausnet-11")
    with pytest.raises(ValueError, match="known are ternausnet11,"):
        find("yolo")


@pytest.mark.parametrize("value", [0, MAX_OPTION + 1, True, 1.0, "3"])
def test_options_out_of_range_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"num_classes .* from 1 to 1024"):
        build("unet", num_classes=value)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="unet has no option 'filters'; it has num_classes"):
        build("unet", filters=3)
