"""The predictor against the plain fp32 forward pass, and tiles against the whole image."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import lively
from numpy.typing import NDArray
from torch import nn

from models import predictor as module
from models.layers import ConvRelu, bilinear
from models.memory import trim
from models.predictor import DeviceMemoryError, NotFiniteError, Predictor
from models.reach import reach
from models.ternausnet import TernausNet11
from models.weights import Weights
from tiling.grid import Axis, Grid

WEIGHTS = Weights(network="ternausnet11")
Image = NDArray[np.uint8]


class SmallUNet(nn.Module):
    """Every kind of layer of the family on two levels, so that a property test can afford hundreds of tiles."""

    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.relu, self.pool, self.up = nn.ReLU(inplace=True), nn.MaxPool2d(2), bilinear()
        strided = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.strided = nn.Sequential(strided, nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        transposed = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)
        self.decoder = nn.Sequential(ConvRelu(32, 16), transposed, nn.ReLU(inplace=True))
        self.final = nn.Conv2d(16, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stem = self.relu(self.stem(x))
        down = self.relu(self.down(self.pool(stem)))
        deep = self.strided(down)
        up = self.decoder(torch.cat([self.up(deep), down], 1))
        logits: torch.Tensor = self.final(torch.cat([up, stem], 1))
        return logits


def image(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(network: nn.Module, rgb: Image) -> NDArray[np.float32]:
    """The oracle: normalise as the paper does, one forward pass in fp32."""
    with torch.inference_mode():
        x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        x = (x - torch.tensor(WEIGHTS.mean)[:, None, None]) / torch.tensor(WEIGHTS.std)[:, None, None]
        return network(x).sigmoid()[0, 0].numpy()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return lively(SmallUNet())


@pytest.fixture(scope="module")
def predictor(network: nn.Module) -> Predictor:
    return Predictor(network, WEIGHTS)


@pytest.fixture
def tiny_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.PATCH_BYTES, "cpu", 200_000)


@pytest.mark.usefixtures("tiny_patches")
def test_ternausnet11_equals_the_plain_forward_pass() -> None:
    network, rgb = lively(TernausNet11()), image(96, 160)
    expected = plain(network, rgb)
    assert expected.std() > 0.05
    assert np.abs(Predictor(network, WEIGHTS).probabilities(rgb) - expected).max() <= 1e-5


def test_samples_are_the_rounded_probabilities(predictor: Predictor) -> None:
    rgb = image(64, 48)
    assert np.array_equal(predictor.samples(rgb), np.round(predictor.probabilities(rgb) * 254).astype(np.uint8))


def test_results_do_not_depend_on_what_came_before(predictor: Predictor) -> None:
    rgb = image(64, 48)
    first = predictor.probabilities(rgb)
    predictor.samples(image(128, 16, seed=3))
    assert np.array_equal(predictor.probabilities(rgb), first)


@pytest.mark.parametrize(("height", "width", "nearest"), [(50, 48, "48 and 52"), (48, 3, "4")])
def test_sides_off_the_stride_name_the_nearest(predictor: Predictor, height: int, width: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"multiple of the stride 4; nearest: {nearest}"):
        predictor.samples(image(height, width))


def test_other_shapes_than_rgb_are_refused(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match=r"must be \(height, width, 3\), not \(64, 64, 4\)"):
        predictor.samples(np.zeros((64, 64, 4), np.uint8))


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 150), st.integers(20, 150), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_tiles_equal_the_whole_image(
    predictor: Predictor, height: int, width: int, down: int, across: int, seed: int
) -> None:
    facts = reach(predictor.patchwork.graph.network)
    axes = [Axis(*pair, facts.stride, facts.before, facts.after) for pair in ((height, down * 8), (width, across * 8))]
    grid, rgb = Grid(*axes), image(height, width, seed)
    edges = [(0, axis.padded - axis.size) for axis in axes]
    padded = np.pad(rgb, (*edges, (0, 0)), mode="reflect")
    whole, stitched = predictor.probabilities(padded), np.full((height, width), np.nan, np.float32)
    for index in grid:
        window, tile = grid.window(index), grid.tile(index)
        seen = padded[tile.slices]
        kept = predictor.probabilities(seen)[window.within(tile)]
        stitched[window.slices] = kept
    assert np.abs(stitched - whole[:height, :width]).max() <= 1e-5


def test_d4_is_the_mean_over_flips_and_rotations(network: nn.Module) -> None:
    rgb, expected = image(40, 64), np.zeros((40, 64), np.float64)
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(rgb[:, ::-1] if flip else rgb, turns)
            back = np.rot90(plain(network, turned.copy()), -turns)
            expected += back[:, ::-1] if flip else back
    turned = Predictor(network, WEIGHTS, tta="d4").probabilities(rgb)
    assert np.abs(turned - expected / 8).max() <= 1e-6


@pytest.mark.parametrize("classes", [("background", "building", "road"), ("background", "roof", "wall")])
def test_several_classes_are_a_softmax(classes: tuple[str, ...]) -> None:
    network, rgb = lively(SmallUNet(classes=3)), image(32, 32)
    with torch.inference_mode():
        x = (torch.from_numpy(rgb) / 255 - torch.tensor(WEIGHTS.mean)) / torch.tensor(WEIGHTS.std)
        shares = network(x.permute(2, 0, 1)[None]).softmax(1)[0].numpy()
    expected = shares[1] if "building" in classes else shares[1] + shares[2]
    weights = Weights(network="unet", classes=classes, options={"num_classes": 3})
    assert np.abs(Predictor(network, weights).probabilities(rgb) - expected).max() <= 1e-5


def test_bf16_stays_near_fp32() -> None:
    rgb, network = image(64, 96), lively(SmallUNet())
    expected = plain(network, rgb)
    difference = np.abs(Predictor(network, WEIGHTS, precision="bf16").probabilities(rgb) - expected)
    assert 0 < difference.mean() <= 0.01


def test_overflow_is_an_error_and_not_a_probability() -> None:
    network = lively(SmallUNet())
    with torch.no_grad():
        network.final.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="fp32"):
        Predictor(network, WEIGHTS).samples(image(32, 32))


def test_out_of_memory_names_the_tile_and_leaves_nothing_behind(predictor: Predictor) -> None:
    rgb, large = image(32, 48), image(4096, 4096)
    expected = predictor.samples(rgb)
    with address_space(64 << 20), pytest.raises(DeviceMemoryError, match="4096 × 4096 px") as caught:
        predictor.samples(large)  # its second resolution alone takes 256 MiB
    assert caught.value.shape == (4096, 4096)
    assert np.array_equal(predictor.samples(rgb), expected)


@pytest.mark.parametrize(("tta", "side"), [("none", 2048), ("d4", 1024)])
def test_memory_stays_within_what_is_said_to_be_needed(network: nn.Module, tta: str, side: int) -> None:
    predictor, rgb = Predictor(network, WEIGHTS, tta=tta), image(side, side)
    predictor.samples(rgb[:64, :64])  # the library's code is loaded and compiled
    trim()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts anew
    except OSError:
        pytest.skip("the kernel does not reset a process's peak memory")
    before = status("VmRSS")
    predictor.samples(rgb)
    grown, held = status("VmHWM") - before, predictor.need.per_pixel * side * side
    assert 0.7 * held <= grown <= predictor.need.bytes(side * side)


def status(key: str) -> int:
    """An entry of this process's status, B."""
    return int(Path("/proc/self/status").read_text(encoding="ascii").split(f"{key}:")[1].split()[0]) << 10


@contextmanager
def address_space(spare: int) -> Iterator[None]:
    """Only ``spare`` bytes more than now can be mapped."""
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestCuda:
    @pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("bf16", 0.05), ("fp16", 0.02)])
    def test_equals_the_cpu(self, precision: str, limit: float) -> None:
        network, rgb = lively(SmallUNet()), image(256, 320)
        expected = plain(network, rgb)
        found = Predictor(network, WEIGHTS, "cuda", precision).probabilities(rgb)
        assert np.abs(found - expected).max() <= limit

    def test_uploads_in_another_thread_change_nothing(self) -> None:
        predictor, images = (
            Predictor(lively(SmallUNet()), WEIGHTS, "cuda"),
            [image(256, 320, seed) for seed in range(8)],
        )
        with ThreadPoolExecutor(1) as reader:
            ahead = list(reader.map(predictor.upload, images))
        for rgb, pixels in zip(images, ahead, strict=True):
            assert np.array_equal(predictor.samples(pixels), predictor.samples(rgb))

    def test_a_tile_beyond_the_device_names_its_size(self) -> None:
        predictor = Predictor(lively(SmallUNet()), WEIGHTS, "cuda")
        torch.cuda.set_per_process_memory_fraction(0.001)
        try:
            with pytest.raises(DeviceMemoryError, match="4096 × 4096 px"):
                predictor.samples(image(4096, 4096))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
