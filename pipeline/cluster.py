"""Workers: where the tasks of a run are done. Every kind ends in one Dask client; nobody else knows the difference."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.security import Security

from pipeline import batch, machine, nursery, workforce
from pipeline.config import Cluster, Region
from pipeline.engine import READ_AHEAD
from pipeline.errors import InputError, PipelineError, root
from pipeline.names import WORK
from pipeline.worker import GPUS

# Tasks that may run on a worker beside the one that holds the device: reading ahead, storing, tracing outlines.
THREADS_BESIDE_DEVICE = 3
THREADS = 1 + THREADS_BESIDE_DEVICE
# Dask's name for what a worker with the network has and a hand has not; in a cluster without hands nobody has it.
DEVICE = "device"
# A scheduler that does not answer for this long is not there, s.
CONNECT_TIMEOUT = 20

SETTINGS: dict[str, Any] = {
    # We count attempts per block ourselves; Dask's own count ends runs after a few killed workers.
    "distributed.scheduler.allowed-failures": 0,
    # A job goes to a worker that has a thread free for it: so a killed worker takes few jobs with it.
    "distributed.scheduler.worker-saturation": 1.0,
    # Results are a few numbers, and a job is given only to who can begin it: there is nothing to move or to watch.
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.multiprocessing-method": nursery.METHOD,
    "distributed.diagnostics.nvml": False,
    # Dask's own setting gives freed memory back at once; ``models.memory`` has ours.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # The plan bounds the memory; pausing or spilling behind its back only hides a wrong plan.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # A killed worker is started again, which on a slow disk takes longer than the 15 s after which Dask gives it up.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    # No pages over HTTP: they show paths and names to whoever can reach the port.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "30s",
}
WORKER = ("--nthreads", str(THREADS), "--memory-limit", "0", "--preload", "pipeline.worker")

Say = Callable[[str], None]


@contextmanager
def connect(region: Region, say: Say) -> Iterator[Client]:
    """A Dask client of the workers that ``cluster`` asks for; they end with the context, but those of ``address``.

    Raises:
        InputError: they cannot be had.
    """
    kinds = {"local": local, "cuda": cuda, "slurm": slurm, "address": address}
    # Dask tells on the terminal of each worker that dies; what matters of it is told by us, also while all ends.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(SETTINGS), kinds[region.cluster.kind](region, say) as client:
        yield client


@contextmanager
def local(region: Region, say: Say) -> Iterator[Client]:
    """Worker processes on this machine that share its cores."""
    workers = workforce.workers(region)
    devices = {GPUS: ",".join(visible(machine.gpus()))} if workforce.uses_gpus(region) else {}
    with processes(workers, workforce.hands(region), devices) as client:
        yield client


@contextmanager
def cuda(region: Region, say: Say) -> Iterator[Client]:
    """One worker process for each GPU of this machine that is visible, or for the first ``gpus`` of them."""
    found, wanted = machine.gpus(), workforce.workers(region)
    if not 0 < wanted <= found:
        raise InputError(
            f"cluster.kind: cuda asks for {wanted or 'some'} GPUs, but {found} are visible here; use kind local"
        )
    devices = visible(found)[:wanted]
    with processes(wanted, workforce.hands(region), {GPUS: ",".join(devices)}) as client:
        yield client


def visible(count: int) -> list[str]:
    """Names of the visible GPUs, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [name.strip() for name in named.split(",")][:count] if named else [str(number) for number in range(count)]


@contextmanager
def processes(workers: int, hands: int, environment: Mapping[str, str]) -> Iterator[Client]:
    """Worker processes on this machine, on loopback: nobody else can reach them.

    Args:
        workers: how many with the network; they share the cores.
        hands: how many more for all the rest, one task at a time: threads of one process wait for its interpreter.
        environment: further variables of those with the network.
    """
    nursery.start()
    threads = max(1, machine.cores() // workers)
    numeric = {
        f"distributed.nanny.pre-spawn-environ.{name}": threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    with TemporaryDirectory(prefix="seamless-footprints-") as scratch, dask.config.set(numeric):
        nanny = {
            "host": "127.0.0.1",
            "memory_limit": 0,
            "local_directory": scratch,
            "dashboard": False,
            "silence_logs": logging.CRITICAL,
            "preload": "pipeline.worker",
        }
        worker = {"nthreads": THREADS, "resources": {DEVICE: 1 + READ_AHEAD}, "env": dict(environment)}
        spec = [nanny | worker] * workers + [nanny | {"nthreads": 1}] * hands
        with _started(spec) as cluster, Client(cluster) as client:
            yield client


def _started(nannies: Sequence[Mapping[str, Any]]) -> SpecCluster:
    """A scheduler in this process, and workers as their nannies' options say."""
    options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    try:
        return SpecCluster(
            scheduler={"cls": Scheduler, "options": options},
            workers={number: {"cls": Nanny, "options": dict(each)} for number, each in enumerate(nannies)},
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise PipelineError(f"the worker processes do not start: {root(error)}") from error


@contextmanager
def slurm(region: Region, say: Say) -> Iterator[Client]:
    """Batch jobs, each a worker (or one per GPU of it); one that ends is replaced. Encrypted by keys of this run.

    Raises:
        InputError: dask-jobqueue is not installed, or Slurm's commands are not here.
    """
    cluster_of = _slurm_cluster()
    jobs = workforce.workers(region) // max(1, region.cluster.gpus or 0)
    with (
        cluster_of(
            **batch.options(region.cluster, workforce.job_memory(region)),
            worker_extra_args=[*WORKER, "--no-dashboard"],
            security=True,
            shared_temp_directory=str(region.output / WORK),
            log_directory=str(region.output / WORK / "jobs"),
            scheduler_options={"dashboard": False, "dashboard_address": ":0"},
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        batch.submit(cluster, jobs)
        say(f"{jobs} jobs submitted to Slurm; their logs are in {region.output / '.work' / 'jobs'}")
        with batch.replacing(cluster, jobs, say):
            yield client


def _slurm_cluster() -> Any:
    try:
        from dask_jobqueue.slurm import SLURMCluster  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError("cluster.kind: slurm needs dask-jobqueue: pip install 'seamless-footprints[slurm]'") from None
    return SLURMCluster


@contextmanager
def address(region: Region, say: Say) -> Iterator[Client]:
    """A scheduler that is there already, with workers that others start; they go on after the run.

    Raises:
        InputError: it does not answer, or its workers cannot do the work.
    """
    options = region.cluster
    try:
        client = Client(options.address, security=_security(options), timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"cluster.address: {options.address} does not answer as a Dask scheduler: {reason}") from error
    with client:
        check(client, region)
        if not client.nthreads():
            say(f"{options.address} has no workers yet; waiting. Start them with: dask worker … {' '.join(WORKER)}")
        yield client


def _security(cluster: Cluster) -> Security | None:
    """TLS, when the config has any of its files or the address asks for it."""
    files = cluster.tls_ca, cluster.tls_cert, cluster.tls_key
    if not any(files) and not str(cluster.address).startswith("tls:"):
        return None
    lacking = [name for name, path in zip(("tls_ca", "tls_cert", "tls_key"), files, strict=True) if path is None]
    missing = [f"{path} is not a file" for path in files if path is not None and not path.is_file()]
    if lacking or missing:
        raise InputError(*(f"cluster.{name}: is missing; TLS needs all three" for name in lacking), *missing)
    ca, certificate, key = map(str, files)
    return Security(tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)


def check(client: Client, region: Region) -> None:
    """Find out whether the workers that are there can do the work.

    Raises:
        InputError: one lacks the project, its version or the shared folder.
    """
    marker = region.output / WORK / f".probe-{uuid.uuid4().hex}.partial"
    marker.touch()
    try:
        found: dict[str, dict[str, Any]] = client.run(_probe([str(marker), str(region.model.weights)]))
    finally:
        marker.unlink()
    problems: dict[str, list[str]] = {}
    for worker, facts in sorted(found.items()):
        for problem in _problems(facts, marker):
            problems.setdefault(problem, []).append(worker)
    if problems:
        raise InputError(*(f"cluster: {problem} ({_few(workers)})" for problem, workers in problems.items()))


def _few(workers: list[str]) -> str:
    rest = f" and {len(workers) - 3} more" if len(workers) > 3 else ""
    return ", ".join(workers[:3]) + rest


def _probe(paths: list[str]) -> Callable[..., dict[str, Any]]:
    """A function that looks around on a worker; it travels as code, to run also where the project is missing."""

    def look() -> dict[str, Any]:
        import os  # noqa: PLC0415
        from importlib import metadata, util  # noqa: PLC0415

        name = "seamless-footprints"
        there = util.find_spec("pipeline") is not None and util.find_spec("pipeline.tasks") is not None
        versions = [each.version for each in metadata.distributions(name=name)] if there else []
        return {
            "version": versions[0] if versions else None,
            "lacks": [path for path in paths if not os.path.exists(path)],  # noqa: PTH110
            "writes": os.access(os.path.dirname(paths[0]), os.W_OK),  # noqa: PTH120
        }

    return look


def _problems(facts: Mapping[str, Any], marker: Path) -> list[str]:
    """What a worker lacks, as sentences."""
    mine = version("seamless-footprints")
    lacks = [str(marker.parent.parent) if path == str(marker) else path for path in facts["lacks"]]
    told = [f"workers do not see {path}; they need the same shared folder at the same path" for path in lacks]
    if not lacks and not facts["writes"]:
        told.append(f"workers may not write in {marker.parent.parent}")
    if facts["version"] != mine:
        has = f"have version {facts['version']}" if facts["version"] else "do not have the project"
        told.append(f"workers {has}; install seamless-footprints {mine} where they run")
    return told
