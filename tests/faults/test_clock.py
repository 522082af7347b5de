"""Times in outputs are UTC, wherever the machine believes to be."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import runs
import small


def test_times_are_utc_in_another_time_zone(tmp_path: Path, tiny_weights: Path) -> None:
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    before = datetime.now(UTC)
    done = runs.finish(region, TZ="Pacific/Auckland")
    after = datetime.now(UTC)
    assert done.returncode == 0, done.stderr
    lines = (output / "run.log").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line)["time"] for line in lines] + [runs.report(output)["began"]]
    told += re.findall(r"^(\d{4}-\S+) ", done.stderr, re.MULTILINE)
    assert len(told) > small.TINY_BLOCKS + 2
    for text in told:
        assert text.endswith("Z")
        assert before - timedelta(seconds=1) <= datetime.fromisoformat(text) <= after
    with closing(sqlite3.connect(output / "footprints.gpkg")) as database:
        ((changed,),) = database.execute("SELECT DISTINCT last_change FROM gpkg_contents").fetchall()
    assert changed in {f"{time:%Y-%m-%d}T00:00:00.000Z" for time in (before, after)}
