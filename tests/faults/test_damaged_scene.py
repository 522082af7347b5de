"""A scene with a sound header and a damaged block: what needs it is no data and reported, and the rest is done."""

from pathlib import Path

import imagery
import numpy as np
import pyogrio
import rasterio
import runs
import small
import zarr

from pipeline import config, pixels, survey, trial


def damaged(path: Path, tile: str) -> None:
    """Make one internal tile of a scene undecodable."""
    with rasterio.open(path) as file:
        image, profile = file.read(), file.profile
    profile.update(tiled=True, blockxsize=128, blockysize=128, compress="deflate", interleave="pixel")
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)
    with rasterio.open(path) as file:
        start = int(file.get_tag_item(f"BLOCK_OFFSET_{tile}", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[start : start + 64] = b"\xff" * 64
    path.write_bytes(content)


def test_a_damaged_block_is_reported_and_never_zero_probability(tmp_path: Path) -> None:
    region = small.tiny_region(tmp_path, small.tiny_weights(tmp_path / "w.safetensors"))
    damaged(tmp_path / "scenes/a.tif", "0_0")
    process = runs.start(region)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    failed = runs.report(tmp_path / "out")["failed_blocks"]
    assert list(failed) == ["0-0"]
    assert "a.tif: cannot be read at rows 0..128, columns 0..128 of the mosaic" in failed["0-0"]
    samples = zarr.open_group(tmp_path / "out/probability.zarr", mode="r")["probability"]
    assert (samples[:128, :128] == 255).all()
    assert not (samples[128:] == 255).any()
    assert not (samples[:, 128:] == 255).any()
    assert pyogrio.read_info(tmp_path / "out/footprints.gpkg", layer="footprints")["features"] > 0


def test_the_precision_is_chosen_by_what_can_be_read(tmp_path: Path) -> None:
    small.write_blots(tmp_path / "a.tif", 1, (0, 0), (128, 128))
    small.write_blots(tmp_path / "b.tif", 2, (0, 128), (128, 128))
    damaged(tmp_path / "a.tif", "0_0")
    both, broken = (
        survey.survey(config.load(imagery.region(tmp_path, f"scenes: {names}")))
        for names in ("[a.tif, b.tif]", "[a.tif]")
    )
    with rasterio.open(tmp_path / "b.tif") as file:
        assert np.array_equal(trial.sample(both), np.moveaxis(file.read(), 0, 2))
    assert (trial.sample(broken) == pixels.FILL).all()
