"""Slurm's jobs: what is asked for, when their workers leave, and new ones in the place of those that ended."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.memory import KEEP_PAGES
from pipeline.config import Cluster
from pipeline.errors import InputError
from pipeline.machine import MIB
from pipeline.worker import GPUS, LEAVES

# A job's workers take no more blocks in the last part of its walltime, this share of it, within these bounds, s; they
# have at least half of that for the blocks in hand.
MARGIN, MARGIN_BOUNDS = 0.1, (60, 600)
# How often Slurm is asked which jobs it still has, and how long it may take to answer, s.
ROLL_CALL, TIMEOUT = 30, 5


def options(cluster: Cluster, memory: int) -> dict[str, Any]:
    """What dask-jobqueue has to know of a job, which gets ``memory`` bytes."""
    gpus = cluster.gpus or 0
    devices = [f"--gres=gpu:{gpus}"] if gpus else []
    environment = {
        "OMP_NUM_THREADS": max(1, cluster.cores // max(1, gpus)),
        "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False",
        **KEEP_PAGES,
        **({GPUS: ",".join(map(str, range(gpus)))} if gpus > 1 else {}),
    }
    exports = [f"export {name}={value}" for name, value in environment.items()]
    return {
        "queue": cluster.queue,
        "account": cluster.account,
        "walltime": cluster.walltime,
        "cores": cluster.cores,
        "processes": max(1, gpus),
        "memory": f"{-(-memory // MIB)}MiB",
        "python": shlex.quote(sys.executable),
        "job_name": "footprints",
        "job_script_prologue": [*_leaves(cluster), *cluster.prologue, *exports],
        "job_extra_directives": [*devices, *cluster.directives],
    }


def _leaves(cluster: Cluster) -> list[str]:
    """The line of a job script that says by the clock when its workers leave; a walltime of 0 has no end."""
    lasting = seconds(cluster.walltime)
    margin = min(lasting // 2, max(MARGIN_BOUNDS[0], min(MARGIN_BOUNDS[1], int(lasting * MARGIN))))
    staggered = f"{lasting - margin} + $$ % {margin // 2 + 1}"  # by the shell's number: not all jobs of a run at once
    begin, end = (f"$(($(date +%s) + {after}))" for after in (staggered, lasting))
    return [f"export {LEAVES}={begin}:{end}"] if lasting else []


def seconds(walltime: str) -> int:
    """Seconds of a walltime [D-]HH:MM:SS."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, rest = (int(part) for part in clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def submit(cluster: Any, jobs: int, ended: Sequence[str] = ()) -> None:
    """Have so many jobs, new ones in the place of those that ``ended``.

    Args:
        cluster: dask-jobqueue's.
        jobs: how many.
        ended: names of its jobs.

    Raises:
        InputError: Slurm does not take them, or its commands are not here.
    """

    async def ask() -> None:
        await cluster.scale_down(ended)
        cluster.scale(jobs=jobs)
        try:
            await cluster
        except (RuntimeError, OSError):
            for job in cluster.workers.values():  # the error refers to them; Dask insists that what is left is closed
                job.status = type(job.status).closed
            raise

    try:
        cluster.sync(ask)
    except (RuntimeError, OSError) as error:
        raise InputError(f"cluster: Slurm does not take a job: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


@contextmanager
def replacing(cluster: Any, jobs: int, say: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile, submit a job in the place of each that ended: by its walltime, cancelled, or with its node.

    Dask's ``adapt`` does not: it takes what it has asked for once for what is there.
    """
    over = threading.Event()

    def watch() -> None:
        told = ""
        while not over.wait(ROLL_CALL):
            try:
                replace(cluster, jobs, say)
            except (InputError, ValueError) as error:  # a ValueError where the cluster was closed meanwhile
                if str(error) != told and not over.is_set():
                    told = str(error)
                    say(f"{told}; it is tried again every {ROLL_CALL} s")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(TIMEOUT)


def replace(cluster: Any, jobs: int, say: Callable[[str], None]) -> None:
    """Submit a job in the place of each that Slurm has no more.

    Raises:
        InputError: Slurm does not take them.
    """
    numbers = {name: job.job_id for name, job in list(cluster.workers.items())}
    known = _known()
    ended = [] if known is None else [name for name, number in numbers.items() if number not in known]
    if ended:
        say(f"{len(ended)} of {jobs} jobs ended; others are submitted in their place")
        submit(cluster, jobs, ended)


def _known() -> set[str] | None:
    """Numbers of this user's jobs that wait or run; None where Slurm does not say."""
    command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return set(said.stdout.split())
