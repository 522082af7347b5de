"""Loaded by every worker process before its first task (Dask's ``preload``)."""

import asyncio
import os
import signal
import sys
import threading
import time
from importlib import import_module
from typing import Any

from pipeline import machine

# Names the GPUs that a machine's or a job's worker processes share, one each, in the order of the workers.
GPUS = "SEAMLESS_FOOTPRINTS_GPUS"
# When the workers of a batch job begin to leave, and when the job ends: "begin:end", s since 1970.
LEAVES = "SEAMLESS_FOOTPRINTS_LEAVES"
# What a worker has between the end of its last block and that of its job, to take its leave of the scheduler, s.
FAREWELL = 10
# Whether this is the process of a worker, and one that is started anew when it ends.
_has_nanny = False


def dask_setup(worker: Any) -> None:
    """Called by Dask with the new worker: give it its GPU, leave signals to the driver, import ahead."""
    devices = os.environ.get(GPUS, "").split(",")
    if devices != [""]:
        number = int(str(worker.name).rsplit("-", 1)[-1])
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    global _has_nanny  # noqa: PLW0603 - a process is one worker
    _has_nanny = bool(worker.nanny) and threading.current_thread() is threading.main_thread()
    if _has_nanny:
        # Ctrl-C in a terminal and a batch system's SIGTERM reach the whole process group. The driver alone decides when
        # its workers end: it tells their nannies, who ask, and kill what does not answer.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "torch" in sys.modules:  # of a worker that was forked, torch was there before this variable was set
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or machine.cores()))
    if LEAVES in os.environ:
        begin, end = map(float, os.environ[LEAVES].split(":"))
        worker.io_loop.call_later(max(0.0, begin - time.time()), leave, worker, end)
    threading.Thread(target=_warm, daemon=True).start()


async def leave(worker: Any, end: float) -> None:
    """Take no more blocks, finish those in hand, and go for good before the job's ``end``, s since 1970.

    Dask's own ``--lifetime`` has what runs done again elsewhere at once, while this process goes on with it: every
    block in hand was computed twice, and two processes wrote one shard.
    """
    await worker  # started anew shortly before the end, it may not have joined yet
    worker.handle_worker_status_change("paused", "leave")
    while (worker.state.all_running_tasks or worker.data) and time.time() < end - FAREWELL:
        await asyncio.sleep(0.2)
    worker.io_loop.call_later(FAREWELL / 2, os._exit, 0)  # whatever still runs is begun anew elsewhere from now on
    await worker.close_gracefully(reason="its job ends")


def give_up(reason: str) -> None:
    """End this process at once, if its nanny starts it anew; its blocks are those of a worker that was killed."""
    if _has_nanny:
        print(f"worker {os.getpid()} ends and is started anew: {reason}", file=sys.stderr, flush=True)
        os._exit(1)


def _warm() -> None:
    """Import what the first tasks need while this worker joins the others."""
    for module in ("pipeline.tasks", "models.checkpoints", "models.predictor"):
        import_module(module)
