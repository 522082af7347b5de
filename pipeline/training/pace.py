"""How far a training is, and what follows from it: learning rate and crop size."""

import math
import time
from dataclasses import dataclass

from pipeline.training.settings import Recipe

LEAST = 0.01
"""Share of the highest rate that a cosine ends with: the last steps still move."""


@dataclass(slots=True)
class Pace:
    """Progress by the number of steps or, where the recipe has a time budget, by the clock, whichever is further."""

    recipe: Recipe
    """Epochs, steps, minutes."""
    spent: float = 0.0
    """Seconds of training before this process began."""
    began: float = 0.0
    """Of this process, by the monotonic clock, s."""

    def start(self, spent: float) -> None:
        """Begin, or go on after ``spent`` seconds."""
        self.spent, self.began = spent, time.monotonic()

    @property
    def seconds(self) -> float:
        """Trained so far, in this process and before, s."""
        return self.spent + time.monotonic() - self.began

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.recipe.epochs * self.recipe.steps

    def progress(self, step: int) -> float:
        """0 at the first step, 1 at the end."""
        steps = step / self.total
        return min(max(steps, self.seconds / 60 / self.recipe.minutes) if self.recipe.minutes else steps, 1.0)

    def rate(self, step: int) -> float:
        """The learning rate of ``step``."""
        at, warmup = self.progress(step), self.recipe.warmup
        if at < warmup:
            return self.recipe.rate * max(at / warmup, LEAST)
        if self.recipe.schedule == "constant":
            return self.recipe.rate
        fallen = (1 + math.cos(math.pi * (at - warmup) / (1 - warmup))) / 2
        return self.recipe.rate * max(fallen, LEAST)

    def side(self, step: int) -> int:
        """The crops' side at ``step``, px: the recipe's sides in equal parts of the training."""
        sides = self.recipe.crop
        return sides[min(int(self.progress(step) * len(sides)), len(sides) - 1)]
