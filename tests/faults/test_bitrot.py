"""Bits that flip in what an interrupted run has stored are found, and what they spoilt is computed again."""

from pathlib import Path

import pytest
import runs
import small


def flip(path: Path, share: float) -> None:
    """Invert one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int((len(content) - 1) * share)] ^= 0x10
    path.write_bytes(content)


@pytest.fixture(scope="module")
def interrupted(
    tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> Path:
    """A region whose run ended while footprints were being finished."""
    region = small.tiny_region(tmp_path_factory.mktemp("interrupted"), tiny_weights)
    assert zygote.run(region, kind="exit", at=int(undisturbed.calls * 0.85)).code == 137
    assert len(runs.journalled(region.parent / "out")) == small.TINY_BLOCKS
    return region


@pytest.mark.parametrize("what", ["shards", "outlines", "missing", "journal"])
def test_damage_is_repaired(
    what: str, tmp_path: Path, interrupted: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region, output = runs.copy(interrupted.parent, tmp_path / "r"), tmp_path / "r/out"
    chunks = output / ".work/probability.zarr/probability/c"
    if what == "shards":
        flip(chunks / "0/1", 0.3)
        flip(chunks / "1/3", 0.99)
    elif what == "outlines":
        flip(next((output / ".work/outlines").glob("0-1.*")), 0.5)
    elif what == "missing":
        (chunks / "1/0").unlink()
    else:
        flip(output / ".work/journal.jsonl", 0.8)
    lost = {"shards": 2, "outlines": 0, "missing": 1}.get(what)
    done = zygote.run(region)
    assert done.code == 0, done.text
    assert runs.digest(output) == undisturbed.digest
    if lost is not None:
        assert runs.report(output)["resumed_blocks"] == small.TINY_BLOCKS - lost


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: runs.Zygote) -> Path:
    """A region whose scenes fill each other's gaps, done; which scene a pixel comes from is kept for a change."""
    folder = tmp_path_factory.mktemp("overlapping")
    for number, name in enumerate("ab"):
        image = small.blots((200, 300), number)
        image[number::2, :, :] = 0
        small.write_scene(folder / f"scenes/{name}.tif", image, nodata=0)
    region = small.tiny_config(folder, tiny_weights)
    assert zygote.run(region).code == 0
    return region


@pytest.mark.parametrize("how", ["flipped", "missing", "half"])
def test_where_pixels_come_from_is_found_out_again(
    how: str, tmp_path: Path, overlapping: Path, zygote: runs.Zygote
) -> None:
    """A block whose file of it is damaged is computed anew when other footprints are wanted of it."""
    wanted = "--set=footprints.threshold=0.4"
    sound, damaged = (runs.copy(overlapping.parent, tmp_path / name) for name in ("sound", "damaged"))
    kept = tmp_path / "damaged/out/.work/origin/0-1.tif"
    if how == "flipped":
        flip(kept, 0.5)
    elif how == "missing":
        kept.unlink()
    else:
        kept.write_bytes(kept.read_bytes()[:100])
    for region, lost in ((sound, 0), (damaged, 1)):
        done, output = zygote.run(region, wanted), region.parent / "out"
        assert done.code == 0, done.text
        assert runs.report(output)["resumed_blocks"] == len(runs.journalled(output)) - lost
    assert runs.digest(sound.parent / "out") == runs.digest(damaged.parent / "out")


def test_damage_of_a_finished_output_is_repaired(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    assert zygote.run(region).code == 0
    flip(output / "footprints.gpkg", 0.5)
    flip(output / "probability.zarr/probability/c/0/0", 0.5)
    done = zygote.run(region)
    assert done.code == 0, done.text
    assert runs.digest(output) == undisturbed.digest
    assert runs.report(output)["resumed_blocks"] == small.TINY_BLOCKS - 1
