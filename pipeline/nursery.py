"""The server that this machine's workers are forked from: it imports what they need while the run is being prepared.

Importing is most of a worker's start. The server begins with it before the driver has read a scene, on a core that
would idle, and a worker that is started later, or again, is there at once. It ends with the process that started it.
"""

from multiprocessing import forkserver, get_context

METHOD = "forkserver"
"""How Dask's nannies start workers then (``distributed.worker.multiprocessing-method``)."""

KINDS = ("local", "cuda")
"""Clusters whose workers it has."""


def start() -> None:
    """Start the server, unless it runs."""
    get_context(METHOD).set_forkserver_preload(["pipeline.preloaded"])
    forkserver.ensure_running()
