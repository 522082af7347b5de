"""What run.json says: every pixel counted once, the config that loads again, which scenes were resampled."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagery
import numpy as np
import pytest
from affine import Affine

from pipeline import config, report, run, survey
from pipeline.config import Region
from pipeline.errors import BlocksFailed
from tiling.grid import Axis, BlockIndex, Grid

EVERYTHING = """
scenes: [a.tif, 'tile?.tif', 'https://data.example.org/b.tif?token=s3cret']
remote: [data.example.org]
licence: CC BY 4.0, https://data.example.org/licence?key=s3cret
pixels: {nodata: nan, scale: [0, 1000]}
memory: 2GiB
cluster: {kind: slurm, cores: 8, memory: 4GiB, prologue: [export TOKEN=s3cret]}
"""


@pytest.mark.parametrize("area", [None, b""])
@pytest.mark.parametrize("failed", [["0-0"], ["1-1"], ["0-1", "1-1"], ["0-0", "0-1", "1-0", "1-1"], []])
def test_every_pixel_is_counted_once(area: bytes | None, failed: list[str]) -> None:
    """Block 1-1 is not looked at, and can fail all the same: its outline is traced for its neighbours."""
    grid = Grid(*(Axis(100, 64, 32, 0, 0) for _ in range(2)))
    active = np.array([[True, True], [True, False]])
    plan: Any = SimpleNamespace(grid=grid, mosaic=SimpleNamespace(area=area), active=active, skipped=36 * 36)
    blocks = [BlockIndex(0, 0), BlockIndex(0, 1), BlockIndex(1, 0)]
    lines = [
        {"block": str(block), "counts": {"predicted": grid.window(block).area - 7, "no_data": 5, "outside": 2}}
        for block in blocks
    ]
    journal: Any = SimpleNamespace(facts=lambda _: lines)
    ledger: Any = SimpleNamespace(failed={BlockIndex.parse(block): "why" for block in failed})
    counts = report.counts(plan, journal, ledger)
    assert counts["pixels"] == 100 * 100 == sum(counts[name] for name in counts if name != "pixels")
    assert counts["failed"] == sum(grid.window(block).area for block in ledger.failed)
    assert min(counts.values()) >= 0


def test_the_config_loads_again(tmp_path: Path) -> None:
    for text in ("scenes: [a.tif]", "scenes: [a.tif]\ncluster: {kind: cuda, gpus: 2}\narea: b.gpkg"):
        region = config.load(imagery.region(tmp_path, text))
        assert Region.model_validate(report.settings(region)) == region


def test_the_config_is_without_secrets(tmp_path: Path) -> None:
    region = config.load(imagery.region(tmp_path, EVERYTHING))
    told = report.settings(region)
    assert "s3cret" not in str(told)
    assert told["scenes"] == [f"{tmp_path}/a.tif", f"{tmp_path}/tile?.tif", "https://data.example.org/b.tif?…"]
    assert (told["memory"], told["pixels"]["nodata"], told["cluster"]["cores"]) == (2 << 30, "nan", 8)
    again = Region.model_validate(told)
    assert again.model_dump(mode="json")["pixels"] == region.model_dump(mode="json")["pixels"]


def test_scenes_that_are_resampled_are_told(tmp_path: Path) -> None:
    imagery.write(tmp_path / "a.tif", imagery.noise(20, 30))
    imagery.write(tmp_path / "b.tif", imagery.noise(20, 30), transform=imagery.AFFINE @ Affine.translation(30.4, 0))
    region = imagery.region(tmp_path, "scenes: ['?.tif']\ngrid: {resample: true}")
    told = report.resampled(survey.survey(config.load(region)))
    assert told == {"resampled": "1 of 2 scenes, to pixels of 0.5 × 0.5 metre in EPSG:32633"}
    alone = imagery.region(tmp_path, "scenes: [a.tif]\ngrid: {resample: true}")
    assert report.resampled(survey.survey(config.load(alone))) == {}


@pytest.mark.parametrize(("failed", "told"), [({"0-1": "why"}, "1 block failed"), ({"0-1": "", "0-2": ""}, "2 blocks")])
def test_failed_blocks_are_counted_in_words(failed: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "closing", lambda *_: "")
    progress: Any = SimpleNamespace(say=lambda _: None)
    with pytest.raises(BlocksFailed, match=told):
        run.conclude({"failed_blocks": failed}, Path("out"), progress)
