"""Loaded by every worker process before its first task (Dask's ``preload``)."""

import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any

from pipeline import machine

# Names the GPUs that a machine's or a job's worker processes share, one each, in the order of the workers.
GPUS = "SEAMLESS_FOOTPRINTS_GPUS"


def dask_setup(worker: Any) -> None:
    """Called by Dask with the new worker: give it its GPU, leave signals to the driver, import ahead."""
    devices = os.environ.get(GPUS, "").split(",")
    if devices != [""]:
        number = int(str(worker.name).rsplit("-", 1)[-1])
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    if worker.nanny and threading.current_thread() is threading.main_thread():
        # Ctrl-C in a terminal and a batch system's SIGTERM reach the whole process group. The driver alone decides when
        # its workers end: it tells their nannies, who ask, and kill what does not answer.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "torch" in sys.modules:  # of a worker that was forked, torch was there before this variable was set
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or machine.cores()))
    threading.Thread(target=_warm, daemon=True).start()


def _warm() -> None:
    """Import what the first tasks need while this worker joins the others."""
    for module in ("pipeline.tasks", "models.checkpoints", "models.predictor"):
        import_module(module)
