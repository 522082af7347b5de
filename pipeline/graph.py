"""The graph of a run: each block's samples, then its outline, fed to the workers a bounded number at a time.

The driver holds the order: a block's outline needs one row and column of its neighbours' samples, so it is
submitted when those are final. Only this module and ``cluster`` know Dask.
"""

import errno
import itertools
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, KilledWorker, WorkerPlugin

from pipeline import network, tasks
from pipeline.cluster import DEVICE, THREADS
from pipeline.engine import READ_AHEAD
from pipeline.errors import Interrupted, PipelineError
from pipeline.jobs import FINISH, OUTLINE, SAMPLES, Finished, Job, Stop
from pipeline.plan import Plan
from pipeline.store import DamagedBlock

# A block that fails this often is at fault itself; the rest of the region goes on.
ATTEMPTS = 3
# How often the number of workers is asked for, s: asking takes as long as submitting a block.
CENSUS = 2.0
# Where jobs end quickly, as many are under way as end in a second, but no more than this for each worker: a message
# takes the driver as long as several jobs, so it should carry several. With 3 a job costs twice as much as with 32;
# with 64 no less.
MOST = 32
# An output that cannot be written fails every block alike: the run ends, instead of giving up block after block.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.ENOENT}


GONE = "the scheduler is gone; what is done is kept: run the same command again, and it resumes"


class WorkerDied(PipelineError):  # noqa: N818 - a state of the block
    """A block's worker was killed every time that it was tried."""


Group = tuple[Job, ...]
"""Jobs that one task does, one after the other."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does in the jobs of a stage."""

    task: Callable[[Any], Any]
    """Of a block, or of a job's argument."""
    priority: int
    """What waits with a higher one comes first."""


STAGES: dict[str, Work] = {
    SAMPLES: Work(tasks.samples, 0),
    OUTLINE: Work(tasks.outline, 1),
    FINISH: Work(tasks.finish, 0),
}


@dataclass(frozen=True, slots=True)
class Census:
    """How much the workers can have under way."""

    taken: float
    """Monotonic time, s."""
    workers: int
    """Worker processes that run the network."""
    hands: int
    """Worker processes that do the rest, one job at a time."""
    quick: int
    """Jobs that end in a second."""

    @property
    def least(self) -> int:
        """Jobs under way at which every device and every hand is busy, and the devices' next tiles are read."""
        return (1 + READ_AHEAD) * self.workers + self.hands

    @property
    def width(self) -> int:
        """Jobs to have under way."""
        return max(self.least, min(self.quick, MOST * (self.workers + self.hands)))

    @property
    def low(self) -> int:
        """Jobs that still run when more are submitted: not one by one where they end quickly."""
        return max(self.least, self.width // 2)

    @property
    def threads(self) -> int:
        """Jobs that can run at once."""
        return THREADS * self.workers + self.hands


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
class Crew:
    """The workers, seen as a place where jobs are started and from where they come back, retried when they fail.

    A dead worker does not say which of its jobs killed it. Jobs that lost their worker twice are therefore tried alone:
    the one at fault dies by itself, and the others, which only shared its worker, are done.
    """

    client: Client
    """Connection to the scheduler."""
    stop: Stop
    """Says when to end early."""
    device: dict[str, Any] = field(default_factory=dict)
    """Dask resources that the network needs; none where all workers are alike."""
    hands: int = 0
    """Workers without them."""
    run: str = field(default_factory=lambda: f"run-{uuid.uuid4().hex[:12]}")
    """Tells this run from others on the same workers."""
    _waiting: deque[Job] = field(default_factory=deque)
    _suspects: deque[Job] = field(default_factory=deque)
    _running: dict[Job, Future[Any]] = field(default_factory=dict)
    _attempts: Counter[Job] = field(default_factory=Counter)
    _ended: "SimpleQueue[tuple[Group, Future[Any]]]" = field(default_factory=SimpleQueue)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _census: "Census" = field(default_factory=lambda: Census(-CENSUS, 1, 0, 0))
    _landed: int = 0
    _prepared: bool = False

    @classmethod
    @contextmanager
    def of(cls, client: Client, stop: Stop) -> "Iterator[Crew]":
        """The workers of a client; in the end they forget the run, because they may be lent and go on to others."""
        workers = client.scheduler_info(n_workers=-1)["workers"].values()  # all: some releases tell of five by default
        resources = [worker["resources"] for worker in workers]
        devices = sum(DEVICE in has for has in resources)
        crew = cls(client, stop, {DEVICE: 1} if devices else {}, len(resources) - devices if devices else 0)
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
        self.client.cancel(list(set(self._running.values())), force=True)
        self._running.clear()
        if self._prepared:
            self.client.unregister_worker_plugin(self.run)

    def call(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task on a worker, while nothing else is on its device, and wait for it.

        Raises:
            Interrupted: asked to stop before it was done, or the scheduler is gone.
            WorkerDied: each worker that tried it was killed.
        """
        for _ in range(ATTEMPTS):
            future = self.client.submit(tasks.alone, self.run, task, *arguments, resources=self.device, pure=False)
            while not future.done():
                self.stop.heed()
                time.sleep(0.02)
            try:
                return future.result()
            except KilledWorker:
                continue
            except CancelledError:
                raise Interrupted(GONE) from None
        raise WorkerDied(f"the worker of {task.__name__} was killed {ATTEMPTS} times (out of memory, or a broken GPU?)")

    def rest(self) -> None:
        """Let the workers give back what the network took; it is loaded again if need be."""
        with suppress(Exception):  # it saves memory, no more; what is wrong with the workers shows with the next job
            self.client.run(network.forget, on_error="ignore")

    @property
    def busy(self) -> int:
        """Number of jobs under way."""
        return len(self._running) + len(self._waiting) + len(self._suspects)

    @property
    def width(self) -> int:
        """Number of jobs under way at which the devices are busy and the next tiles are read."""
        census, now = self._census, time.monotonic()
        if now - census.taken > CENSUS:
            quick = int(self._landed / (now - census.taken))
            workers = max(1, len(self.client.nthreads()) - self.hands)
            self._census, self._landed = Census(now, workers, self.hands, quick), 0
        return self._census.width

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
            results = self._results(future for _, future in ended)
            outcomes = [outcome for group, future in ended for outcome in self._settle(group, future, results)]
            if outcomes:
                yield from outcomes
                return

    def _feed(self) -> bool:
        """Submit what waits, once half of what may run has ended; suspects one by one. Whether something runs."""
        if self.stop.requested is None and self._suspects:
            if not self._running:
                self._submit([self._suspects.popleft()])
        elif self.stop.requested is None and self._waiting and len(self._running) < self._census.low:
            self._submit(self._waiting)
            self._waiting.clear()
        return bool(self._running)

    def _submit(self, jobs: Iterable[Job]) -> None:
        """Send jobs to the scheduler, those of a stage in one message."""
        for stage, of_stage in itertools.groupby(sorted(jobs, key=lambda job: job.stage), key=lambda job: job.stage):
            together, does = list(of_stage), STAGES[stage]
            groups = self._groups(together)
            self._attempts.update(together)
            futures = self.client.map(
                tasks.each,
                [[job.block if job.argument is None else job.argument for job in group] for group in groups],
                key=[f"{stage}-{self.run}-{next(self._numbers)}" for _ in groups],
                run=self.run,
                task=does.task,
                priority=does.priority,
                resources=self.device if stage == SAMPLES else None,
                fifo_timeout="0s",  # blocks that were submitted earlier come first
                pure=False,
            )
            for group, future in zip(groups, futures, strict=True):
                self._running.update(dict.fromkeys(group, future))
                future.add_done_callback(lambda done, group=group: self._ended.put((group, done)))

    def _groups(self, jobs: list[Job]) -> list[Group]:
        """Jobs of a stage that go to a worker together; what was tried before goes alone, to show what is wrong."""
        share = 1 if jobs[0].stage == SAMPLES else -(-len(jobs) // self._census.threads)
        fresh = [job for job in jobs if not self._attempts[job]]
        alone = [(job,) for job in jobs if self._attempts[job]]
        return [tuple(fresh[first : first + share]) for first in range(0, len(fresh), share)] + alone

    def _next(self) -> list[tuple[Group, Future[Any]]]:
        """The futures that ended since the last call; waits a moment for the first one."""
        try:
            ended = [self._ended.get(timeout=0.5)]
        except Empty:
            return []
        while not self._ended.empty():
            ended.append(self._ended.get())
        return ended

    def _results(self, ended: Iterable[Future[Any]]) -> dict[Any, Any]:
        """The results of the futures that have one, by key; fetched at once: one journey takes as long as all."""
        good = [future for future in ended if future.status == "finished"]
        try:
            return dict(zip((future.key for future in good), self.client.gather(good), strict=True))
        except Exception:
            return {}

    def _settle(self, group: Group, future: Future[Any], results: Mapping[Any, Any]) -> Iterator[Finished]:
        """The outcomes of the jobs of a future that is done; none for those that are tried again."""
        if self._running.get(group[0]) is not future:
            return
        for job in group:
            del self._running[job]
        if future.status in ("cancelled", "lost"):
            raise Interrupted(GONE)
        values = _values(future, results)
        if not isinstance(values, Exception):
            yield from (self._closed(Finished(job, value)) for job, value in zip(group, values, strict=True))
        elif self.stop.requested is None:
            yield from self._failed(group, values)

    def _failed(self, group: Group, error: Exception) -> Iterator[Finished]:
        """Try again, or give up."""
        damaged = isinstance(error, DamagedBlock) and len(group) == 1
        killed = isinstance(error, KilledWorker)
        for job in group:
            if damaged:
                yield self._closed(Finished(job, error=error))
            elif self._attempts[job] < ATTEMPTS:
                (self._suspects if killed and self._attempts[job] > 1 else self._waiting).append(job)
            elif isinstance(error, OSError) and error.errno in DISK:
                raise error
            elif killed:
                died = WorkerDied(f"its worker was killed {ATTEMPTS} times (out of memory, or a broken GPU?)")
                yield self._closed(Finished(job, error=died))
            else:
                yield self._closed(Finished(job, error=error))

    def _closed(self, outcome: Finished) -> Finished:
        """An outcome that stands: nothing is remembered of its job."""
        del self._attempts[outcome.job]
        self._landed += 1
        return outcome

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


def _values(future: Future[Any], results: Mapping[Any, Any]) -> list[Any] | Exception:
    """What the task of a future returned, or why it failed."""
    try:
        if future.status == "error":
            # not raised: its traceback would hold the future, which holds it, and the client would never let go of both
            failure: Exception = future.exception()
            return failure
        values: list[Any] = results[future.key] if future.key in results else future.result()
    except Exception as error:
        return error
    return values
