"""The predictor against the plain fp32 forward pass, and tiles against the whole image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.ternausnet import TernausNet11
from tiling.grid import Axis, Grid

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network() -> torch.nn.Module:
    """TernausNet11 with few decoder filters and weights that keep the signal alive."""
    torch.manual_seed(1)
    return TernausNet11().eval()


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(network(), MEAN, STD)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(rgb: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        return network()(x).sigmoid()[0, 0].numpy()


def test_equals_the_plain_forward_pass(predictor: Predictor) -> None:
    rgb = image(96, 160)
    assert np.abs(predictor.probabilities(rgb) - plain(rgb)).max() <= 1e-5


@pytest.mark.parametrize(("height", "width", "nearest"), [(100, 96, "96 and 128"), (96, 8, "32")])
def test_sides_off_the_stride_name_the_nearest(predictor: Predictor, height: int, width: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"nearest: {nearest}"):
        predictor.samples(image(height, width))


@settings(max_examples=2, deadline=None)
@given(st.integers(40, 200), st.integers(40, 200), st.sampled_from((32, 96, 160, 256)), st.integers(0, 99))
def test_tiles_equal_the_whole_image(predictor: Predictor, height: int, width: int, block: int, seed: int) -> None:
    facts = CATALOGUE["ternausnet11"]
    axes = [Axis(size, block, facts.stride, facts.before, facts.after) for size in (height, width)]
    grid, rgb = Grid(*axes), image(height, width, seed)
    bottom, right = axes[0].padded - height, axes[1].padded - width
    padded = np.pad(rgb, ((0, bottom), (0, right), (0, 0)), mode="reflect")
    whole = predictor.probabilities(padded)
    for index in grid:
        window, tile = grid.window(index), grid.tile(index)
        seen = padded[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop]
        kept = predictor.probabilities(seen)[window.within(tile)]
        expected = whole[window.rows.start : window.rows.stop, window.cols.start : window.cols.stop]
        assert np.abs(kept - expected).max() <= 1e-5
