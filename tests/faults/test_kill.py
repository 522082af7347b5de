"""kill -9 of the driver and of workers at random times: the same bytes, and only what a worker had in hand twice."""

import random
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
import runs
import small

from pipeline.engine import READ_AHEAD

# A real block takes its device seconds, and one at most is computed again. These take milliseconds: on a busy machine
# all that a worker may hold can be stored before the driver hears of the first.
IN_HAND = 1 + READ_AHEAD
HOOKS = Path(__file__).with_name("hooks")


def start(region: Path, tally: Path, *options: str, **environment: str) -> runs.Process:
    """Start a run whose workers tell of each block that they store."""
    return runs.start(region, *options, PYTHONPATH=str(HOOKS), FOOTPRINTS_TALLY=str(tally), **environment)


def again(tally: Path) -> int:
    """How many blocks were computed that had been computed already."""
    stored = Counter(tally.read_text().split())
    return stored.total() - len(stored)


def kill_driver(region: Path, tally: Path, after: int) -> int:
    """Kill the driver once so many blocks are done; how many are done then."""
    output = region.parent / "out"
    run = start(region, tally)
    runs.wait_until(lambda: len(runs.journalled(output)) >= after, run)
    children = runs.family(run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    return len(runs.journalled(output))


def kill_workers(region: Path, tally: Path, times: list[int], workers: int) -> str:
    """Run with so many networks, and a hand on each core left; a process of these is killed when so much is done."""
    output = region.parent / "out"
    run = start(region, tally, "--set", f"cluster.workers={workers}")
    for after in times:
        runs.wait_until(lambda after=after: len(runs.journalled(output)) >= after and runs.workers(run) != [], run)
        random.choice(runs.workers(run)).kill()  # noqa: S311
    _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    return said


def assert_mended(region: Path, undisturbed: runs.Outcome) -> None:
    """The outputs are those of an undisturbed run, every block was recorded once, and nothing lies about."""
    output = region.parent / "out"
    assert runs.digest(output) == undisturbed.digest
    recorded = runs.events(output)
    assert len(recorded) == len(set(recorded))
    assert runs.strays(output) == []


def test_the_driver_is_killed(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed_fine: runs.Outcome
) -> None:
    region, tally = small.tiny_region(tmp_path, tiny_weights, **small.FINE), tmp_path / "tally"
    done = kill_driver(region, tally, random.randint(1, small.FINE_BLOCKS - 8))  # noqa: S311
    stored = tally.read_text().split()
    assert len(set(stored)) - done <= IN_HAND, "what the one worker had stored is recorded, but for what was in hand"
    finished = zygote.run(region)
    assert finished.code == 0, finished.text
    assert_mended(region, undisturbed_fine)
    assert runs.report(tmp_path / "out")["resumed_blocks"] == done


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_are_killed(workers: int, tmp_path: Path, tiny_weights: Path, undisturbed_fine: runs.Outcome) -> None:
    region, tally = small.tiny_region(tmp_path, tiny_weights, **small.FINE), tmp_path / "tally"
    said = kill_workers(region, tally, [3], workers)
    assert_mended(region, undisturbed_fine)
    assert again(tally) <= IN_HAND
    assert runs.report(tmp_path / "out")["resumed_blocks"] == 0
    assert "Traceback" not in said
    assert "distributed" not in said


def test_half_a_shard_of_a_killed_worker_is_not_published(
    tmp_path: Path, tiny_weights: Path, undisturbed_fine: runs.Outcome
) -> None:
    region, tally = small.tiny_region(tmp_path, tiny_weights, **small.FINE), tmp_path / "tally"
    run = start(region, tally, FOOTPRINTS_HALF="1/2")
    _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    assert tally.with_name("tally.half").exists(), "the worker was killed"
    assert_mended(region, undisturbed_fine)


@pytest.mark.parametrize("seed", range(5))
def test_driver_and_worker_are_killed_together(
    seed: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    """Five times each, at random I/O calls or a moment after them."""
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    chance = random.Random(seed)  # noqa: S311 - it must repeat
    for _ in range(5):
        before = runs.journalled(output)
        at = chance.randint(1, undisturbed.calls // 3)
        killed = zygote.run(region, kind="SIGKILL", at=at, delay=chance.choice([0, chance.uniform(0, 0.02)]))
        assert killed.code in (-signal.SIGKILL, 0), killed.text
        if killed.code:
            assert len(runs.shards(output) - runs.journalled(output)) <= IN_HAND
            assert before <= runs.journalled(output)
    finished = zygote.run(region)
    assert finished.code == 0, finished.text
    assert_mended(region, undisturbed)


def test_a_block_that_kills_its_worker_is_given_up_and_no_other(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region, tally = small.tiny_region(tmp_path, tiny_weights), tmp_path / "tally"
    run = start(region, tally, FOOTPRINTS_POISON="0-2")
    _, said = run.communicate(timeout=250)
    assert run.returncode == 3, said
    assert tally.read_text().split().count("killed") == 3
    report = runs.report(tmp_path / "out")
    assert list(report["failed_blocks"]) == ["0-2"]
    assert "its worker was killed 3 times" in said
    assert sorted(runs.events(tmp_path / "out")) == ["0-0", "0-1", "0-3", "1-0", "1-1", "1-2", "1-3"]
    assert report["counts"]["failed"] == 128 * 128
    finished = zygote.run(region)
    assert finished.code == 0, finished.text
    assert runs.report(tmp_path / "out")["resumed_blocks"] == 7
    assert runs.digest(tmp_path / "out") == undisturbed.digest


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(20))
def test_the_driver_is_killed_at_many_times(
    chunk: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed_fine: runs.Outcome
) -> None:
    """400 times in all."""
    worst = 0
    for number in range(5):
        region = small.tiny_region(tmp_path / str(number), tiny_weights, **small.FINE)
        tally = region.with_name("tally")
        for after in sorted(random.sample(range(1, small.FINE_BLOCKS - 2), 4)):
            kill_driver(region, tally, after)
        assert zygote.run(region).code == 0
        assert_mended(region, undisturbed_fine)
        worst = max(worst, again(tally))
    print(f"chunk {chunk}: the driver was killed 20 times; no byte differs; at most {worst} blocks of 4 kills again")
    assert worst <= 4 * IN_HAND


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(10))
def test_workers_are_killed_at_many_times(
    chunk: int, tmp_path: Path, tiny_weights: Path, undisturbed_fine: runs.Outcome
) -> None:
    """100 times in all, two kills a run, of two workers or of one and a hand."""
    worst = 0
    for number in range(5):
        region = small.tiny_region(tmp_path / str(number), tiny_weights, **small.FINE)
        times = sorted(random.sample(range(1, small.FINE_BLOCKS - 10), 2))
        kill_workers(region, region.with_name("tally"), times, 1 + chunk % 2)
        assert_mended(region, undisturbed_fine)
        worst = max(worst, again(region.with_name("tally")))
    print(f"chunk {chunk}: workers were killed 10 times; no byte differs; at most {worst} blocks of 2 kills again")
    assert worst <= 2 * IN_HAND
