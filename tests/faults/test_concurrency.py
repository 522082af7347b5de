"""Several jobs on one output: exactly one does it, and the others say who."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runs
import small

from pipeline import lease
from pipeline.errors import OutputError

CONTENDER = """
import sys, time
from pathlib import Path
from pipeline import lease
from pipeline.errors import OutputError

path, gate, rounds = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
for number in range(rounds):
    while time.time() < gate + 0.25 * number:
        time.sleep(0.001)
    try:
        with lease.hold(path):
            print("won", number, flush=True)
            time.sleep(0.2)
    except OutputError as error:
        print("lost", number, "another run is at work here" in str(error), flush=True)
"""


def contend(path: Path, jobs: int, rounds: int) -> list[str]:
    """What several processes say that want one lease at the same moments."""
    gate = str(time.time() + 1.5 + 0.3 * jobs)
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, str(path), gate, str(rounds)],
            stdout=subprocess.PIPE, text=True, cwd=runs.PROJECT,
        ) for _ in range(jobs)
    ]  # fmt: skip
    return [line for contender in contenders for line in contender.communicate(timeout=120)[0].splitlines()]


@pytest.mark.parametrize(("jobs", "rounds"), [(2, 8), (8, 8)])
def test_exactly_one_wins(jobs: int, rounds: int, tmp_path: Path) -> None:
    said = contend(tmp_path / "lease", jobs, rounds)
    for number in range(rounds):
        assert said.count(f"won {number}") == 1, said
        assert said.count(f"lost {number} True") == jobs - 1, said


def test_the_living_owner_is_named_and_the_dead_one_taken_over(
    tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    owner = runs.start(region)
    runs.wait_until(lambda: len(runs.journalled(output)) >= 1, owner)
    os.killpg(owner.pid, signal.SIGSTOP)  # alive, but slower than any heartbeat
    second = zygote.run(region)
    assert second.code == 2
    assert "another run is at work here" in second.text
    assert f"process {owner.pid}" in second.text
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()
    third = zygote.run(region)
    assert third.code == 0, third.text
    assert runs.digest(output) == undisturbed.digest


def test_a_process_that_holds_the_lease_refuses_itself_too(tmp_path: Path) -> None:
    with (
        lease.hold(tmp_path / "lease"),
        pytest.raises(OutputError, match="another run"),
        lease.hold(tmp_path / "lease"),
    ):
        pass
