"""The fuzzers, in processes of their own: no traceback, no crash, no network, ≤ 5 s and ≤ 512 MiB for each case."""

import json
import random
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

FOUND: dict[str, list[int]] = {"tiff": [176, 250, 309, 818, 1287], "yaml": []}
"""Seeds that are run every time, because they once were findings: a geotransform by halves (twice), coordinates that
overflow, errors of GDAL that rasterio does not wrap, a signalling NaN. YAML's are in test_config.py."""


def run(kind: str, folder: Path, first: int, count: int) -> dict[str, float]:
    seeds = [first, count, *FOUND[kind]]
    command = [sys.executable, "-W", "error", str(Path(fuzz.__file__)), kind, str(folder), *map(str, seeds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    now = (folder / "now").read_text() if (folder / "now").exists() else "none"
    assert ended.returncode == 0, f"died in case {now}: {ended.stderr[-2000:]}"
    *findings, summary = lines
    assert not findings, "\n".join(f"seed {each['seed']}: {each['finding']}" for each in findings[:5])
    return summary


@pytest.mark.parametrize(("kind", "count"), [("tiff", 500), ("yaml", 2000)])
def test_quick_lane(kind: str, count: int, tmp_path: Path) -> None:
    assert run(kind, tmp_path / "work", 0, count)["cases"] == count + len(FOUND[kind])


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["tiff", "yaml"])
def test_long_lane(kind: str, tmp_path: Path) -> None:
    summary = run(kind, tmp_path / "work", 1_000_000, 20_000)
    print(kind, summary)
    assert summary["cases"] >= 20_000


def test_the_fuzzers_reach_both_what_is_accepted_and_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    contents = fuzz.seeds_of_tiffs(tmp_path / "s")
    assert len(contents) > 15
    changed = [fuzz.mutate_tiff(contents[0], random.Random(seed)) for seed in range(50)]  # noqa: S311
    assert len(set(changed)) > 40
    texts = {fuzz.mutate_yaml(random.Random(seed)) for seed in range(50)}  # noqa: S311
    assert len(texts) > 40
