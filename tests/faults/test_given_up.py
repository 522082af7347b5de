"""A block whose outlines or footprints cannot be made is given up like any other: the rest is published, exit 3."""

from pathlib import Path

import pytest
import runs
import small


@pytest.mark.parametrize("folder", ["outlines", "footprints"])
def test_the_rest_is_published_and_the_block_named(
    folder: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    assert zygote.run(region, kind="exit", at=30).code == 137
    in_the_way = output / ".work" / folder / "1-2.arrow"
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir(parents=True)
    done = zygote.run(region)
    assert done.code == 3, done.text
    assert "1-2: " in done.text
    assert "Traceback" not in done.text
    report = runs.report(output)
    assert report["status"] == "failed blocks"
    counts = report["counts"]
    assert sum(counts[name] for name in ("predicted", "no_data", "outside", "failed")) == counts["pixels"]
    assert report["footprints"] > 0
    in_the_way.rmdir()
    assert zygote.run(region).code == 0
    assert runs.digest(output) == undisturbed.digest
