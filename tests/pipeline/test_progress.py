"""What a run tells: a bar on a terminal, a line now and then in a batch log, every job in run.log."""

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline import progress
from pipeline.jobs import OUTLINE, SAMPLES, Finished, Job
from pipeline.log import Log
from pipeline.progress import Progress, Stage, duration
from pipeline.tasks import Counts, Stored, Written
from tiling.grid import BlockIndex


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "run.log")
    yield log
    log.close()


def told(log: Log) -> list[dict[str, object]]:
    """The lines of run.log."""
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=120, color_system=None), text


def samples(col: int, pixels: int = 1000) -> Finished:
    return Finished(Job(SAMPLES, BlockIndex(0, col)), Stored(Counts(pixels, 0, 0), None, {"infer": 0.5, "read": 0.25}))


def outline(col: int) -> Finished:
    return Finished(Job(OUTLINE, BlockIndex(0, col)), Written(None, {"outline": 0.125}))


def failed(col: int) -> Finished:
    return Finished(Job(SAMPLES, BlockIndex(0, col)), error=ValueError("bad block"))


@given(st.floats(0, 1e7))
def test_durations_are_right_and_short(seconds: float) -> None:
    text = duration(seconds)
    units = {"s": 1, "min": 60, "h": 3600}
    said = sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", text))
    assert len(text) <= 14
    assert abs(said - seconds) <= (0.5 if seconds < 90 else 30)


@given(total=st.integers(1, 10**6), resumed=st.integers(0, 10**6), done=st.integers(0, 10**6))
def test_the_rest_takes_as_long_as_what_is_done(total: int, resumed: int, done: int) -> None:
    resumed = min(resumed, total)
    done = min(done, total - resumed)
    stage = Stage("network", SAMPLES, total, resumed, began=time.monotonic() - 10_000, done=done, pixels=done * 500)
    if not done:
        assert stage.left is None
        return
    assert stage.left is not None
    assert stage.left == pytest.approx(10_000 * (total - resumed - done) / done, rel=0.01)
    assert stage.speed == pytest.approx(done / 20, rel=0.01)
    assert "Mpx/s" in str(stage)
    assert "failed" not in str(stage)


def test_every_job_is_a_line_of_the_log_and_times_add_up(log: Log) -> None:
    shown = Progress(log, console(terminal=False)[0])
    shown.start("network", SAMPLES, 4, resumed=1)
    for outcome in (samples(0), outline(0), failed(1), samples(2)):
        shown.ended(outcome)
    lines = told(log)
    assert [line["event"] for line in lines] == ["stage", "done", "done", "failed", "done"]
    assert [line.get("block") for line in lines[1:]] == ["0-0", "0-0", "0-1", "0-2"]
    assert (lines[0]["blocks"], lines[0]["resumed"]) == (4, 1)
    assert (lines[3]["type"], lines[3]["error"]) == ("ValueError", "bad block")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"])) for line in lines)
    assert shown.seconds == {"infer": 1.0, "read": 0.5, "outline": 0.125}


def test_a_batch_log_gets_lines_with_blocks_pace_memory_and_failures(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    paper, text = console(terminal=False)
    shown = Progress(log, paper)
    shown.start("network", SAMPLES, 4, resumed=1)
    shown.ended(samples(0))
    shown.ended(failed(1))
    shown.close()
    first, second, third = text.getvalue().splitlines()
    assert first.endswith("network: 3 blocks, 1 more done before")
    assert "network: 2 of 4 blocks, " in second
    assert "Mpx/s" in second
    assert "left" in second
    assert re.search(r"\d\.\d GiB$", second)
    assert "network: 3 of 4 blocks, " in third
    assert "1 failed" in third
    assert "\x1b" not in text.getvalue()


def test_between_two_lines_of_a_batch_log_nothing_is_said(log: Log) -> None:
    paper, text = console(terminal=False)
    shown = Progress(log, paper)
    shown.start("network", SAMPLES, 100)
    for col in range(50):
        shown.ended(samples(col))
    assert len(text.getvalue().splitlines()) == 1


def test_a_terminal_gets_one_bar_a_stage(log: Log) -> None:
    paper, text = console(terminal=True)
    shown = Progress(log, paper)
    shown.start("network", SAMPLES, 3, resumed=1)
    shown.ended(samples(0))
    shown.ended(outline(0))
    shown.ended(samples(1))
    shown.start("footprints", "finish", 3)
    shown.close()
    shown.close()
    assert "3/3" in text.getvalue()
    assert "4/3" not in text.getvalue(), "an outline is no block more"
    assert "footprints" in text.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_quiet_but_for_the_log(terminal: bool, log: Log) -> None:
    paper, text = console(terminal)
    paper.quiet = True
    shown = Progress(log, paper)
    shown.start("network", SAMPLES, 1)
    shown.ended(samples(0))
    shown.say("a word")
    shown.close()
    assert text.getvalue() == ""
    assert len(told(log)) == 2


def test_brackets_in_names_are_no_markup(log: Log) -> None:
    paper, text = console(terminal=False)
    Progress(log, paper).say("out/[bold]x[/bold]: already done")
    assert text.getvalue() == "out/[bold]x[/bold]: already done\n"
