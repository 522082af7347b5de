"""SIGTERM, Ctrl-C, a second signal: the block in hand is finished, nobody left behind, the next run makes the same."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import runs
import small

Send = Callable[[runs.Process], None]
PROMISED = 20
"""A run that is asked to stop is gone after so many seconds."""
SENDERS: dict[str, Send] = {
    "a batch system's request": lambda run: run.send_signal(signal.SIGTERM),
    "Ctrl-C in a terminal": lambda run: os.killpg(run.pid, signal.SIGINT),
    "a request to the whole job": lambda run: os.killpg(run.pid, signal.SIGTERM),
}


def interrupt(region: Path, send: Send, more: int = 2) -> tuple[int, str]:
    """Interrupt a run once it has done some more blocks: exit code, and what it said."""
    output = region.parent / "out"
    before = len(runs.journalled(output))
    run = runs.start(region)
    runs.wait_until(lambda: len(runs.journalled(output)) >= before + more, run)
    children = runs.family(run)
    since = time.monotonic()
    send(run)
    _, said = run.communicate(timeout=PROMISED + 10)
    assert time.monotonic() - since < PROMISED
    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == [], "children survive"
    return run.returncode, said


def assert_honoured(output: Path, code: int, said: str) -> None:
    """The run ended as asked: with what it had begun, and with a sentence."""
    assert code == 75, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert runs.shards(output) == runs.journalled(output), "a finished block is in the journal"
    assert not (output / ".work/lease").exists()


def assert_resumes(region: Path, zygote: runs.Zygote, undisturbed: runs.Outcome) -> None:
    """The next run makes the same bytes, and no block was computed twice."""
    done = zygote.run(region)
    assert done.code == 0, done.text
    output = region.parent / "out"
    assert runs.digest(output) == undisturbed.digest
    assert sorted(runs.events(output)) == sorted(set(runs.events(output)))


@pytest.mark.parametrize(
    "senders",
    [["a request to the whole job"], pytest.param(list(SENDERS), marks=pytest.mark.slow)],
    ids=["to the whole job", "of every kind"],
)
def test_signals_are_honoured_and_the_run_is_resumed(
    senders: list[str], tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed_fine: runs.Outcome
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, **small.FINE)
    for sender in senders:
        code, said = interrupt(region, SENDERS[sender])
        assert_honoured(tmp_path / "out", code, said)
        assert "it resumes" in said
    assert_resumes(region, zygote, undisturbed_fine)
    print(f"honoured within {PROMISED} s: {', '.join(senders)}; no byte differs")


def test_ctrl_c_while_the_workers_are_being_started(tmp_path: Path, tiny_weights: Path) -> None:
    """It reaches the server that they are forked from, too, amid its imports."""
    run = runs.start(small.tiny_region(tmp_path, tiny_weights))
    runs.wait_until((tmp_path / "out/.work/lease").exists, run)
    SENDERS["Ctrl-C in a terminal"](run)
    _, said = run.communicate(timeout=PROMISED + 10)
    assert_honoured(tmp_path / "out", run.returncode, said)
    assert "stopping" in said


@pytest.mark.parametrize("seed", range(5))
def test_a_signal_at_any_moment_is_honoured(
    seed: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    """Four times each, at random I/O calls or a moment after them, also while files are published."""
    region = small.tiny_region(tmp_path, tiny_weights)
    chance = random.Random(seed)  # noqa: S311 - it must repeat
    for _ in range(4):
        at = chance.randint(1, undisturbed.calls // 3)
        kind = chance.choice(["SIGTERM", "SIGINT"])
        done = zygote.run(region, kind=kind, at=at, delay=chance.choice([0, chance.uniform(0, 0.02)]))
        if done.code:
            assert_honoured(tmp_path / "out", done.code, done.text)
    assert_resumes(region, zygote, undisturbed)


def test_a_second_signal_ends_it_at_once(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed_fine: runs.Outcome
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, **small.FINE)

    def twice(run: runs.Process) -> None:
        run.send_signal(signal.SIGSTOP)  # so that both are there before it can end by itself
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGCONT)

    code, said = interrupt(region, twice)
    assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM), "the code of an exit in the handler itself"
    assert "resource_tracker" not in said
    done = zygote.run(region)
    assert done.code == 0, done.text
    assert runs.digest(tmp_path / "out") == undisturbed_fine.digest


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(10))
def test_many_runs_are_interrupted(
    chunk: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed_fine: runs.Outcome
) -> None:
    """100 times in all, after a random number of blocks, by every kind of request."""
    for number in range(2):
        region = small.tiny_region(tmp_path / str(number), tiny_weights, **small.FINE)
        for _ in range(5):
            code, said = interrupt(region, random.choice(list(SENDERS.values())), random.randint(1, 4))  # noqa: S311
            assert_honoured(region.parent / "out", code, said)
        assert_resumes(region, zygote, undisturbed_fine)
    print(f"chunk {chunk}: 10 interrupted runs ended with 75 within {PROMISED} s; no byte differs, no block twice")
