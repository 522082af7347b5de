"""kill -9 of the driver and of workers at random times: the same bytes, and at most one block of a worker twice."""

import random
import signal
from pathlib import Path

import psutil
import pytest
import tiny

KEYS = {"tiles": {"size": 64, "halo": 0}}
BLOCKS = 28


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: tiny.Zygote) -> dict[str, str]:
    region = tiny.region(tmp_path_factory.mktemp("expected"), tiny_weights, **KEYS)
    assert zygote.run(region).code == 0
    return tiny.digest(region.parent / "out")


def kill_driver(region: Path, after: int) -> int:
    """Kill the driver once so many blocks are done; how many are done then."""
    output = region.parent / "out"
    run = tiny.start(region)
    tiny.wait_until(lambda: len(tiny.journalled(output)) >= after, run)
    children = tiny.family(run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    done = tiny.journalled(output)
    assert len(tiny.shards(output) - done) <= 1
    return len(done)


def test_the_driver_is_killed(
    tmp_path: Path, tiny_weights: Path, zygote: tiny.Zygote, expected: dict[str, str]
) -> None:
    region = tiny.region(tmp_path, tiny_weights, **KEYS)
    done = kill_driver(region, random.randint(1, BLOCKS - 8))  # noqa: S311
    finished = zygote.run(region)
    assert finished.code == 0, finished.text
    assert tiny.digest(tmp_path / "out") == expected
    assert tiny.report(tmp_path / "out")["resumed_blocks"] == done
    assert len(tiny.events(tmp_path / "out")) == pytest.approx(
        BLOCKS, abs=1
    )  # the log may miss the last one journalled
    assert tiny.strays(tmp_path / "out") == []


def test_workers_are_killed(tmp_path: Path, tiny_weights: Path, expected: dict[str, str]) -> None:
    region, output = tiny.region(tmp_path, tiny_weights, **KEYS), tmp_path / "out"
    run = tiny.start(region, "--set", "cluster.workers=2")
    for after in (3, 12):
        tiny.wait_until(lambda after=after: len(tiny.journalled(output)) >= after and len(tiny.workers(run)) == 2, run)
        random.choice(tiny.workers(run)).kill()  # noqa: S311
    _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    assert tiny.digest(output) == expected
    assert sorted(tiny.events(output)) == sorted(set(tiny.events(output)))
    assert "Traceback" not in said
    assert "distributed" not in said


POISON = """
import importlib, os, signal, sys

sys.path.remove(os.path.dirname(__file__))  # let the sitecustomize that this one hides have its say
del sys.modules["sitecustomize"]
try:
    importlib.import_module("sitecustomize")
except ImportError:
    pass

def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith("thumbnails/0-2.jpg"):
        open({tally!r}, "a").write("x")
        os.kill(os.getpid(), signal.SIGKILL)

if "--multiprocessing-fork" in sys.orig_argv or "spawn_main" in " ".join(sys.orig_argv):
    sys.addaudithook(hook)
"""


def test_a_block_that_kills_its_worker_is_given_up_and_no_other(
    tmp_path: Path, tiny_weights: Path, zygote: tiny.Zygote, undisturbed: tiny.Outcome
) -> None:
    region, tally = tiny.region(tmp_path, tiny_weights), tmp_path / "tally"
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison/sitecustomize.py").write_text(POISON.format(tally=str(tally)))
    run = tiny.start(region, PYTHONPATH=str(tmp_path / "poison"))
    _, said = run.communicate(timeout=250)
    assert run.returncode == 3, said
    assert tally.read_text() == "xxx"
    report = tiny.report(tmp_path / "out")
    assert list(report["failed_blocks"]) == ["0-2"]
    assert "its worker was killed 3 times" in said
    assert sorted(tiny.events(tmp_path / "out")) == ["0-0", "0-1", "0-3", "1-0", "1-1", "1-2", "1-3"]
    assert report["counts"]["failed"] == 128 * 128
    again = zygote.run(region)
    assert again.code == 0, again.text
    assert tiny.report(tmp_path / "out")["resumed_blocks"] == 7
    assert tiny.digest(tmp_path / "out") == undisturbed.digest


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_the_driver_is_killed_at_many_times(
    tmp_path: Path, tiny_weights: Path, zygote: tiny.Zygote, expected: dict[str, str]
) -> None:
    for number in range(100):
        region = tiny.region(tmp_path / str(number), tiny_weights, **KEYS)
        for after in sorted(random.sample(range(1, BLOCKS - 2), 4)):
            kill_driver(region, after)
        assert zygote.run(region).code == 0
        assert tiny.digest(region.parent / "out") == expected
