"""The graph of a run: per block read → infer → store, then outline, fed to the workers a bounded number at a time.

The driver holds the order: a block's outline needs one row and column of its neighbours' samples, so it is submitted when those
are final. Only this module and ``cluster`` know Dask.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, WorkerPlugin

from pipeline import tasks
from pipeline.plan import READ_AHEAD, Plan
from tiling.grid import BlockIndex

# A block that fails this often is at fault itself (FAULTS: quarantine); the rest of the region goes on.
ATTEMPTS = 3
# Time that blocks in hand get to finish after SIGTERM, s; the run must be gone after 20.
GRACE = 14.0


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One unit of the graph that can be retried by itself."""

    stage: str
    """``samples``, ``outline`` or ``finish``."""
    block: BlockIndex
    """Of which block."""
    argument: Any = field(default=None, compare=False)
    """What its task needs besides."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended."""

    job: Job
    """Which one."""
    result: Any = None
    """What its task returned."""
    error: Exception | None = None
    """Why it failed for good; None when it did not."""


class _Prepare(WorkerPlugin):  # type: ignore[misc]
    """Gives every worker, also one that joins later, the plan of the run."""

    name = "plan"

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def setup(self, worker: Any) -> None:
        tasks.prepare(self._plan)


@dataclass(slots=True)
class Stop:
    """A request to end early: nothing new is started, and what runs has until the deadline."""

    requested: float | None = None
    """Monotonic time of the request, s; None: go on."""

    def request(self) -> None:
        """Ask to stop."""
        self.requested = self.requested or time.monotonic()

    @property
    def overdue(self) -> bool:
        """Whether the time of grace has passed."""
        return self.requested is not None and time.monotonic() - self.requested > GRACE


@dataclass(slots=True)
class Crew:
    """The workers, seen as a place where jobs are started and from where they come back, retried when they fail."""

    client: Client
    """Connection to the scheduler."""
    stop: Stop
    """Says when to end early."""
    _running: dict[Job, Future] = field(default_factory=dict)
    _attempts: Counter[Job] = field(default_factory=Counter)
    _ended: "SimpleQueue[tuple[Job, Future]]" = field(default_factory=SimpleQueue)

    def prepare(self, plan: Plan) -> None:
        """Give the plan to all workers, now and later."""
        self.client.register_plugin(_Prepare(plan))

    def call(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task on a worker's device and wait for it."""
        return self.client.submit(task, *arguments, resources={"device": 1}, pure=False).result()

    @property
    def busy(self) -> int:
        """Number of jobs under way."""
        return len(self._running)

    @property
    def width(self) -> int:
        """Number of blocks under way at which the devices are busy and the next tiles are read."""
        return (1 + READ_AHEAD) * max(1, len(self.client.nthreads()))

    @property
    def has_room(self) -> bool:
        """Whether another block keeps the devices busier."""
        return self.stop.requested is None and self.busy < self.width

    def start(self, job: Job) -> None:
        """Start a job; it comes back through ``finished``."""
        self._attempts[job] += 1
        future = _SUBMIT[job.stage](self.client, job)
        self._running[job] = future
        future.add_done_callback(lambda done: self._ended.put((job, done)))

    def finished(self) -> Iterator[Finished]:
        """The jobs that ended since the last call; waits for the first one. Nothing when it is time to give up."""
        while self._running and not self.stop.overdue:
            try:
                ended = [self._ended.get(timeout=0.5)]
            except Empty:
                continue
            while not self._ended.empty():
                ended.append(self._ended.get())
            outcomes = [outcome for job, future in ended if (outcome := self._settle(job, future))]
            if outcomes:
                yield from outcomes
                return

    def _settle(self, job: Job, future: Future) -> Finished | None:
        """The outcome of a job whose future is done; None when it was started again."""
        if self._running.get(job) is not future:
            return None
        del self._running[job]
        error = future.exception() if future.status == "error" else None
        if error is None and future.status == "finished":
            return Finished(job, result=future.result())
        if self.stop.requested is None and self._attempts[job] < ATTEMPTS:
            self.start(job)
            return None
        return Finished(job, error=error or RuntimeError(f"{job} was {future.status}"))

    def each(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Run independent jobs, a bounded number at a time."""
        waiting = iter(jobs)
        while True:
            while self.has_room and (job := next(waiting, None)):
                self.start(job)
            if not self.busy or self.stop.overdue:
                return
            yield from self.finished()


def _submit_samples(client: Client, job: Job) -> Future:
    """Read, infer, store. Only ``infer`` needs the device: tasks with resources are never queued."""
    tile = client.submit(tasks.read, job.block, pure=False)
    samples = client.submit(tasks.infer, tile, pure=False, resources={"device": 1}, priority=1)
    return client.submit(tasks.keep, tile, samples, pure=False, priority=2)


def _submit_outline(client: Client, job: Job) -> Future:
    return client.submit(tasks.outline, job.block, pure=False, priority=3)


def _submit_finish(client: Client, job: Job) -> Future:
    return client.submit(tasks.finish, job.argument, pure=False)


_SUBMIT = {"samples": _submit_samples, "outline": _submit_outline, "finish": _submit_finish}
