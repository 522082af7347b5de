"""Loaded by every worker process before its first task (Dask's ``preload``)."""

import signal
import threading


def _warm() -> None:
    """Import what the first task needs while the driver still reads headers."""
    import models.checkpoints
    import models.predictor
    import pipeline.tasks  # noqa: F401


# Ctrl-C in a terminal reaches the whole process group; the driver alone decides when its workers end.
signal.signal(signal.SIGINT, signal.SIG_IGN)
threading.Thread(target=_warm, daemon=True).start()
