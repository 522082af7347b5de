"""What a training tells people: a bar on a terminal, a line a minute in a batch log, a line for each validation."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.training.trainer import Trainer
from pipeline.training.validation import Scores

LOG_INTERVAL = 60.0
# ^ s; a batch log is read afterwards, a line a minute shows the pace
MEMORY = 0.98
# ^ decay of the loss that is shown: about the last 50 steps


class Teller:
    """Follows one process's steps."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.loss: float | None = None
        self.told, self.pixels = time.monotonic(), 0
        self.bar: Progress | None = None
        self.task: Any = None

    def stepped(self, trainer: Trainer, pixels: int) -> None:
        """A step on so many pixels ended."""
        for loss in trainer.state.losses[-1:]:  # none while fp16 looks for its scale
            self.loss = loss if self.loss is None else MEMORY * self.loss + (1 - MEMORY) * loss
        self.pixels += pixels
        if self.console.is_terminal:
            self._show(trainer)
        elif time.monotonic() - self.told >= LOG_INTERVAL:
            self.say(f"step {trainer.state.step}  {self._pace(trainer)}")
            self.told, self.pixels = time.monotonic(), 0

    def _pace(self, trainer: Trainer) -> str:
        speed = self.pixels / 1e6 / max(time.monotonic() - self.told, 1e-9)
        rate = trainer.pace.rate(trainer.state.step)
        done = trainer.pace.progress(trainer.state.step)
        loss = "–" if self.loss is None else f"{self.loss:.4f}"
        return f"{done:.1%}  loss {loss}  rate {rate:.2e}  {speed:.3f} Mpx/s"

    def _show(self, trainer: Trainer) -> None:
        if self.bar is None:
            step, pace = TextColumn("step {task.completed}"), TextColumn("{task.description}")
            self.bar = Progress(step, BarColumn(), pace, TimeElapsedColumn(), console=self.console)
            self.task = self.bar.add_task("", total=trainer.pace.total)
            self.bar.start()
        self.bar.update(self.task, completed=trainer.state.step, description=self._pace(trainer))

    def validated(self, trainer: Trainer, scores: Scores, better: bool) -> None:
        """A validation ended."""
        listed = "  ".join(f"{source} {value:.4f}" for source, value in scores.ious.items())
        star = "  (best so far, kept)" if better else ""
        self.say(f"step {trainer.state.step}  IoU {listed}  mean {scores.mean:.4f} at {scores.threshold:.3f}{star}")

    def say(self, text: str) -> None:
        """A line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.stop()
