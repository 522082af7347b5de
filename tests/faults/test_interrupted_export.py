"""A run that is asked to stop, or cannot go on, while it publishes: a sentence, and the next run makes the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import runs
import small

PROMISED = 20
"""A run that is asked to stop is gone after so many seconds."""
DRIVER = """
import errno, os, signal, sys, time
from pathlib import Path

from pipeline import run
from pipeline.export import rasters
from pipeline.footprints import finish

trouble, begun, region = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
stored = finish.Stored.__iter__


def rows(self):
    for batch in stored(self):
        yield batch
        if trouble == "broken disk":
            raise OSError(errno.EIO, os.strerror(errno.EIO), "1-2.arrow")
        if trouble in ("request", "alarm") and not begun.exists():
            begun.touch()
            os.kill(os.getpid(), signal.SIGTERM)
            if trouble == "alarm":
                time.sleep(30)


def endless(plain, path):
    begun.touch()
    time.sleep(300)


finish.Stored.__iter__ = rows
if trouble == "alarm":
    run.GRACE = -1.5  # it goes off half a second after the request
if trouble == "copy":
    rasters.to_cog = endless
sys.exit(run.main([region]))
"""
"""A run in whose export something happens."""


def start(region: Path, trouble: str) -> runs.Process:
    """Start such a run, as a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, trouble, str(region.parent / "begun"), str(region)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=runs.PROJECT,
    )  # fmt: skip


def assert_nothing_half(output: Path) -> None:
    """No file of the export stands where whole ones do, and all that was computed is kept."""
    assert not [path.name for path in output.glob("[!.]*") if path.name != "run.log"]
    assert len(runs.journalled(output)) == small.TINY_BLOCKS
    assert not (output / ".work/lease").exists()


def assert_resumes(region: Path, zygote: runs.Zygote, expected: runs.Outcome) -> None:
    """The next run makes the same bytes, and nothing was computed twice."""
    done, output = zygote.run(region), region.parent / "out"
    assert done.code == 0, done.text
    assert runs.digest(output) == expected.digest
    assert runs.strays(output) == []
    assert len(runs.events(output)) == small.TINY_BLOCKS


@pytest.mark.parametrize("trouble", ["request", "alarm"])
def test_a_request_to_stop_is_heeded_between_rows_and_its_alarm_amid_them(
    trouble: str, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    """GDAL reads the rows through a callback; of what is raised in there it only says that its stream broke."""
    region = small.tiny_region(tmp_path, tiny_weights)
    run = start(region, trouble)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 75, said
    assert "interrupted" in said
    assert "it resumes" in said
    assert "Traceback" not in said
    assert_nothing_half(tmp_path / "out")
    assert runs.strays(tmp_path / "out") == []
    assert_resumes(region, zygote, undisturbed)


def test_rows_that_a_broken_disk_does_not_give_end_it_with_a_sentence(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights)
    run = start(region, "broken disk")
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1, said
    assert "footprints.gpkg: cannot be written ([Errno 5] Input/output error: '1-2.arrow')" in said
    assert "Traceback" not in said
    assert_nothing_half(tmp_path / "out")
    assert_resumes(region, zygote, undisturbed)


def test_gdals_copy_that_heeds_nobody_is_not_waited_for(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote
) -> None:
    """Of a large mosaic it takes minutes."""
    cog = {"probability": {"cog": True}}
    expected = zygote.outcome(small.tiny_region(tmp_path / "undisturbed", tiny_weights, **cog))
    region = small.tiny_region(tmp_path / "region", tiny_weights, **cog)
    run, output = start(region, "copy"), region.parent / "out"
    runs.wait_until((region.parent / "begun").exists, run)
    children, since = runs.family(run), time.monotonic()
    os.killpg(run.pid, signal.SIGTERM)
    _, said = run.communicate(timeout=120)
    assert time.monotonic() - since < PROMISED
    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == [], "children survive"
    assert run.returncode == 75, said
    assert "it resumes" in said
    assert not (output / "probability.tif").exists()
    assert_resumes(region, zygote, expected)
