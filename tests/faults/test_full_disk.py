"""The disk is full while GDAL writes an export: a sentence, what is done is kept, and the next run ends well."""

from pathlib import Path

import pytest
import runs
import small


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_an_export_that_finds_no_room_ends_the_run_with_a_sentence(
    share: float, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    """No file may grow to the size of the GeoPackage, which is larger than what a run keeps of all blocks."""
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    done = zygote.run(region, setting={"file_size": int(undisturbed.sizes["footprints.gpkg"] * share)})
    assert done.code == 1, done.text
    assert f"{output}/footprints.gpkg: cannot be written" in done.text
    assert "it resumes" in done.text
    assert "Traceback" not in done.text
    assert not (output / "footprints.gpkg").exists()
    assert runs.strays(output) == []
    assert len(runs.journalled(output)) == small.TINY_BLOCKS
    assert zygote.run(region).code == 0
    assert runs.digest(output) == undisturbed.digest
    assert runs.report(output)["resumed_blocks"] == small.TINY_BLOCKS
