"""Where training starts."""

import hashlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.catalogue import build
from models.checkpoints import save
from models.header import WeightsError
from models.initialise import IMAGENET_FILES, encoder_from, imagenet_file, kaiming_normal, lecun_uniform
from models.vision import torchvision
from models.weights import Weights

State = dict[str, Tensor]


def fan_in(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Counted: how many products an output away from the edges sums, on average."""
    ones = type(layer)(
        layer.in_channels,
        1,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        bias=False,
        device="cpu",
        dtype=torch.float32,
    )
    nn.init.ones_(ones.weight)
    with torch.inference_mode():
        return float(ones(torch.ones(1, layer.in_channels, 64, 64))[:, :, 8:-8, 8:-8].mean())


@pytest.mark.parametrize("name", ["ternausnet11", "unet-resnet18-transpose"])
def test_lecun_is_uniform_with_variance_one_over_fan_in(name: str) -> None:
    torch.manual_seed(0)
    network = build(name).requires_grad_(False)
    lecun_uniform(network)
    large = [
        m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) and m.weight.numel() > 20_000
    ]
    assert {type(layer) for layer in large} == {nn.Conv2d, nn.ConvTranspose2d}
    for layer in large:
        bound = math.sqrt(3 / fan_in(layer))
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() == pytest.approx(bound, rel=0.01)
        assert layer.weight.var() == pytest.approx(1 / fan_in(layer), rel=0.05)
        assert layer.bias is None or not layer.bias.any()


def test_kaiming_keeps_the_signal_through_the_network() -> None:
    torch.manual_seed(0)
    network = build("ternausnet16")
    kaiming_normal(network)
    with torch.inference_mode():
        features = network.encoder[:-1](torch.randn(1, 3, 64, 64))
    assert (
        0.3 < features.square().mean() < 3 * 2**5
    )  # each pooling may double it at most; without care it would be 1e-7


def test_drawing_resets_batch_norm() -> None:
    network = build("unet")
    norm = network.encoder[0][1]
    nn.init.constant_(norm.running_mean, 3)
    nn.init.constant_(norm.weight, 3)
    lecun_uniform(network)
    assert not norm.running_mean.any()
    assert (norm.weight == 1).all()


class TestEncoderFrom:
    def test_another_network_of_ours(self, tmp_path: Path) -> None:
        source, target = build("ternausnet11", filters=2), build("ternausnet11-deconv4", num_classes=3)
        before = target.final.weight.clone()
        save(source, tmp_path / "file", Weights("ternausnet11", {"filters": 2}))
        encoder_from(target, tmp_path / "file")
        assert torch.equal(target.conv5.weight, source.conv5.weight)
        assert torch.equal(target.final.weight, before)

    def test_the_resnet_of_albunet(self, tmp_path: Path) -> None:
        source, target = build("albunet34", filters=2), build("unet-resnet34")
        torch.save({"model": {f"module.{name}": t for name, t in source.state_dict().items()}}, tmp_path / "file.pt")
        encoder_from(target, tmp_path / "file.pt")
        assert torch.equal(target.encoder.layer4[2].conv2.weight, source.conv5[2].conv2.weight)

    @pytest.mark.parametrize("name", ["unet-resnet18", "unet-resnet34", "albunet34", "unet-resnet50-transpose"])
    def test_torchvisions_resnets(self, name: str, tmp_path: Path) -> None:
        network = build(name)
        original = getattr(torchvision.models, network.imagenet)().eval()
        torch.save(original.state_dict(), tmp_path / "file.pth", _use_new_zipfile_serialization=False)
        encoder_from(network, tmp_path / "file.pth")
        x = torch.randn(1, 3, 64, 64)
        original.avgpool, original.fc = nn.Identity(), nn.Identity()
        with torch.inference_mode():
            assert torch.equal(network.eval().encoder(x)[-1].flatten(), original(x).flatten())

    @pytest.mark.parametrize("name", ["ternausnet11", "ternausnet16-deconv", "unet-vgg16"])
    def test_torchvisions_vggs(self, name: str, tmp_path: Path) -> None:
        network = build(name)
        with torch.device("meta"):
            classifier = getattr(torchvision.models, network.imagenet)(init_weights=False).classifier
        features = {f"features.{layer}": tensor + 1 for layer, tensor in network.encoder.state_dict().items()}
        heads = {f"classifier.{layer}": torch.zeros(1).expand(t.shape) for layer, t in classifier.state_dict().items()}
        torch.save(features | heads, tmp_path / "file.pth")
        encoder_from(network, tmp_path / "file.pth")
        assert torch.equal(network.encoder[0].weight, features["features.0.weight"])

    def test_another_encoder_is_refused(self, tmp_path: Path) -> None:
        save(build("unet"), tmp_path / "file", Weights("unet"))
        with pytest.raises(WeightsError, match=r"the encoder of TernausNet11; its tensors seem to be"):
            encoder_from(build("ternausnet11"), tmp_path / "file")


class TestImageNet:
    """The cache is a folder of the test, the server a ``file:`` address."""

    @pytest.fixture
    def server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        resnet = torchvision.models.resnet18()
        torch.save(resnet.state_dict(), tmp_path / "made")
        content = (tmp_path / "made").read_bytes()
        name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (tmp_path / name).write_bytes(content)
        monkeypatch.setitem(IMAGENET_FILES, "resnet18", name)
        monkeypatch.setattr("models.initialise.IMAGENET_URL", f"{tmp_path.as_uri()}/")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
        torch.hub.set_dir(str(tmp_path / "cache"))
        return tmp_path / name

    @pytest.fixture(autouse=True)
    def _hub(self) -> Iterator[None]:
        before = torch.hub.get_dir()
        yield
        torch.hub.set_dir(before)

    def test_nothing_is_downloaded_unasked(self, server: Path) -> None:
        with pytest.raises(WeightsError, match=rf"not there; put the file of file://.*{server.name} there, or allow"):
            imagenet_file(build("unet-resnet18"))

    def test_asked_for_it_is_downloaded_once_and_said(self, server: Path, caplog: pytest.LogCaptureFixture) -> None:
        network = build("unet-resnet18")
        with caplog.at_level(logging.WARNING):
            path = imagenet_file(network, download=True)
        assert f"downloading ImageNet weights from file://{server}" in caplog.text
        server.unlink()
        assert imagenet_file(network) == path
        encoder_from(network, path)
        made = torch.load(path, weights_only=True)
        assert torch.equal(network.encoder.conv1.weight, made["conv1.weight"])

    def test_a_download_that_fails_is_a_sentence(self, server: Path) -> None:
        server.unlink()
        with pytest.raises(WeightsError, match=r"downloading file://.* failed .*; put the file there by hand"):
            imagenet_file(build("unet-resnet18"), download=True)

    def test_a_download_of_something_else_is_refused(self, server: Path) -> None:
        server.write_bytes(b"<html>")
        with pytest.raises(WeightsError, match="invalid hash"):
            imagenet_file(build("unet-resnet18"), download=True)

    def test_a_damaged_file_in_the_cache_is_refused(self, server: Path) -> None:
        path = imagenet_file(build("unet-resnet18"), download=True)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(WeightsError, match=r"it is damaged: its SHA-256 starts with"):
            imagenet_file(build("unet-resnet18"))

    def test_a_network_with_an_encoder_of_its_own_has_none(self) -> None:
        with pytest.raises(WeightsError, match="UNet has an encoder of its own"):
            imagenet_file(build("unet"))

    def test_the_names_are_torchvisions(self) -> None:
        for encoder, file in IMAGENET_FILES.items():
            assert torchvision.models.get_model_weights(encoder).IMAGENET1K_V1.url.endswith(f"/{file}")
