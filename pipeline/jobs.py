"""What is asked of the workers, and what comes back; known without Dask."""

import time
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Interrupted
from tiling.grid import BlockIndex

# Stages of a block: what is asked of the workers for it, one after the other.
SAMPLES, OUTLINE, FINISH = "samples", "outline", "finish"
# Time that blocks in hand get to finish after SIGTERM, s; the run must be gone after 20.
GRACE = 13.0


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One unit of the graph that can be retried by itself."""

    stage: str
    """``SAMPLES``, ``OUTLINE`` or ``FINISH``."""
    block: BlockIndex
    """Of which block."""
    argument: Any = field(default=None, compare=False)
    """What its task needs besides."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended."""

    job: Job
    """Which one."""
    result: Any = None
    """What its task returned."""
    error: Exception | None = None
    """Why it failed for good; None when it did not."""


@dataclass(slots=True)
class Stop:
    """A request to end early: nothing new is started, and what runs has until the deadline."""

    requested: float | None = None
    """Monotonic time of the request, s; None: go on."""

    def request(self) -> None:
        """Ask to stop."""
        self.requested = self.requested or time.monotonic()

    def heed(self) -> None:
        """End here, if that is asked for.

        Raises:
            Interrupted: it is.
        """
        if self.requested is not None:
            raise Interrupted

    @property
    def overdue(self) -> bool:
        """Whether the time of grace has passed."""
        return self.requested is not None and time.monotonic() - self.requested > GRACE
