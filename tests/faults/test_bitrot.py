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
