"""SIGTERM, Ctrl-C, a second signal: the block in hand is finished, nobody left behind, the next run makes the same."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import tiny

KEYS = {"tiles": {"size": 64, "halo": 0}}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, zygote: tiny.Zygote) -> dict[str, str]:
    region = tiny.region(tmp_path_factory.mktemp("expected"), tiny_weights, **KEYS)
    assert zygote.run(region).code == 0
    return tiny.digest(region.parent / "out")


def interrupt(region: Path, send: Callable[["subprocess.Popen[str]"], None], more: int = 2) -> tuple[int, float, str]:
    """Interrupt a run once it has done some blocks: exit code, seconds that it took to end, what it said."""
    output = region.parent / "out"
    before = len(tiny.journalled(output))
    run = tiny.start(region)
    tiny.wait_until(lambda: len(tiny.journalled(output)) >= before + more, run)
    children = tiny.family(run)
    since = time.monotonic()
    send(run)
    _, said = run.communicate(timeout=30)
    seconds = time.monotonic() - since
    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == [], "children survive"
    return run.returncode, seconds, said


def test_signals_are_honoured_and_the_run_is_resumed(
    tmp_path: Path, tiny_weights: Path, zygote: tiny.Zygote, expected: dict[str, str]
) -> None:
    region, output = tiny.region(tmp_path, tiny_weights, **KEYS), tmp_path / "out"
    senders: dict[str, Callable[[subprocess.Popen[str]], None]] = {
        "a batch system's request": lambda run: run.send_signal(signal.SIGTERM),
        "Ctrl-C in a terminal": lambda run: os.killpg(run.pid, signal.SIGINT),
        "a request to the whole job": lambda run: os.killpg(run.pid, signal.SIGTERM),
    }
    for name, send in senders.items():
        code, seconds, said = interrupt(region, send)
        assert code == 75, (name, said)
        assert seconds < 20
        assert "it resumes" in said
        assert "Traceback" not in said
        assert tiny.shards(output) == tiny.journalled(output), "a finished block is in the journal"
        assert not (output / ".work/lease").exists()
    assert zygote.run(region).code == 0
    assert tiny.digest(output) == expected
    assert sorted(tiny.events(output)) == sorted(set(tiny.events(output))), "no block was computed twice"


def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, tiny_weights: Path, zygote: tiny.Zygote, expected: dict[str, str]
) -> None:
    region = tiny.region(tmp_path, tiny_weights, **KEYS)

    def twice(run: "subprocess.Popen[str]") -> None:
        run.send_signal(signal.SIGSTOP)  # so that both are there before it can end by itself
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGCONT)

    code, seconds, _ = interrupt(region, twice)
    assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert seconds < 3
    assert zygote.run(region).code == 0
    assert tiny.digest(tmp_path / "out") == expected
