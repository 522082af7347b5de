"""Loaded by every worker process before its first task (Dask's ``preload``)."""

import signal
import threading


def _warm() -> None:
    """Import what the first task needs while the driver still reads headers."""
    from pipeline import tasks  # noqa: F401, PLC0415 - the import is the point


# Ctrl-C in a terminal reaches the whole process group; the driver alone decides when its workers end.
signal.signal(signal.SIGINT, signal.SIG_IGN)
threading.Thread(target=_warm, daemon=True).start()
