"""Scenes added to a region: only the blocks that see them are computed; the result is that of a run with all."""

import shutil
from pathlib import Path

import runs
import small

HALO = {"tiles": {"size": 192, "halo": 32}}


def fresh(region: Path, folder: Path, zygote: runs.Zygote) -> dict[str, str]:
    """Outputs of the same scenes, run in a new folder with the same blocks."""
    shutil.copytree(region.parent / "scenes", folder / "scenes")
    shutil.copy(region, folder / "region.yaml")
    assert zygote.run(folder / "region.yaml").code == 0
    return runs.digest(folder / "out")


def test_scenes_are_added_to_a_finished_region(tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote) -> None:
    folder, output = tmp_path / "grown", tmp_path / "grown/out"
    region = small.tiny_region(folder, tiny_weights, **HALO)
    assert zygote.run(region).code == 0
    first = runs.events(output)
    assert len(first) == 8
    small.write_blots(folder / "scenes/c.tif", 5, (0, small.TINY_SHAPE[1]), (130, 100))
    interrupted = zygote.run(region, kind="exit", at=70)
    assert interrupted.code == 137
    done = zygote.run(region)
    assert done.code == 0, done.text
    again = runs.events(output)[len(first) :]
    # the last column of blocks grows, one is new, and the one beside them sees the new pixels in its halo
    assert set(again) == {"0-3", "1-3", "0-4", "1-4", "0-2", "1-2"} & set(again)
    assert not {"0-0", "0-1", "1-0", "1-1"} & set(again)
    assert runs.digest(output) == fresh(region, tmp_path / "fresh", zygote)
    assert zygote.run(region).code == 0
    assert "already done" in zygote.run(region).text


def test_rasters_beside_the_scenes_are_no_scenes(tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote) -> None:
    small.tiny_region(tmp_path, tiny_weights)
    rasters = {"cog": True, "masks": True}
    region = small.write_region(tmp_path, tiny_weights, ["**/*.tif"], probability=rasters, **small.TINY)
    assert zygote.run(region, kind="exit", at=70).code == 137
    assert zygote.run(region).code == 0
    assert {"probability.tif", "masks/a.tif"} <= runs.report(tmp_path / "out")["files"].keys()
    assert "already done" in zygote.run(region).text
    small.write_blots(tmp_path / "scenes/c.tif", 5, (0, small.TINY_SHAPE[1]), (130, 100))
    grown = zygote.run(region)
    assert grown.code == 0, grown.text
    assert len(runs.report(tmp_path / "out")["fingerprint"]["scenes"]) == 3


def test_blocks_whose_padding_becomes_pixels_are_computed_again(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    """420 and 440 columns are both padded to 448: the last tiles measure the same, and hold something else."""
    folder = tmp_path / "grown"
    region = small.tiny_region(folder, tiny_weights, **HALO)
    assert zygote.run(region).code == 0
    before = len(runs.events(folder / "out"))
    small.write_blots(folder / "scenes/c.tif", 5, (0, small.TINY_SHAPE[1]), (20, 20))
    assert zygote.run(region).code == 0
    assert "1-3" in runs.events(folder / "out")[before:], "where no new pixel is in sight"
    assert runs.digest(folder / "out") == fresh(region, tmp_path / "fresh", zygote)


def test_a_scene_that_moves_the_corner_is_refused_and_says_why(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights)
    assert zygote.run(region).code == 0
    before = runs.digest(tmp_path / "out")
    small.write_blots(tmp_path / "scenes/c.tif", 5, (-64, 0), (64, 100))
    done = zygote.run(region)
    assert done.code == 2
    assert "the mosaic starts at another corner, so every block differs" in done.text
    assert "--overwrite" in done.text
    (tmp_path / "scenes/c.tif").unlink()
    (tmp_path / "scenes/b.tif").unlink()
    gone = zygote.run(region)
    assert gone.code == 2
    assert "scenes: b.tif is gone" in gone.text
    assert runs.digest(tmp_path / "out") == before
