"""Imported by the nursery's server, once for all workers that are forked from it, and by nobody else."""

# ruff: noqa: F401

import gc
import signal

import models.checkpoints
import models.precision
import models.predictor
import pipeline.graph
import pipeline.tasks
import pipeline.trial
import pipeline.worker

# A batch system's SIGTERM reaches the whole process group, but the driver decides when its workers end: the server has
# to be there to tell of their ends. It ends when the driver does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
# What is there now is never collected: walking through it would copy its pages to every worker.
gc.freeze()
