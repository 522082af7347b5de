"""A lower precision is taken only where its probabilities hold."""

import numpy as np
import pytest
import torch
from torch import nn

from models.precision import CROP, CROSSED_LIMIT, MEAN_LIMIT, fastest, judge, middle
from models.weights import Weights

WEIGHTS = Weights(network="ternausnet11")


def network(offset: float = 0, gain: float = 1) -> nn.Module:
    """Two layers whose logits are a difference of features near ``offset``: the larger, the more rounding costs."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(16, 1, 3, padding=1))
    with torch.no_grad():
        layers[0].bias.add_(offset)
        layers[2].weight.sub_(layers[2].weight.mean(1, keepdim=True)).mul_(gain)
    return layers.eval()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_what_holds_is_taken_and_its_error_told() -> None:
    choice = judge(network(), WEIGHTS, "cpu", "bf16", noise(400, 500))
    assert choice.precision == "bf16"
    assert 0 < choice.mean <= min(MEAN_LIMIT, choice.largest)
    assert choice.crossed <= CROSSED_LIMIT
    assert "bf16 holds" in choice.reason


def test_what_does_not_hold_is_refused_with_the_figures() -> None:
    choice = judge(network(offset=100), WEIGHTS, "cpu", "bf16", noise(400, 500))
    assert (choice.precision, choice.tried) == ("fp32", "bf16")
    assert choice.mean > MEAN_LIMIT or choice.crossed > CROSSED_LIMIT
    assert "does not hold" in choice.reason


def test_overflow_does_not_hold() -> None:
    choice = judge(network(gain=1e8), WEIGHTS, "cpu", "fp16", noise(64, 64))
    assert choice.precision == "fp32"
    assert "overflows in fp16" in choice.reason


def test_the_network_stays_as_it_is() -> None:
    given = network()
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    judge(given, WEIGHTS, "cpu", "bf16", noise(64, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.state_dict().items())


@pytest.mark.parametrize("shape", [(5000, 384), (1, 1), (400, 20)])
def test_the_crop_has_one_size_whatever_the_image(shape: tuple[int, int]) -> None:
    rgb = noise(*shape)
    crop = middle(rgb)
    assert crop.shape == (CROP, CROP, 3)
    assert set(map(tuple, crop.reshape(-1, 3))) <= set(map(tuple, rgb.reshape(-1, 3)))


def test_the_fastest_precision_of_this_processor_is_one_it_has() -> None:
    assert fastest("cpu") in ("bf16", "fp32")
