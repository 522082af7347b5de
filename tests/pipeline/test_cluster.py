"""Batch jobs: their workers leave in peace before they end, and others take their place."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import dask
import psutil
import pytest
from distributed import Client, Worker

from pipeline import batch, cluster, worker
from pipeline.config import Cluster


def begun(tally: Path, first: float) -> int:
    """The process that does this; the first one to begin takes ``first`` seconds."""
    with tally.open("a") as file:
        file.write("begun\n")
    if tally.read_text().count("begun") == 1:
        time.sleep(first)
    return os.getpid()


def leaves(end: float, dask_worker: Worker) -> int:
    """Let a worker leave soon, whose job ends in so many seconds; its process."""
    dask_worker.io_loop.call_later(2, worker.leave, dask_worker, time.time() + end)
    return os.getpid()


@contextmanager
def two(**environment: str) -> Iterator[Client]:
    """A worker with this environment, and one beside it."""
    with dask.config.set(cluster.SETTINGS), cluster.processes(1, 1, environment) as client:
        yield client


def by(seconds: float, ready: Callable[[], bool]) -> bool:
    """Whether something holds by then."""
    deadline = time.monotonic() + seconds
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.1)
    return ready()


@pytest.mark.parametrize(("end", "takes", "times"), [(600.0, 5.0, 1), (worker.FAREWELL + 2.0, 600.0, 2)])
def test_a_worker_whose_job_ends_finishes_what_it_has_in_hand_and_goes(
    end: float, takes: float, times: int, tmp_path: Path
) -> None:
    """What takes longer than the job has left is begun again by the other one, and never done by two at a time."""
    tally = tmp_path / "tally"
    with two() as client:
        first = min(client.nthreads())
        (process,) = client.run(leaves, end, workers=[first]).values()
        in_hand = client.submit(begun, tally, takes, workers=[first], allow_other_workers=True)
        assert (in_hand.result() == process) == (times == 1)
        assert tally.read_text().count("begun") == times
        del in_hand
        assert by(worker.FAREWELL, lambda: not psutil.pid_exists(process))
        assert client.submit(os.getpid, pure=False).result() != process


def test_a_worker_that_is_started_anew_when_its_job_ends_leaves_at_once() -> None:
    with two(**{worker.LEAVES: f"{time.time() - 5}:{time.time() + 60}"}) as client:
        assert by(30, lambda: list(client.nthreads().values()) == [1])


def script(walltime: str) -> str:
    """What a job's shell says of when its workers leave."""
    lines = batch.options(Cluster(kind="slurm", walltime=walltime), 1 << 30)["job_script_prologue"]
    said = subprocess.run(
        ["bash", "-c", "\n".join([*lines, f"echo ${worker.LEAVES}"])], capture_output=True, check=True
    )
    return said.stdout.decode().strip()


@pytest.mark.parametrize(
    ("walltime", "margin"), [("1-00:00:00", 600), ("01:00:00", 360), ("00:10:00", 60), ("00:01:00", 30)]
)
def test_a_job_says_by_the_clock_when_its_workers_leave(walltime: str, margin: int) -> None:
    now = time.time()
    begin, end = (int(at) - now for at in script(walltime).split(":"))
    assert end == pytest.approx(batch.seconds(walltime), abs=20)
    assert margin / 2 - 1 <= end - begin <= margin + 1


def test_a_job_without_an_end_keeps_its_workers() -> None:
    assert script("00:00:00") == ""


@dataclass
class Jobs:
    """What of dask-jobqueue's cluster is used, with jobs by their names."""

    workers: dict[str, SimpleNamespace]
    asked: list[object] = field(default_factory=list)

    def sync(self, submit: Callable[[], Coroutine[object, object, None]]) -> None:
        asyncio.run(submit())

    async def scale_down(self, names: list[str]) -> None:
        self.asked.append(names)

    def scale(self, jobs: int) -> None:
        self.asked.append(jobs)

    def __await__(self) -> Iterator[None]:
        yield from ()


SQUEUE = {
    "one ended": ("echo 11; echo 13", [["second"], 3]),
    "all there": ("echo 13; echo 99; echo 12; echo 11", []),
    "all ended": ("true", [["first", "second", "third"], 3]),
    "Slurm does not say": ("echo 11; exit 1", []),
}


@pytest.mark.parametrize("case", SQUEUE)
def test_jobs_that_slurm_has_no_more_are_submitted_again(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says, asked = SQUEUE[case]
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    jobs, said = Jobs({n: SimpleNamespace(job_id=str(i)) for i, n in enumerate(["first", "second", "third"], 11)}), []
    batch.replace(jobs, 3, said.append)
    assert jobs.asked == asked
    assert len(said) == bool(asked)
