"""Weights files: what they say, what they hold, and every form that people have them in."""

import json
import re
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from network_references import REFERENCES, smp_names
from safetensors import safe_open
from torch import Tensor, nn

from models.catalogue import CATALOGUE, build
from models.checkpoints import assemble, load, read, save
from models.header import MAX_FILE_BYTES
from models.weights import METADATA_KEY, Weights, WeightsError, describe

State = dict[str, Tensor]

FULL = Weights(
    "ternausnet11",
    {"filters": 2},
    mean=(0.4, 0.41, 0.42),
    std=(0.2, 0.21, 0.22),
    resolution=0.3,
    threshold=0.42,
    reliability=((0.1, 0.12), (0.9, 0.88)),
    training_data="rendered scenes (MIT)",
    scores={"iou/austin": 0.71, "iou": 0.74},
    data_sha256="ab" * 32,
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build("ternausnet11", filters=2).eval()


@pytest.fixture(scope="module")
def file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save(network, path, FULL)
    return path


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks hold the same tensors under the same names."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestMetadata:
    def test_comes_back_whole(self, file: Path) -> None:
        described = describe(file)
        assert replace(described, path=Path(), sha256="") == FULL
        assert described.path == file
        sha256sum = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True)
        assert described.sha256 == sha256sum.stdout.split()[0]

    def test_is_read_without_torch(self, file: Path) -> None:
        code = (
            f"import sys; from models.weights import describe; describe({str(file)!r}); print('torch' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "False"

    def test_is_plain_json_for_any_other_reader(self, file: Path) -> None:
        with safe_open(file, framework="numpy") as opened:
            said = json.loads(opened.metadata()[METADATA_KEY])
        assert said["threshold"] == 0.42
        assert said.keys() == {field.name for field in fields(Weights)} - {"path", "sha256"}

    def test_equal_weights_give_equal_files(self, network: nn.Module, file: Path, tmp_path: Path) -> None:
        save(network, tmp_path / "again", FULL)
        assert (tmp_path / "again").read_bytes() == file.read_bytes()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"network": "ternausnet-11"}, "did you mean 'ternausnet11'"),
            ({"options": {"filters": 10**9}}, "filters of ternausnet11 is 1000000000; .* 1 to 1024"),
            ({"options": {"depth": 3}}, "has no option 'depth'"),
            ({"options": [3]}, "options must map"),
            ({"mean": (0.4, 0.4)}, "three finite numbers"),
            ({"mean": (0.4, 0.4, float("inf"))}, "three finite numbers"),
            ({"std": (0.2, 0.0, 0.2)}, "greater than 0"),
            ({"classes": ("background", "building")}, "1 output channel"),
            ({"classes": "building"}, "1 output channel"),
            ({"threshold": 1.0}, "between 0 and 1"),
            ({"threshold": "0.4"}, "between 0 and 1"),
            ({"resolution": -0.3}, "greater than 0"),
            ({"scores": {"iou": float("nan")}}, "finite numbers"),
            ({"reliability": ((0.1,),)}, "pairs of numbers"),
            ({"training_data": None}, "training_data must be text"),
        ],
    )
    def test_values_out_of_range_are_refused(self, change: dict[str, Any], sentence: str) -> None:
        with pytest.raises(WeightsError, match=sentence):
            replace(FULL, **change)


class TestSaving:
    def test_half_precision_halves_the_file(self, network: nn.Module, file: Path, tmp_path: Path) -> None:
        save(network, tmp_path / "half", FULL, half=True)
        assert (tmp_path / "half").stat().st_size == pytest.approx(file.stat().st_size / 2, rel=0.001)
        loaded = load(tmp_path / "half")
        assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
        assert all(
            torch.equal(a.half(), b.half()) for a, b in zip(network.parameters(), loaded.parameters(), strict=True)
        )

    def test_says_what_describe_says(self, network: nn.Module, tmp_path: Path) -> None:
        assert save(network, tmp_path / "file", FULL) == describe(tmp_path / "file")

    def test_refuses_values_too_large_for_half(self, network: nn.Module, tmp_path: Path) -> None:
        large = assemble(FULL, network.state_dict() | {"final.bias": torch.tensor([1e6])})
        with pytest.raises(WeightsError, match=r"final\.bias has values that are not finite"):
            save(large, tmp_path / "file", FULL, half=True)
        assert not list(tmp_path.iterdir())

    def test_refuses_another_networks_description(self, network: nn.Module, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"seem to be those of ternausnet11 with num_classes = 1, filters = 2"):
            save(network, tmp_path / "file", Weights("ternausnet16"))

    def test_leaves_the_old_file_when_it_cannot_write(
        self, network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(b"old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("models.checkpoints.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            save(network, tmp_path / "file", FULL)
        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def robot_surgery(state: State) -> State:
    """A UNet11's state dict under the names of robot-surgery-segmentation, which groups convolutions."""

    def grouped(name: str) -> str:
        name = re.sub(r"^conv([12])\.", r"conv\1.0.", name)
        name = re.sub(r"^conv([345])\.", r"conv\1.2.", name)
        return re.sub(r"^conv([345])s\.", r"conv\1.0.", name)

    return {grouped(name): tensor for name, tensor in state.items()}


def without(*endings: str) -> Callable[[State], State]:
    """Drops tensors whose names end so."""
    return lambda state: {name: tensor for name, tensor in state.items() if not name.endswith(endings)}


def prefixed(prefix: str) -> Callable[[State], State]:
    """Puts ``prefix`` before every name."""
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


FORMS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "bare": ("ternausnet11", lambda state: state),
    "ordered": ("ternausnet11", OrderedDict),
    "original training": ("ternausnet11", lambda state: {"model": state, "epoch": 3, "step": 77}),
    "DataParallel": ("ternausnet11", prefixed("module.")),
    "DataParallel in training": ("ternausnet16", lambda state: {"model": prefixed("module.")(state), "epoch": 3}),
    "Lightning": ("unet-resnet18", lambda state: {"state_dict": prefixed("model.")(smp_names(state)), "epoch": 3}),
    "torch's tutorial": ("ternausnet16-deconv", lambda state: {"model_state_dict": state, "loss": 0.1}),
    "robot surgery": ("ternausnet11-deconv4", lambda state: {"model": prefixed("module.")(robot_surgery(state))}),
    "AlbuNet with its fc": ("albunet34", lambda state: state),
    "AlbuNet without fc": ("albunet34", without("fc.weight", "fc.bias")),
    "AlbuNet before torch 0.4.1": ("albunet34-deconv", without("num_batches_tracked")),
    "smp": ("unet-resnet34", smp_names),
    "smp before torch 0.4.1": ("unet-resnet50", lambda state: without("num_batches_tracked")(smp_names(state))),
    "encoder named once": ("ternausnet11", lambda state: {n: t for n, t in state.items() if not n.startswith("conv")}),
}


CASES = [
    *((form, "zip") for form in FORMS),
    *((form, "legacy") for form in ("bare", "original training", "DataParallel", "robot surgery")),
    *((form, "safetensors") for form in ("bare", "DataParallel", "robot surgery", "AlbuNet without fc", "smp")),
]


def store(changed: Any, path: Path, container: str) -> None:
    """Write a checkpoint as torch does since 1.6 (``zip``), as it did before (``legacy``), or as safetensors."""
    if container == "safetensors":
        flat = changed.get("model", changed)
        safetensors.torch.save_file({name: tensor.clone() for name, tensor in flat.items()}, path)
    else:
        torch.save(changed, path, _use_new_zipfile_serialization=container == "zip")


@pytest.mark.parametrize(("form", "container"), CASES)
def test_historic_checkpoints_load_without_loss(form: str, container: str, tmp_path: Path) -> None:
    name, change = FORMS[form]
    torch.manual_seed(0)
    network = build(name, num_classes=2, **dict.fromkeys(set(CATALOGUE[name].options) & {"filters"}, 4))
    path = tmp_path / f"weights.{container}"
    store(change(network.state_dict()), path, container)
    weights, state = read(path)
    assert weights == describe(path)
    assert weights.network == name
    assert weights.options["num_classes"] == 2
    assert weights.classes == ("background", "building")
    loaded = assemble(weights, state)
    if form == "AlbuNet without fc":
        for tensor in (network.encoder.fc.weight, network.encoder.fc.bias):
            nn.init.zeros_(tensor)
    assert equal(loaded, network)
    assert loaded.training is False


def test_a_state_dict_of_pypi_gives_pypis_output(tmp_path: Path) -> None:
    import ternausnet.models as pypi  # noqa: PLC0415 - after the cure of torchvision in network_references

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision in a way of the past
        original = pypi.UNet16(num_classes=3, num_filters=4).eval()
    torch.save(original.state_dict(), tmp_path / "unet16.pt")
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "unet16.pt", "ternausnet16")(x), original(x))


def test_the_documented_conversion_works(network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    monkeypatch.chdir(tmp_path)
    torch.save({"model": network.state_dict()}, "TernausNet.pt")
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})  # noqa: S102 - our own page
    assert describe("ternausnet11.safetensors").threshold == 0.3
    assert torch.equal(load("ternausnet11.safetensors").conv1.weight, network.conv1.weight.half().float())


def test_log_softmax_of_the_originals_and_logits_give_the_same_probabilities() -> None:
    torch.manual_seed(0)
    network = build("albunet34", num_classes=3).eval()
    original = REFERENCES["albunet34"][1](network.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        log_softmax = original(x).log_softmax(1)
        torch.testing.assert_close(network(x).softmax(1), log_softmax.exp(), rtol=0, atol=1e-6)


class TestRefusals:
    """Each with its sentence: file, what is wrong, and what the file seems to be or how to cure it."""

    def assert_refused(self, path: Path, sentence: str, network: str | None = None) -> None:
        with pytest.raises(WeightsError, match=sentence) as caught:
            load(path, network)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def written(self, path: Path, state: State, weights: Weights | None = FULL) -> Path:
        metadata = {METADATA_KEY: weights.to_json()} if weights else None
        safetensors.torch.save_file({name: tensor.clone() for name, tensor in state.items()}, path, metadata)
        return path

    def test_no_file(self, tmp_path: Path) -> None:
        self.assert_refused(tmp_path / "none", "there is no such file")
        self.assert_refused(tmp_path, "it is not a file")

    def test_another_network_than_asked_for(self, file: Path) -> None:
        self.assert_refused(file, "seems to hold ternausnet11, but albunet34 was asked for", "albunet34")

    def test_a_network_that_its_metadata_deny(self, network: nn.Module, tmp_path: Path) -> None:
        path = self.written(tmp_path / "file", network.state_dict(), Weights("albunet34"))
        self.assert_refused(path, "seem to be those of ternausnet11 with num_classes = 1, filters = 2")

    def test_wrong_shape(self, network: nn.Module, tmp_path: Path) -> None:
        path = self.written(tmp_path / "file", network.state_dict() | {"dec1.conv.bias": torch.zeros(3)})
        self.assert_refused(path, r"dec1\.conv\.bias has the shape \(3,\), but \(2,\) in ternausnet11")

    def test_missing_tensor(self, network: nn.Module, tmp_path: Path) -> None:
        path = self.written(tmp_path / "file", without("dec3.block.1.weight")(network.state_dict()))
        self.assert_refused(path, r"lacks dec3\.block\.1\.weight of ternausnet11")

    def test_tensor_too_many(self, network: nn.Module, tmp_path: Path) -> None:
        path = self.written(tmp_path / "file", network.state_dict() | {"dec0.bias": torch.zeros(3)})
        self.assert_refused(path, r"has 1 tensors that ternausnet11 lacks, first dec0\.bias")

    def test_wrong_kind(self, network: nn.Module, tmp_path: Path) -> None:
        path = self.written(tmp_path / "file", network.state_dict() | {"final.bias": torch.zeros(1, dtype=torch.int64)})
        self.assert_refused(path, r"final\.bias is torch\.int64, but torch\.float32")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
    def test_values_that_are_not_finite(self, network: nn.Module, tmp_path: Path, value: float) -> None:
        bias = torch.tensor([value], dtype=torch.float64)
        path = self.written(tmp_path / "file", network.state_dict() | {"final.bias": bias})
        self.assert_refused(path, r"final\.bias has values that are not finite")

    def test_one_tensor_with_two_values(self, network: nn.Module, tmp_path: Path) -> None:
        state = network.state_dict()
        path = self.written(tmp_path / "file", state | {"conv1.weight": state["conv1.weight"] + 1})
        self.assert_refused(path, r"encoder\.0\.weight and conv1\.weight must be equal")

    def test_no_known_network(self, tmp_path: Path) -> None:
        path = self.written(tmp_path / "file", {"lstm.weight": torch.zeros(3)}, None)
        self.assert_refused(path, r"its tensors \(lstm\.weight, …\) are those of no network known here \(ternausnet11,")

    def test_too_many_classes(self, tmp_path: Path) -> None:
        state = {"encoder.18.weight": torch.zeros(1, 1, 3, 3), "center.block.1.weight": torch.zeros(1, 1, 3, 3)}
        endless = torch.zeros(1).expand(10**12, 32, 1, 1)
        torch.save(state | {"final.weight": endless}, tmp_path / "file.pt")
        self.assert_refused(tmp_path / "file.pt", "num_classes of ternausnet11 is 1000000000000")

    def test_metadata_of_another_version(self, network: nn.Module, tmp_path: Path) -> None:
        said = json.loads(FULL.to_json()) | {"colour": "red"}
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        safetensors.torch.save_file(state, tmp_path / "file", {METADATA_KEY: json.dumps(said)})
        self.assert_refused(tmp_path / "file", r"unknown or missing fields \(colour\)")

    def test_a_file_larger_than_any_weights(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("wb") as file:
            file.truncate(MAX_FILE_BYTES + 1)
        self.assert_refused(tmp_path / "file", "it has 671,088,641 bytes, but weights at most 671,088,640")
