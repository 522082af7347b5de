"""Other footprints of the same samples: the network does not run again, and the outputs are those of a fresh run."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagery
import numpy as np
import pytest
import runs
import small
from affine import Affine

BASE: dict[str, Any] = {"min_area": 0.5, "min_hole": 0.1}
FORMATS = ["gpkg", "parquet", "flatgeobuf", "geojson"]
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "formats": {"footprints": {**BASE, "formats": FORMATS}},
    "rasters": {"probability": {"cog": True, "masks": True}},
    "words": {"licence": "CC BY 4.0", "name": "renamed", "footprints": {**BASE, "formats": ["parquet"]}},
    "threshold": {"footprints": {**BASE, "threshold": 0.7}, "probability": {"masks": True}},
    "forms": {"footprints": {"min_area": 3, "min_hole": 2, "simplify": 1.0, "square": True, "split": True}},
}
Fresh = Callable[[str], Path]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: runs.Zygote) -> Fresh:
    """The folder of a region that was run anew with a change of the config; each is run once."""
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            done = zygote.run(small.tiny_region(made[name], tiny_weights, **CHANGES[name]))
            assert done.code == 0, done.text
        return made[name]

    return run


def change(folder: Path, weights: Path, name: str) -> Path:
    """The region.yaml of a region's folder, with a change."""
    return small.tiny_config(folder, weights, **CHANGES[name])


def assert_only_published(folder: Path, expected: Path) -> None:
    """The outputs are those of a fresh run, and no block was computed a second time."""
    output = folder / "out"
    assert runs.digest(output) == runs.digest(expected / "out")
    assert runs.strays(output) == []
    assert len(runs.events(output)) == small.TINY_BLOCKS
    assert runs.report(output)["resumed_blocks"] == small.TINY_BLOCKS
    assert "infer" not in runs.report(output)["seconds"]
    assert {path.name for path in (output / ".work").iterdir()} == {"journal.jsonl", "lease.lock", "thumbnails"}


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "none"])
def test_what_is_derived_is_made_again_and_back(
    name: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, fresh: Fresh
) -> None:
    folder = tmp_path / "region"
    runs.copy(fresh("none"), folder)
    seams = runs.report(folder / "out")["seam_error"]
    for wanted in (name, "none"):
        done = zygote.run(change(folder, tiny_weights, wanted))
        assert done.code == 0, done.text
        assert_only_published(folder, fresh(wanted))
        assert runs.report(folder / "out")["seam_error"] == seams > 0
    assert "already done" in zygote.run(change(folder, tiny_weights, "none")).text


def crashes(folder: Path, weights: Path, zygote: runs.Zygote, at: int) -> int:
    """Begin to publish more and end at an I/O call; the exit code."""
    return zygote.run(change(folder, weights, "rasters"), kind="exit", at=at).code


@pytest.mark.parametrize("wanted", ["rasters", "none", "formats"])
def test_a_crash_while_publishing_loses_nothing_and_leaves_nothing(
    wanted: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, fresh: Fresh
) -> None:
    """The change is gone on with, undone, or another one is made; in the first calls nothing is changed yet."""
    calls = republishing(tmp_path / "counted", tiny_weights, zygote, fresh)
    for share in (0.1, 0.5, random.uniform(0.1, 1), 0.95):  # noqa: S311
        folder = tmp_path / f"{share}"
        runs.copy(fresh("none"), folder)
        assert crashes(folder, tiny_weights, zygote, max(1, int(share * calls))) == 137
        done = zygote.run(change(folder, tiny_weights, wanted))
        assert done.code == 0, done.text
        assert_only_published(folder, fresh(wanted))


def republishing(folder: Path, weights: Path, zygote: runs.Zygote, fresh: Fresh) -> int:
    """I/O calls that it takes."""
    runs.copy(fresh("none"), folder)
    done = zygote.run(change(folder, weights, "rasters"))
    assert done.code == 0, done.text
    return done.calls


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("wanted", ["rasters", "none"])
def test_a_crash_at_every_call_of_publishing(
    wanted: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, fresh: Fresh
) -> None:
    at, code = 0, 137
    while code == 137:
        at += 1
        folder = tmp_path / str(at)
        runs.copy(fresh("none"), folder)
        code = crashes(folder, tiny_weights, zygote, at)
        assert zygote.run(change(folder, tiny_weights, wanted)).code == 0
        assert runs.digest(folder / "out") == runs.digest(fresh(wanted) / "out")
    assert code == 0
    assert at > 20


def test_an_interrupted_run_goes_on_with_other_footprints(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome, fresh: Fresh
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights)
    assert zygote.run(region, kind="exit", at=int(undisturbed.calls * 0.5)).code == 137
    done = len(runs.journalled(tmp_path / "out"))
    assert done > 0
    assert zygote.run(change(tmp_path, tiny_weights, "threshold")).code == 0
    assert runs.digest(tmp_path / "out") == runs.digest(fresh("threshold") / "out")
    assert runs.report(tmp_path / "out")["resumed_blocks"] == done


def test_a_damaged_block_is_computed_again_and_no_other(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, fresh: Fresh
) -> None:
    folder = tmp_path / "region"
    runs.copy(fresh("none"), folder)
    shard = folder / "out/probability.zarr/probability/c/1/2"
    shard.write_bytes(shard.read_bytes()[:-40])
    assert zygote.run(change(folder, tiny_weights, "threshold")).code == 0
    assert runs.digest(folder / "out") == runs.digest(fresh("threshold") / "out")
    assert runs.events(folder / "out")[small.TINY_BLOCKS :] == ["1-2"]
    assert runs.report(folder / "out")["resumed_blocks"] == small.TINY_BLOCKS - 1


@pytest.mark.parametrize("said", ["tiles.size: was 128, is now 64", "weights: was", "scenes: b.tif changed"])
def test_a_change_that_changes_samples_is_refused(
    said: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, fresh: Fresh
) -> None:
    folder, weights = tmp_path / "region", tiny_weights
    runs.copy(fresh("none"), folder)
    before = runs.digest(folder / "out")
    if said.startswith("weights"):
        weights = small.write_weights(tmp_path / "other.safetensors", seed=4, filters=1)
    elif said.startswith("scenes"):
        small.write_blots(folder / "scenes/b.tif", 7, (0, small.TINY_CUT), (small.TINY_SHAPE[0], 190))
    tiles = {"tiles": {"size": 64, "halo": 0}} if said.startswith("tiles") else {}
    done = zygote.run(small.tiny_config(folder, weights, **CHANGES["threshold"], **tiles))
    assert done.code == 2
    assert said in done.text
    assert "footprints.threshold" not in done.text  # which need not be undone
    assert runs.digest(folder / "out") == before


def overlapping(folder: Path, *names: str) -> None:
    """Scenes one above the other, in which the first one has gaps that the last one fills."""
    for number, name in enumerate(names):
        rgb = np.kron(imagery.noise(10, 21, number), np.ones((20, 20, 1), np.uint8))
        rgb[:, 60 + 90 * number :: 150] = 0
        (folder / "scenes").mkdir(parents=True, exist_ok=True)
        imagery.write(folder / f"scenes/{name}", rgb, transform=small.AFFINE, nodata=0)


def test_buildings_keep_the_scenes_that_their_pixels_came_from(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    """Also when a scene comes in between that shifts the numbers of those behind it."""
    region = {name: tmp_path / name for name in ("grown", "fresh")}
    far = small.AFFINE @ Affine.translation(420, 0)
    for folder in region.values():
        overlapping(folder, "a.tif", "c.tif")
        small.tiny_config(folder, tiny_weights)
    grown = small.tiny_config(region["grown"], tiny_weights)
    assert zygote.run(grown).code == 0
    for folder in region.values():
        imagery.write(folder / "scenes/b.tif", imagery.noise(200, 128), transform=far, nodata=0)
    for folder in region.values():
        assert zygote.run(change(folder, tiny_weights, "threshold")).code == 0
    assert runs.digest(region["grown"] / "out") == runs.digest(region["fresh"] / "out")
    assert len(runs.events(region["grown"] / "out")) < 2 * small.TINY_BLOCKS
    assert runs.report(region["grown"] / "out")["resumed_blocks"] >= 6
