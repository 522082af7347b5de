"""Starting anew: nothing is removed before it is known that the run can be done, and nothing old gets into the new."""

import shutil
from pathlib import Path

import pytest
import runs
import small

AUTO = {"tiles": {"size": "auto", "halo": 0}}
ONE_BLOCK, SEVERAL = "memory=4GiB", "memory=1160MiB"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["tiles.size=auto", "memory=200MiB"], "memory: 0.20 GiB is too little for one tile"),
        (["inference.device=cuda:7"], "inference.device: cuda:7, but torch sees"),
    ],
)
def test_a_run_that_cannot_be_done_removes_nothing(
    settings: list[str], sentence: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights)
    assert zygote.run(region).code == 0
    before = runs.digest(tmp_path / "out")
    done = zygote.run(region, "--overwrite", *(f"--set={setting}" for setting in settings))
    assert done.code == 2, done.text
    assert sentence in done.text
    assert runs.digest(tmp_path / "out") == before
    assert "already done" in zygote.run(region).text


def test_without_its_journal_a_store_counts_for_nothing(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    """The work folder of a finished run may be deleted; with less memory the next one has other blocks."""
    region = small.tiny_region(tmp_path / "a", tiny_weights, **AUTO)
    options = ("--set", "footprints.threshold=0.4", "--set", SEVERAL)
    assert zygote.run(region, "--set", ONE_BLOCK).code == 0
    assert runs.events(tmp_path / "a/out") == ["0-0"]
    shutil.rmtree(tmp_path / "a/out/.work")
    assert zygote.run(region, *options).code == 0
    assert len(runs.events(tmp_path / "a/out")) > 2
    other = small.tiny_region(tmp_path / "b", tiny_weights, **AUTO)
    assert zygote.run(other, *options).code == 0
    assert runs.digest(tmp_path / "a/out") == runs.digest(tmp_path / "b/out")


def test_starting_anew_may_be_cut_short_anywhere(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights)
    assert zygote.run(region).code == 0
    for at in range(5, 60, 6):
        assert zygote.run(region, "--overwrite", kind="exit", at=at).code == 137
        done = zygote.run(region)
        assert done.code == 0, done.text
        assert runs.digest(tmp_path / "out") == undisturbed.digest


def test_a_run_that_is_resumed_with_less_memory_computes_its_blocks_in_parts(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    region = small.tiny_region(tmp_path / "a", tiny_weights, **AUTO)
    assert zygote.run(region, "--set", ONE_BLOCK, kind="exit", at=30).code == 137
    planned = zygote.run(region, "--dry-run", "--set", SEVERAL)
    assert "1 of 1 to look at" in planned.text, "the dry run is of the run that is resumed"
    assert zygote.run(region, "--set", SEVERAL).code == 0
    assert runs.report(tmp_path / "a/out")["halved_blocks"] == 1
    other = small.tiny_region(tmp_path / "b", tiny_weights, **AUTO)
    assert zygote.run(other, "--set", ONE_BLOCK).code == 0
    assert runs.report(tmp_path / "b/out")["halved_blocks"] == 0
