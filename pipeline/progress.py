"""What a run tells while it works: a bar on a terminal, a line a minute in a batch log, JSON lines in run.log."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pipeline.graph import Finished
from pipeline.log import Log, now

# A batch log is read afterwards: one line a minute shows the pace and does not drown the rest, s.
LOG_INTERVAL = 60.0


@dataclass(slots=True)
class Progress:
    """Follows the jobs of a run and shows where it stands."""

    log: Log
    """Machine-readable."""
    console: Console
    """For people; quiet when they asked for quiet."""
    quiet: bool = False
    """Nothing on the console but errors."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Time by stage, summed over the workers, s."""
    pixels: int = 0
    """Pixels predicted so far in this run."""
    _bar: Bar | None = None
    _task: Any = None
    _began: float = 0.0
    _told: float = 0.0
    _done: int = 0
    _total: int = 0

    def start(self, title: str, total: int) -> None:
        """Begin a stage of ``total`` blocks."""
        self.finish()
        self._began = self._told = time.monotonic()
        self._done, self._total = 0, total
        self.log.write("stage", name=title, blocks=total)
        if self.console.is_terminal and not self.quiet:
            columns = TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn()
            self._bar = Bar(*columns, console=self.console)
            self._task = self._bar.add_task(title, total=total, speed="")
            self._bar.start()

    def ended(self, outcome: Finished) -> None:
        """A job ended."""
        facts = {} if outcome.error else outcome.result.line()
        self.seconds.update(facts.get("seconds", {}))
        self.log.write("failed" if outcome.error else "done", stage=outcome.job.stage, block=str(outcome.job.block), **_log_facts(outcome))
        if outcome.job.stage == "outline":
            return
        self.pixels += facts.get("counts", {}).get("predicted", 0)
        self._done += 1
        self._show()

    @property
    def speed(self) -> float:
        """Predicted pixels per second of this stage so far, 1/s."""
        return self.pixels / max(time.monotonic() - self._began, 1e-9)

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, speed=f"{self.speed / 1e6:.2f} Mpx/s")
        elif not self.quiet and time.monotonic() - self._told >= LOG_INTERVAL:
            self._told = time.monotonic()
            self.console.print(f"{now()} {self._done}/{self._total} blocks, {self.speed / 1e6:.2f} Mpx/s")

    def finish(self) -> None:
        """End the stage's bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True)


def _log_facts(outcome: Finished) -> dict[str, Any]:
    if outcome.error is not None:
        return {"error": str(outcome.error), "type": type(outcome.error).__name__}
    return {"seconds": outcome.result.line().get("seconds", {})}


def terminal(quiet: bool) -> Console:
    """Where people read: standard error, so that standard output stays free; colours only on a terminal."""
    return Console(file=sys.stderr, quiet=quiet)
