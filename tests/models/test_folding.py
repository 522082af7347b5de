"""A folded network computes what the one with batch norm computes, under the names of the plain one."""

import pytest
import torch
from torch import nn

from models import catalogue
from models.folding import Normed, fold, settle, with_batch_norm

PLAIN = {"ternausnet11": {"filters": 4}, "ternausnet16": {"filters": 4}, "ternausnet16-deconv": {"filters": 4}}


def trained(name: str) -> nn.Module:
    """With batch norm, as if it had been trained: all statistics, scales and shifts away from their start."""
    torch.manual_seed(2)
    network = with_batch_norm(catalogue.build(name, **PLAIN[name]))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.3)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", PLAIN)
def test_folded_equals_unfolded(name: str) -> None:
    network, x = trained(name), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected, folded = network(x), fold(network)(x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_a_folded_network_is_an_ordinary_one(name: str) -> None:
    plain, folded = catalogue.build(name, **PLAIN[name]), fold(trained(name))
    assert {key: value.shape for key, value in folded.state_dict().items()} == {
        key: value.shape for key, value in plain.state_dict().items()
    }
    aliases = [name for name, value in plain.state_dict(keep_vars=True).items() if value is plain.encoder[0].weight]
    assert len(aliases) == 2
    assert len({folded.state_dict(keep_vars=True)[alias].data_ptr() for alias in aliases}) == 1


def test_the_given_network_is_left_alone() -> None:
    plain = catalogue.build("ternausnet11", filters=2)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    fold(with_batch_norm(plain))
    assert not any(isinstance(module, Normed) for module in plain.modules())
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


def test_a_network_that_has_batch_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="batch norm already"):
        with_batch_norm(catalogue.build("unet"))


@pytest.mark.parametrize("name", PLAIN)
def test_trained_weights_go_on_where_they_were_folded(name: str) -> None:
    """Batch norm put behind trained convolutions and settled changes nothing on the images that it was settled on."""
    network, x = fold(trained(name)), torch.randn(2, 3, 64, 96)
    again = with_batch_norm(network)
    settle(again, x)
    with torch.no_grad():
        expected = network(x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(again.eval()(x), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again.train()(x), expected, rtol=1e-4, atol=1e-4)
