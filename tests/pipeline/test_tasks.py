"""What a worker does with a block."""

from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from small import AFFINE, planned, texture, write_region, write_scene, write_weights

from pipeline import network, store, tasks
from pipeline.errors import PipelineError
from pipeline.produce import sampled_seams
from tiling.grid import BlockIndex, Span, Window


@given(top=st.integers(0, 9), rows=st.integers(1, 300), left=st.integers(0, 9), cols=st.integers(1, 300))
def test_halves_partition_a_window_on_the_stride(top: int, rows: int, left: int, cols: int) -> None:
    window = Window(Span(32 * top, 32 * top + rows), Span(32 * left, 32 * left + cols))
    halves = network.split(window, 32)
    assert sum(half.area for half in halves) == window.area
    assert all(half.rows.start % 32 == half.cols.start % 32 == 0 for half in halves)
    assert len(halves) == 2 or max(rows, cols) <= 32


def test_a_tile_that_the_device_cannot_hold_is_halved_without_a_trace(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(tmp_path / "scenes/a.tif", texture((500, 600)))
    planned(write_region(tmp_path, weights, ["scenes/*.tif"]))
    tile = tasks.read(BlockIndex(0, 0))
    whole = tasks.infer(tile).values
    predictor = network.predictor(tasks.current().engine)
    seen: list[tuple[int, ...]] = []
    samples = predictor.samples

    def small_device(rgb: np.ndarray) -> np.ndarray:
        if rgb.shape[0] * rgb.shape[1] > 200_000:
            raise MemoryError
        seen.append(rgb.shape)
        return samples(rgb)

    monkeypatch.setattr(predictor, "samples", small_device)
    result = tasks.infer(tile)
    halved = result.values
    assert result.halved
    assert len(seen) >= 2
    again = len(seen)
    assert (tasks.infer(tile).values == halved).all()
    assert len(seen) == 2 * again, "what was too large once is not tried again"
    assert np.abs(halved.astype(int) - whole).max() <= 1  # rounding of P ± 1e-6 at a step of the samples


def test_a_tile_waits_on_the_device_once_a_network_is_there_and_while_it_has_room(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(tmp_path / "scenes/a.tif", texture((200, 300)))
    made = planned(write_region(tmp_path, weights, ["scenes/*.tif"]))
    tile = tasks.read(BlockIndex(0, 0))
    network.forget()
    assert tile.rgb is not None
    assert network.ahead(made, tile.rgb) is tile.rgb
    first = tasks.infer(tile).values
    uploaded = network.ahead(made, tile.rgb)
    assert isinstance(uploaded, torch.Tensor)
    assert (uploaded.cpu().numpy() == tile.rgb).all()
    assert (tasks.infer(tile).values == first).all()

    def full(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(network.predictor(made.engine), "upload", full)
    assert network.ahead(made, tile.rgb) is tile.rgb


@pytest.mark.parametrize("shape", [(256, 256), (500, 600)])
def test_a_halo_below_the_reach_has_an_error_and_the_exact_one_has_none(
    shape: tuple[int, int], tmp_path: Path, weights: Path
) -> None:
    """Also where an axis has one block, whose middle is no multiple of the stride."""
    write_scene(tmp_path / "scenes/a.tif", texture(shape))

    def error(halo: object) -> float:
        tiles = {"size": 512 if halo == "auto" else 128 if shape == (256, 256) else 512, "halo": halo}
        made = planned(write_region(tmp_path, weights, ["scenes/*.tif"], tiles=tiles))
        store.create(made.probabilities, made.grid, made.mosaic.affine, made.mosaic.crs)
        for block in made.blocks():
            tile = tasks.read(block)
            tasks.keep(tile, tasks.infer(tile))
        return max(tasks.seam_error(corner) for corner in sampled_seams(made.grid))

    assert error("auto") <= 1 / store.SAMPLE_MAX
    assert error(0) > 2 / store.SAMPLE_MAX


def test_overlapping_scenes_are_told_apart_by_the_pixels_that_they_gave(tmp_path: Path, weights: Path) -> None:
    image = texture((200, 300)) // 2 + 1
    first = image.copy()
    first[:, 100:] = 0
    write_scene(tmp_path / "scenes/a.tif", first, nodata=0)
    write_scene(tmp_path / "scenes/b.tif", image, AFFINE @ Affine.translation(0, 0), nodata=0)
    made = planned(write_region(tmp_path, weights, ["scenes/*.tif"]))
    block = BlockIndex(0, 0)
    tasks.read(block)
    numbers = tasks.scene_numbers(made, block)
    assert (numbers[:, :100] == 0).all()
    assert (numbers[:, 100:] == 1).all()


def test_a_worker_that_outlives_its_driver_takes_the_network_that_is_there_now(tmp_path: Path) -> None:
    """The weights at a path are others by the next run, of the same output, whose first driver was killed."""
    write_scene(tmp_path / "scenes/a.tif", texture((96, 96)))
    weights = write_weights(tmp_path / "w.safetensors", seed=1)
    region = write_region(tmp_path, weights, ["scenes/*.tif"])

    def values() -> np.ndarray:
        return tasks.infer(tasks.read(BlockIndex(0, 0))).values

    planned(region)
    first = values()
    write_weights(weights, seed=2)
    assert (values() == first).all(), "loaded once"
    planned(region)
    assert (values() != first).mean() > 0.5
    tasks.release("")
    write_weights(weights, seed=3)
    made = planned(region)
    write_weights(weights, seed=4)
    tasks.prepare(made)
    with pytest.raises(PipelineError, match="changed since the run began"):
        values()
