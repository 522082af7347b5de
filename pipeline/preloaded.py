"""Imported by the nursery's server, once for all workers that are forked from it, and by nobody else."""

# ruff: noqa: E402, F401

import gc

gc.disable()  # imports make no garbage; looking for it takes a tenth of their time

import models.checkpoints
import models.precision
import models.predictor
import pipeline.graph
import pipeline.tasks
import pipeline.trial
import pipeline.worker

# What is there now is never collected: walking through it would copy its pages to every worker.
gc.freeze()
gc.enable()
