"""Promise 1 and 3: tiles equal the whole mosaic in one forward pass, and every pixel is accounted for."""

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import AFFINE, planned, texture, write_region, write_scene

from pipeline import network, pixels, plan, tasks
from tiling.grid import Window, round_up


def whole_mosaic(made: plan.Plan) -> np.ndarray:
    """The oracle: the filled mosaic, padded by reflection on its right and bottom, in one forward pass."""
    rows, cols = made.mosaic.shape
    everything = pixels.read(made.mosaic, Window.of((rows, cols)))
    below, right = round_up(rows, 32) - rows, round_up(cols, 32) - cols
    padded = np.pad(everything.rgb, ((0, below), (0, right), (0, 0)), mode="reflect")
    return network.predictor(tasks.current().engine).probabilities(padded)[:rows, :cols]


def tiled(made: plan.Plan) -> np.ndarray:
    """The pipeline's way, before quantising."""
    stitched = np.full(made.mosaic.shape, np.nan, np.float32)
    for block in made.grid:
        tile, window = tasks.read(block), made.grid.window(block)
        if tile.rgb is not None:
            stitched[window.slices] = network.predictor(tasks.current().engine).probabilities(tile.rgb)[
                window.within(made.grid.tile(block))
            ]
    return stitched


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(33, 300),
    cols=st.integers(33, 300),
    cut=st.integers(10, 290),
    size=st.sampled_from([384, 416, 480]),
    seed=st.integers(0, 99),
)
def test_tiles_equal_the_whole_mosaic(
    tmp_path_factory: pytest.TempPathFactory, weights: Path, rows: int, cols: int, cut: int, size: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("mosaic")
    image = texture((rows, cols), seed)
    cut = min(cut, cols - 1)
    write_scene(folder / "scenes/a.tif", image[:, :cut])
    write_scene(folder / "scenes/b.tif", image[:, cut:], AFFINE @ Affine.translation(cut, 0))
    made = planned(write_region(folder, weights, ["scenes/*.tif"], tiles={"size": size}))
    assert np.abs(tiled(made) - whole_mosaic(made)).max() <= 1e-5


def test_every_pixel_is_accounted_for(tmp_path: Path, weights: Path) -> None:
    image = texture((300, 400))
    image[:, 350:] = 0
    write_scene(tmp_path / "scenes/a.tif", image, nodata=0)
    corners = [AFFINE @ corner for corner in ((-5, -5), (200, -5), (200, 305), (-5, 305), (-5, -5))]
    area = {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::26914"}}
    feature = {"type": "Feature", "properties": {}, "geometry": area}
    (tmp_path / "area.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}), encoding="utf-8"
    )
    made = planned(write_region(tmp_path, weights, ["scenes"], tiles={"size": 320}, area="area.geojson"))
    counts = [tasks.read(block).counts for block in made.blocks()]
    predicted, no_data, outside = (
        sum(getattr(c, name) for c in counts) for name in ("predicted", "no_data", "outside")
    )
    assert predicted == 300 * 200
    assert predicted + no_data + outside + made.skipped == 300 * 400
