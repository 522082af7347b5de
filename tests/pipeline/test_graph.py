"""The crew: every job comes back once, whatever fails; little is under way at a time, and nothing is remembered."""

import errno
import gc
import logging
import os
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
import small
import torch
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker, get_worker
from hypothesis import given
from hypothesis import strategies as st

from pipeline import cluster, graph, network, store, tasks, worker
from pipeline.engine import READ_AHEAD
from pipeline.graph import ATTEMPTS, MOST, Census, Crew
from pipeline.jobs import OUTLINE, SAMPLES, Finished, Job, Stop
from pipeline.store import DamagedBlock
from tiling.grid import BlockIndex

BAD, FULL, ROTTEN = BlockIndex(0, 7), BlockIndex(0, 8), BlockIndex(0, 9)
tries: Counter[BlockIndex] = Counter()
"""How often each block was tried."""
counting = threading.Lock()


def task(block: BlockIndex) -> str:
    with counting:
        tries[block] += 1
    if block == BAD:
        raise ValueError("bad")
    if block == FULL:
        raise OSError(errno.ENOSPC, "No space left on device")
    if block == ROTTEN:
        raise DamagedBlock(block, "rot")
    return str(block)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers in this process."""
    with (
        dask.config.set(cluster.SETTINGS),
        LocalCluster(
            processes=False,
            n_workers=2,
            threads_per_worker=cluster.THREADS,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as there,
        Client(there) as client,
    ):
        yield client


@pytest.fixture
def crew(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    """A crew whose every job is ``task``."""
    tries.clear()
    for stage, work in graph.STAGES.items():
        monkeypatch.setitem(graph.STAGES, stage, graph.Work(task, work.priority))
    with Crew.of(client, Stop()) as crew:
        yield crew


def jobs(stage: str, count: int, *without: BlockIndex) -> list[Job]:
    blocks = (BlockIndex(0, col) for col in range(count))
    return [Job(stage, block) for block in blocks if block not in without]


def forgotten(crew: Crew) -> bool:
    """Whether neither the crew nor its client nor the scheduler remembers a job; releasing takes a moment."""
    for _ in range(100):
        gc.collect()  # errors hold the frames that they passed
        held = crew.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        if not held and not crew.client.futures:
            break
        time.sleep(0.05)
    return not (held or crew.client.futures or crew.busy or crew._attempts)


@pytest.mark.parametrize("stage", [SAMPLES, OUTLINE])
def test_every_job_comes_back_once_and_is_forgotten(crew: Crew, stage: str) -> None:
    asked = jobs(stage, 300, BAD, FULL, ROTTEN)
    outcomes = list(crew.each(asked))
    assert sorted(outcome.job for outcome in outcomes) == asked
    assert all(outcome.result == str(outcome.job.block) for outcome in outcomes)
    assert set(tries.values()) == {1}
    assert forgotten(crew)


@pytest.mark.parametrize("stage", [SAMPLES, OUTLINE])
def test_a_bad_job_is_given_up_and_takes_no_other_with_it(crew: Crew, stage: str) -> None:
    for job in jobs(stage, 40, FULL):  # all at once, so that outlines go in groups
        crew.start(job)
    outcomes: dict[BlockIndex, Finished] = {}
    while crew.busy:
        outcomes |= {outcome.job.block: outcome for outcome in crew.finished()}
    assert len(outcomes) == 39
    assert {block for block, outcome in outcomes.items() if outcome.error} == {BAD, ROTTEN}
    assert isinstance(outcomes[ROTTEN].error, DamagedBlock)
    assert tries[BAD] == ATTEMPTS
    outcomes.clear()
    assert forgotten(crew)


def test_a_full_disk_ends_the_run(crew: Crew) -> None:
    with pytest.raises(OSError, match="No space left"):
        list(crew.each(jobs(SAMPLES, 12, BAD, ROTTEN)))
    assert tries[FULL] == ATTEMPTS


def die_at_first(flag: Path) -> str:
    """Kill this worker, unless that was done before."""
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_call_whose_worker_is_killed_is_tried_again(tmp_path: Path) -> None:
    with (
        dask.config.set(cluster.SETTINGS),
        cluster.processes(1, 1, {"PYTHONPATH": str(Path(__file__).parent)}) as client,
        Crew.of(client, Stop()) as crew,
    ):
        assert crew.call(die_at_first, tmp_path / "flag") == "alive"
        with pytest.raises(graph.WorkerDied, match="die was killed 3 times"):
            crew.call(die, tmp_path)


def lose_the_gpu(block: BlockIndex) -> int:
    """A block that CUDA fails at, and from then on all others of the same process: as illegal accesses do."""

    def fail(_: str) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nadvice")

    with network.device():
        if block == BAD:
            torch.cuda.is_initialized, torch.cuda.synchronize = lambda: True, fail
        if torch.cuda.is_initialized():
            torch.cuda.synchronize("cuda")
    return os.getpid()


def test_a_worker_that_loses_its_gpu_is_started_anew_and_the_block_at_fault_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(graph.STAGES, SAMPLES, graph.Work(lose_the_gpu, 0))
    with (
        dask.config.set(cluster.SETTINGS),
        cluster.processes(1, 0, {"PYTHONPATH": str(Path(__file__).parent)}) as client,
        Crew.of(client, Stop()) as crew,
    ):
        outcomes = {outcome.job.block: outcome for outcome in crew.each(jobs(SAMPLES, 20))}
    assert [block for block, outcome in outcomes.items() if outcome.error] == [BAD]
    assert "killed 3 times" in str(outcomes[BAD].error)
    assert len(outcomes) == 20
    assert len({outcome.result for outcome in outcomes.values()}) > 2


def test_an_error_that_leaves_the_gpu_as_it_was_ends_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(worker, "give_up", lambda _: pytest.fail("it is not lost"))
    with pytest.raises(RuntimeError, match="shapes"), network.device():
        raise RuntimeError("the shapes do not fit")


def test_after_a_stop_nothing_is_started(crew: Crew) -> None:
    waiting = iter(jobs(SAMPLES, 300, BAD, FULL, ROTTEN))
    running = crew.each(waiting)
    first = next(running)
    crew.stop.request()
    ended = {first.job.block, *(outcome.job.block for outcome in running)}
    assert ended == set(tries)
    assert next(waiting).block.col <= MOST * 2 + 1


@given(workers=st.integers(1, 1000), hands=st.integers(0, 64), quick=st.integers(0, 10**6))
def test_all_are_always_busy_and_little_is_under_way(workers: int, hands: int, quick: int) -> None:
    census = Census(0.0, workers, hands, quick)
    assert (1 + READ_AHEAD) * workers + hands <= census.low <= census.width <= MOST * (workers + hands)
    assert census.width <= max(census.least, quick)


def whose(_: BlockIndex) -> str:
    return str(get_worker().name)


@contextmanager
def with_hands(*hands: str) -> Iterator[Crew]:
    """A worker with the network, and others beside it, in this process."""
    device = {"nthreads": cluster.THREADS, "resources": {cluster.DEVICE: 1 + READ_AHEAD}}
    here = {"host": "127.0.0.1", "memory_limit": 0, "dashboard": False}
    names = {"network": here | device} | {hand: here | {"nthreads": 1} for hand in hands}
    with (
        dask.config.set(cluster.SETTINGS),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"}},
            workers={name: {"cls": Worker, "options": options} for name, options in names.items()},
            silence_logs=logging.CRITICAL,
        ) as there,
        Client(there) as client,
        Crew.of(client, Stop()) as crew,
    ):
        yield crew


def test_hands_do_everything_but_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage, work in graph.STAGES.items():
        monkeypatch.setitem(graph.STAGES, stage, graph.Work(whose, work.priority))
    with with_hands("left", "right") as crew:
        assert crew.hands == 2
        assert crew.call(whose, BAD) == "network"
        assert {outcome.result for outcome in crew.each(jobs(SAMPLES, 40))} == {"network"}
        assert {outcome.result for outcome in crew.each(jobs(OUTLINE, 40))} == {"network", "left", "right"}


def test_all_hands_are_counted_where_dask_tells_of_five_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    all_told = Client.scheduler_info
    monkeypatch.setattr(Client, "scheduler_info", lambda client, n_workers=5: all_told(client, n_workers))
    # ^ the default of distributed 2026.1
    with with_hands(*"abcdefg") as crew:
        assert crew.hands == 7


def test_however_many_threads_a_worker_has_its_tiles_are_few_and_one_is_on_the_device(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small.planned(small.tiny_region(tmp_path, weights, **small.FINE))
    store.create(made.probabilities, made.grid, made.mosaic.affine, made.mosaic.crs)
    held, on_device, most = 0, 0, [0, 0]
    read, keep, samples = tasks.read, tasks.keep, network.samples

    def counted_read(block: BlockIndex) -> tasks.Tile:
        nonlocal held
        with counting:
            held += 1
            most[0] = max(most[0], held)
        return read(block)

    def counted_keep(tile: tasks.Tile, inferred: tasks.Samples) -> tasks.Stored:
        nonlocal held
        stored = keep(tile, inferred)
        with counting:
            held -= 1
        return stored

    def counted_samples(*arguments: object) -> object:
        nonlocal on_device
        on_device += 1
        most[1] = max(most[1], on_device)
        made = samples(*arguments)  # type: ignore[arg-type]
        on_device -= 1
        return made

    monkeypatch.setattr(tasks, "read", counted_read)
    monkeypatch.setattr(tasks, "keep", counted_keep)
    monkeypatch.setattr(network, "samples", counted_samples)
    threads = [threading.Thread(target=tasks.each, args=([block], "", tasks.samples)) for block in made.blocks()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == on_device == 0
    assert most == [1 + READ_AHEAD, 1]


def test_workers_that_rest_give_back_the_network(crew: Crew, tmp_path: Path, weights: Path) -> None:
    engine = small.planned(small.tiny_region(tmp_path, weights, **small.FINE)).engine
    loaded = weakref.ref(network.predictor(engine))
    assert network.predictor(engine) is loaded()
    crew.rest()
    gc.collect()
    assert loaded() is None
