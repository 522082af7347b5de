"""Workers: where the tasks of a run are done. Every kind ends in one Dask client; nothing else here knows the difference."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import dask
from distributed import Client, LocalCluster

from pipeline import machine
from pipeline.config import Region
from pipeline.plan import worker_count

# Tasks that may run on a worker beside the one that holds the device: reading ahead, storing, tracing outlines.
THREADS_BESIDE_DEVICE = 3

SETTINGS = {
    # We count attempts per block ourselves; Dask's own count ends runs after a few killed workers.
    "distributed.scheduler.allowed-failures": 0,
    # Queue reads at the scheduler instead of piling up decoded tiles on the workers.
    "distributed.scheduler.worker-saturation": 1.0,
    # The plan bounds the memory; pausing or spilling behind its back only hides a wrong plan.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "30s",
}


@contextmanager
def connect(region: Region) -> Iterator[Client]:
    """A Dask client of the workers that ``cluster`` asks for; they end with the context."""
    kinds = {"local": local}
    with kinds[region.cluster.kind](worker_count(region)) as client:
        yield client


@contextmanager
def local(workers: int) -> Iterator[Client]:
    """Worker processes on this machine, on loopback, without a dashboard."""
    threads = max(1, machine.cores() // workers)
    settings = SETTINGS | {
        "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": threads,
        "distributed.nanny.pre-spawn-environ.MKL_NUM_THREADS": threads,
    }
    with (
        TemporaryDirectory(prefix="seamless-footprints-") as scratch,
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1 + THREADS_BESIDE_DEVICE,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            resources={"device": 1},
            memory_limit=0,
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
            preload="pipeline.worker",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
