"""The server that this machine's workers are forked from: it imports what they need while the run is being prepared.

Importing is most of a worker's start. The server begins with it before the driver has read a scene, on a core that
would idle, and a worker that is started later, or again, is there at once. It ends with the process that started it.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, resource_tracker

from models.memory import KEEP_PAGES
from pipeline import signals

METHOD = "forkserver" if sys.platform == "linux" else "spawn"
"""How Dask's nannies start workers; elsewhere, system libraries do not survive a fork of what has loaded them."""

KINDS = ("local", "cuda")
"""Clusters whose workers it has."""


def start() -> None:
    """Start the server, unless it runs or workers are not forked here."""
    if METHOD == "forkserver":
        get_context(METHOD).set_forkserver_preload(["pipeline.preloaded"])
        with deaf():
            _start_tracker()
            with environment(KEEP_PAGES | os.environ):
                forkserver.ensure_running()


def _start_tracker() -> None:
    """Start the process that removes what is shared after a run that was killed, and let it not warn of having to."""
    warnings = [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker"]
    with environment({"PYTHONWARNINGS": ",".join(filter(None, warnings))}):
        resource_tracker.ensure_running()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Processes that are started meanwhile find these variables."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def deaf() -> Iterator[None]:
    """Processes that are started meanwhile ignore what reaches a whole process group: the driver decides of their end.

    Ctrl-C in a terminal and a batch system's SIGTERM do. The server has to be there to tell of its workers' ends.
    """
    settable = threading.current_thread() is threading.main_thread()
    with signals.handled(dict.fromkeys(signals.ENDING, signal.SIG_IGN) if settable else {}):
        yield
