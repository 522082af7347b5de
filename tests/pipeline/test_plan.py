"""The plan keeps to what the device can compute."""

from math import isqrt
from pathlib import Path
from typing import Any

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from models.catalogue import CATALOGUE
from models.weights import Weights
from pipeline import config, plan
from pipeline.errors import InputError
from pipeline.machine import GIB
from pipeline.mosaic import Mosaic, Scene
from tiling.grid import Span, Window

NETWORK = "ternausnet11"
STRIDE = CATALOGUE[NETWORK].stride


def planned(folder: Path, shape: tuple[int, int], most: int | None, **tiles: Any) -> plan.Plan:
    """The plan of one scene, with memory enough for any tile, on a device that computes ``most`` pixels at once."""
    path = folder / "region.yaml"
    path.write_text(
        f"name: any\nscenes: [a.tif]\nmemory: 1000GiB\ntiles: {{{', '.join(f'{k}: {v}' for k, v in tiles.items())}}}\n"
    )
    window = Window(Span(0, shape[0]), Span(0, shape[1]))
    scene = Scene(folder / "a.tif", window, (1, 2, 3), None, False, None)
    mosaic = Mosaic(shape, Affine(0.3, 0, 0, 0, -0.3, 0), CRS.from_epsg(32633).to_wkt(), (scene,))
    engine = plan.Engine(folder / "w", NETWORK, "cuda", "bf16", "none", GIB, 144.0, most)
    return plan.make(config.load(path), mosaic, Weights(NETWORK), engine, None)


sides = st.integers(1, 30_000)


@given(shape=st.tuples(sides, sides), most=st.integers(700**2, 20_000**2))
def test_no_tile_has_more_pixels_than_the_device_computes_at_once(
    shape: tuple[int, int], most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = planned(tmp_path_factory.mktemp("region"), shape, most)
    height, width = made.projection.tile
    assert height * width <= most


def test_without_a_limit_the_tile_is_the_whole_scene(tmp_path: Path) -> None:
    assert planned(tmp_path, (20_000, 20_000), None).projection.tile == (20_000, 20_000)


@given(side=st.integers(700, 9000))
def test_a_size_that_is_asked_for_is_refused_where_the_device_cannot_compute_it(
    side: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, best = tmp_path_factory.mktemp("region"), isqrt(side**2) // STRIDE * STRIDE
    with pytest.raises(InputError, match=rf"tiles\.size: {best + STRIDE} is more than cuda .* at most {best}$"):
        planned(folder, (20_000, 20_000), side**2, size=best + STRIDE)
    assert planned(folder, (20_000, 20_000), side**2, size=best).projection.tile == (best, best)
    small = planned(folder, (320, 320), side**2, size=best + STRIDE)
    assert small.projection.tile == (320, 320)
