"""The graph of a run: per block read → infer → store, then outline, fed to the workers a bounded number at a time.

The driver holds the order: a block's outline needs one row and column of its neighbours' samples, so it is
submitted when those are final. Only this module and ``cluster`` know Dask.
"""

import errno
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import Client, Future, KilledWorker, WorkerPlugin

from pipeline import tasks
from pipeline.errors import Interrupted, PipelineError
from pipeline.journal import OUTLINE, SAMPLES
from pipeline.plan import READ_AHEAD, Plan
from pipeline.store import DamagedBlock
from tiling.grid import BlockIndex

# A block that fails this often is at fault itself (FAULTS: quarantine); the rest of the region goes on.
ATTEMPTS = 3
# Time that blocks in hand get to finish after SIGTERM, s; the run must be gone after 20.
GRACE = 13.0
# How often the number of workers is asked for, s: asking takes as long as submitting a block.
CENSUS = 2.0
# An output that cannot be written fails every block alike: the run ends, instead of giving up block after block.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.ENOENT}


class WorkerDied(PipelineError):  # noqa: N818 - a state of the block
    """A block's worker was killed every time that it was tried."""


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


class _Prepare(WorkerPlugin):
    """Gives every worker, also one that joins later, the plan of the run."""

    def __init__(self, plan: Plan, run: str) -> None:
        self.name = run
        self._plan = plan

    def setup(self, worker: Any) -> None:
        tasks.prepare(self._plan, self.name)

    def teardown(self, worker: Any) -> None:
        tasks.release(self.name)


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
    """The workers, seen as a place where jobs are started and from where they come back, retried when they fail.

    A dead worker does not say which of its jobs killed it. Jobs that lost their worker twice are therefore tried alone:
    the one at fault dies by itself, and the others, which only shared its worker, are done.
    """

    client: Client
    """Connection to the scheduler."""
    stop: Stop
    """Says when to end early."""
    run: str = field(default_factory=lambda: f"run-{uuid.uuid4().hex[:12]}")
    """Tells this run from others on the same workers."""
    _waiting: deque[Job] = field(default_factory=deque)
    _suspects: deque[Job] = field(default_factory=deque)
    _running: dict[Job, Future[Any]] = field(default_factory=dict)
    _attempts: Counter[Job] = field(default_factory=Counter)
    _ended: "SimpleQueue[tuple[Job, Future[Any]]]" = field(default_factory=SimpleQueue)
    _workers: tuple[float, int] = (-CENSUS, 0)
    _prepared: bool = False

    @classmethod
    @contextmanager
    def of(cls, client: Client, stop: Stop) -> "Iterator[Crew]":
        """The workers of a client; in the end they forget the run, because they may be lent and go on to others."""
        crew = cls(client, stop)
        try:
            yield crew
        finally:
            with suppress(Exception):  # the workers may be gone, and the run's own outcome matters more
                crew.dismiss()

    def prepare(self, plan: Plan) -> None:
        """Give the plan to all workers, now and later."""
        self.client.register_plugin(_Prepare(plan, self.run))
        self._prepared = True

    def dismiss(self) -> None:
        """Abandon what runs, and let the workers forget the plan."""
        self.client.cancel(list(self._running.values()), force=True)
        self._running.clear()
        if self._prepared:
            self.client.unregister_worker_plugin(self.run)

    def call(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task on a worker's device and wait for it.

        Raises:
            Interrupted: asked to stop before it was done.
        """
        future = self.client.submit(tasks.at, self.run, task, *arguments, resources={"device": 1}, pure=False)
        while not future.done():
            if self.stop.requested is not None:
                raise Interrupted("interrupted before anything was computed")
            time.sleep(0.02)
        return future.result()

    @property
    def busy(self) -> int:
        """Number of jobs under way."""
        return len(self._running) + len(self._waiting) + len(self._suspects)

    @property
    def width(self) -> int:
        """Number of blocks under way at which the devices are busy and the next tiles are read."""
        asked, workers = self._workers
        if time.monotonic() - asked > CENSUS:
            workers = len(self.client.nthreads())
            self._workers = time.monotonic(), workers
        return (1 + READ_AHEAD) * max(1, workers)

    @property
    def has_room(self) -> bool:
        """Whether another block keeps the devices busier."""
        return self.stop.requested is None and not self._suspects and self.busy < self.width

    def start(self, job: Job) -> None:
        """Start a job; it comes back through ``finished``."""
        self._waiting.append(job)

    def finished(self) -> Iterator[Finished]:
        """The jobs that ended since the last call; waits for the first one. Nothing when it is time to give up.

        Raises:
            OSError: the output cannot be written.
            Interrupted: the scheduler is gone.
        """
        while self._feed() and not self.stop.overdue:
            ended = self._next()
            results = self._results(ended)
            outcomes = [outcome for job, future in ended if (outcome := self._settle(job, future, results))]
            if outcomes:
                yield from outcomes
                return

    def _feed(self) -> bool:
        """Submit what waits, suspects one by one; whether something runs."""
        if self.stop.requested is None and self._suspects:
            if not self._running:
                self._submit([self._suspects.popleft()])
        elif self.stop.requested is None and self._waiting:
            self._submit(list(self._waiting))
            self._waiting.clear()
        return bool(self._running)

    def _submit(self, jobs: list[Job]) -> None:
        """Send jobs to the scheduler in one message, because a message costs more than a task."""
        self._attempts.update(jobs)
        keys, graph = _graph(self.run, jobs, self._attempts)
        for job, future in zip(jobs, self.client.get(graph, keys, sync=False), strict=True):
            self._running[job] = future
            future.add_done_callback(lambda done, job=job: self._ended.put((job, done)))

    def _next(self) -> list[tuple[Job, Future[Any]]]:
        """The futures that ended since the last call; waits a moment for the first one."""
        try:
            ended = [self._ended.get(timeout=0.5)]
        except Empty:
            return []
        while not self._ended.empty():
            ended.append(self._ended.get())
        return ended

    def _results(self, ended: list[tuple[Job, Future[Any]]]) -> dict[Any, Any]:
        """The results of the futures that have one, by key; fetched at once: one journey takes as long as all."""
        good = [future for job, future in ended if self._running.get(job) is future and future.status == "finished"]
        try:
            return dict(zip((future.key for future in good), self.client.gather(good), strict=True))
        except Exception:
            return {}

    def _settle(self, job: Job, future: Future[Any], results: dict[Any, Any]) -> Finished | None:
        """The outcome of a job whose future is done; None when it is tried again."""
        if self._running.get(job) is not future:
            return None
        del self._running[job]
        if future.status in ("cancelled", "lost"):
            raise Interrupted("the scheduler is gone; what is done is kept: run the same command again, and it resumes")
        try:
            return Finished(job, result=results[future.key] if future.key in results else future.result())
        except Exception as error:
            return self._failed(job, error)

    def _failed(self, job: Job, error: Exception) -> Finished | None:
        """Try again, or give up."""
        if self.stop.requested is not None:
            return None
        if isinstance(error, DamagedBlock):
            return Finished(job, error=error)
        if self._attempts[job] < ATTEMPTS:
            again = self._suspects if isinstance(error, KilledWorker) and self._attempts[job] > 1 else self._waiting
            again.append(job)
            return None
        if isinstance(error, OSError) and error.errno in DISK:
            raise error
        if isinstance(error, KilledWorker):
            error = WorkerDied(f"its worker was killed {ATTEMPTS} times (out of memory?)")
        return Finished(job, error=error)

    def each(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Run independent jobs, a bounded number at a time."""
        waiting = iter(jobs)
        while True:
            while self.has_room and (job := next(waiting, None)):
                self.start(job)
            outcomes = list(self.finished())
            if not outcomes:
                return
            yield from outcomes


# Stage -> (task, what it follows, annotations). Only ``infer`` needs the device: tasks with resources are never queued.
_Step = tuple[str, Callable[..., Any], tuple[str, ...], dict[str, Any] | None]
_STEPS: dict[str, tuple[_Step, ...]] = {
    SAMPLES: (
        ("read", tasks.read, (), None),
        ("infer", tasks.infer, ("read",), {"resources": {"device": 1}, "priority": 1}),
        ("store", tasks.keep, ("read", "infer"), {"priority": 2}),
    ),
    OUTLINE: (("outline", tasks.outline, (), {"priority": 3}),),
    "finish": (("finish", tasks.finish, (), None),),
}


def _graph(run: str, jobs: Iterable[Job], attempts: Counter[Job]) -> tuple[list[str], HighLevelGraph]:
    """The key of each job's last task, and the graph of all: one layer for each kind of task."""
    layers: dict[str, dict[str, Any]] = {}
    keys = []
    for job in jobs:
        suffix = f"{run}-{job.block}-{attempts[job]}"
        argument = job.block if job.argument is None else job.argument
        for name, task, follows, _ in _STEPS[job.stage]:
            given: list[Any] = [f"{before}-{suffix}" for before in follows] or [argument]
            layers.setdefault(name, {})[f"{name}-{suffix}"] = (tasks.at, run, task, *given)
        keys.append(f"{_STEPS[job.stage][-1][0]}-{suffix}")
    steps = [step for stage in _STEPS.values() for step in stage if step[0] in layers]
    graph = {name: MaterializedLayer(layers[name], annotations=annotations) for name, _, _, annotations in steps}
    return keys, HighLevelGraph(graph, {name: set(follows) for name, _, follows, _ in steps})
