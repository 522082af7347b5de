"""What a run tells while it works: a bar on a terminal, a line a minute in a batch log, JSON lines in run.log."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from pipeline import machine
from pipeline.jobs import Finished
from pipeline.log import Log, now
from pipeline.machine import GIB
from pipeline.words import counted

# A batch log is read afterwards: one line a minute shows the pace and does not drown the rest, s.
LOG_INTERVAL = 60.0
# The memory of all processes is summed up no more often than this, s.
MEMORY_INTERVAL = 2.0


@dataclass(slots=True)
class Stage:
    """Where a stage of the run stands."""

    title: str
    """What is being done."""
    job: str
    """The jobs that are counted."""
    total: int
    """Blocks in all."""
    resumed: int
    """Blocks that an earlier run has done."""
    began: float = field(default_factory=time.monotonic)
    """Monotonic time, s."""
    done: int = 0
    """Blocks that this run has done, failed ones too."""
    failed: int = 0
    """Those of them that were given up."""
    pixels: int = 0
    """Pixels predicted."""

    @property
    def speed(self) -> float:
        """Pixels per second."""
        return self.pixels / self._seconds

    @property
    def pace(self) -> float:
        """Blocks per second."""
        return self.done / self._seconds

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None when nothing is known of it yet."""
        if not self.done:
            return None
        return (self.total - self.resumed - self.done) / self.pace

    def __str__(self) -> str:
        parts: list[str] = []
        if self.left is not None:
            parts.append(f"{self.speed / 1e6:.2f} Mpx/s" if self.pixels else f"{self.pace:.3g} blocks/s")
            parts.append(f"{duration(self.left)} left" if self.left else f"in {duration(self._seconds)}")
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time that people read at a glance: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(slots=True)
class Progress:
    """Follows the jobs of a run and shows where it stands."""

    log: Log
    """Machine-readable."""
    console: Console
    """For people; quiet when they asked for quiet."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Time by stage, summed over the workers, s."""
    _stage: Stage = field(default_factory=lambda: Stage("", "", 0, 0))
    _bar: Bar | None = None
    _task: Any = None
    _told: float = 0.0
    _memory: tuple[float, str] = (-MEMORY_INTERVAL, "")

    def start(self, title: str, job: str, total: int, resumed: int = 0) -> None:
        """Begin a stage of ``total`` blocks, ``resumed`` of which are done; each ends with a ``job``."""
        self.close()
        self._stage, self._told = Stage(title, job, total, resumed), time.monotonic()
        self.log.write("stage", name=title, blocks=total, resumed=resumed)
        if self.console.is_terminal and not self.console.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),  # moves while the first block is under way
                TextColumn("{task.fields[pace]}"),
            )
            self._bar = Bar(*columns, console=self.console)
            self._task = self._bar.add_task(title, total=total, completed=resumed, pace="")
            self._bar.start()
        else:
            before = f", {resumed:,} more done before" if resumed else ""
            self.say(f"{now()} {title}: {counted(total - resumed, 'block')}{before}")

    def ended(self, outcome: Finished) -> None:
        """A job ended."""
        facts = {} if outcome.error else outcome.result.line()
        self.seconds.update(facts.get("seconds", {}))
        event = "failed" if outcome.error else "done"
        self.log.write(event, stage=outcome.job.stage, block=str(outcome.job.block), **_log_facts(outcome))
        self._stage.failed += outcome.error is not None
        if outcome.job.stage == self._stage.job:
            self._stage.pixels += facts.get("counts", {}).get("predicted", 0)
            self._stage.done += 1
        self._show()

    def _show(self) -> None:
        stage, done = self._stage, self._stage.resumed + self._stage.done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, pace=", ".join(filter(None, [str(stage), self.memory()])))
        elif time.monotonic() - self._told >= LOG_INTERVAL:
            self._told = time.monotonic()
            self.say(f"{now()} {stage.title}: {done} of {counted(stage.total, 'block')}, {stage}, {self.memory()}")

    def memory(self) -> str:
        """Memory of this process and those that it started on this machine."""
        asked, text = self._memory
        if time.monotonic() - asked > MEMORY_INTERVAL:
            text = f"{machine.memory_in_use() / GIB:.1f} GiB"
            self._memory = time.monotonic(), text
        return text

    def close(self) -> None:
        """End the stage's bar: what is said next stands below it, and the terminal gets its cursor back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """A line for people."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


def _log_facts(outcome: Finished) -> dict[str, Any]:
    if outcome.error is not None:
        return {"error": str(outcome.error), "type": type(outcome.error).__name__}
    line = outcome.result.line()
    return {"seconds": line.get("seconds", {})} | {name: line[name] for name in ("halved",) if name in line}


def terminal(quiet: bool) -> Console:
    """Where people read: standard error, so that standard output stays free; colours only on a terminal."""
    return Console(file=sys.stderr, quiet=quiet)
