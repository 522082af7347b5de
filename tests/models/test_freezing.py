"""A frozen encoder learns nothing, and its batch norm does what its policy says."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from models.catalogue import build
from models.freezing import BatchNormPolicy, freeze_encoder

POLICIES = get_args(BatchNormPolicy)


def trained(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's tensors before and after two steps of training."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    optimiser = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        network(3 + torch.randn(2, 3, network.stride, network.stride)).square().mean().backward()
        optimiser.step()
    return before, network.state_dict()


def changed(network: nn.Module, kind: str) -> set[str]:
    """Which tensors of the encoder's layers of that kind (``norm`` or ``conv``) training changed."""
    encoder = network.get_submodule("encoder")
    layers = {f"encoder.{n}." for n, m in encoder.named_modules() if isinstance(m, nn.BatchNorm2d) == (kind == "norm")}
    before, after = trained(network)
    return {
        name.rpartition(".")[2]
        for name in before
        if name.startswith("encoder.")
        and f"{name.rpartition('.')[0]}." in layers
        and not torch.equal(before[name], after[name])
    }


@pytest.fixture(params=["unet-resnet18", "unet"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build(request.param)


def test_unfrozen_everything_changes(network: nn.Module) -> None:
    assert changed(network, "norm") == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("policy", POLICIES)
def test_frozen_convolutions_do_not(network: nn.Module, policy: BatchNormPolicy) -> None:
    freeze_encoder(network, policy)
    assert not changed(network, "conv")


def test_batch_norm_is_spared_by_default(network: nn.Module) -> None:
    freeze_encoder(network)
    assert changed(network, "norm") == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_statistics_alone_can_follow(network: nn.Module) -> None:
    freeze_encoder(network, "statistics")
    assert changed(network, "norm") == {"running_mean", "running_var", "num_batches_tracked"}


def test_batch_norm_can_be_frozen_too(network: nn.Module) -> None:
    freeze_encoder(network, "frozen")
    assert not changed(network, "norm")


def test_frozen_batch_norm_normalises_by_what_is_stored_even_in_training() -> None:
    torch.manual_seed(0)
    network = build("unet-resnet18")
    freeze_encoder(network, "frozen")
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        trained, evaluated = (network.train(mode).encoder(x)[-1] for mode in (True, False))
    assert torch.equal(trained, evaluated)
    assert network.train().decoder[0].conv1[1].training


@pytest.mark.parametrize("policy", POLICIES)
def test_the_decoder_learns(policy: BatchNormPolicy) -> None:
    network = build("unet-resnet18")
    freeze_encoder(network, policy)
    before, after = trained(network)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.startswith(("decoder.", "final.")))


def test_a_vgg_without_batch_norm_is_frozen_whole_under_both_names() -> None:
    network = build("ternausnet11", filters=2)
    freeze_encoder(network)
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())
    assert not network.conv3s.weight.requires_grad
    assert network.dec1.conv.weight.requires_grad


def test_state_dict_names_stay() -> None:
    network = build("unet-resnet18")
    names = list(network.state_dict())
    freeze_encoder(network, "frozen")
    assert list(network.state_dict()) == names


def test_other_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="trainable, statistics, frozen, not 'eval'"):
        freeze_encoder(build("unet"), "eval")
