"""The loop of a training: epochs of steps, each followed by a validation; checkpoints; the best weights."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from models import checkpoints
from models.weights import Weights
from pipeline import signals
from pipeline.errors import Interrupted
from pipeline.names import WORK
from pipeline.training import curves
from pipeline.training.crops import Batches, Crops, Source
from pipeline.training.curves import Board
from pipeline.training.scenes import LabelledScene
from pipeline.training.teller import Teller
from pipeline.training.trainer import Trainer
from pipeline.training.validation import Scores, centred, validate

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a training works, and whom it listens and talks to."""

    output: Path
    """The folder of what people look at."""
    teller: Teller
    """Shows progress."""
    stopped: Callable[[], bool]
    """Whether it was asked to stop."""

    @property
    def checkpoint(self) -> Path:
        """The state that a resumed run goes on from."""
        return self.output / WORK / "checkpoint.safetensors"

    @property
    def weights(self) -> Path:
        """The best weights so far, ready for use."""
        return self.output / "weights.safetensors"


def run(trainer: Trainer, sources: Sequence[Source], held: Sequence[LabelledScene], desk: Desk, about: Weights) -> None:
    """Train until the schedule ends; ``about`` is what the weights' metadata say besides scores.

    Raises:
        Interrupted: asked to stop; the checkpoint is written.
        PipelineError: the training diverged; the checkpoint before it is kept.
    """
    first = trainer.processes.first
    scenes = [centred(scene, trainer.settings.validation_crop) for scene in held]
    board = Board(desk.output / "tensorboard", trainer.state.step) if first else None
    batches = stream(trainer, sources)
    while not trainer.finished:
        _epoch(trainer, batches, desk)
        trainer.check_finite()
        if board:
            scores = validate(trainer.judged, about, scenes, trainer.dtype)
            board.add(_noted(trainer, scores))
            _keep_best(trainer, scores, desk, about)
            curves.write(desk.output, trainer.state.history)
            trainer.save(desk.checkpoint)
        trainer.processes.wait()
    if board:
        board.close()


def stream(trainer: Trainer, sources: Sequence[Source]) -> Iterator[Batch]:
    """The batches from where the trainer stands, cut by worker processes."""
    recipe, processes = trainer.settings.recipe, trainer.processes
    batches = Batches(trainer.state.step, recipe.batch, trainer.pace.side, (processes.index, processes.count))
    return iter(
        DataLoader(
            Crops(sources, trainer.settings.augment, recipe.seed),
            batch_sampler=batches,
            num_workers=recipe.workers,
            prefetch_factor=4 if recipe.workers else None,
            pin_memory=trainer.device.type == "cuda",
            worker_init_fn=_deaf if recipe.workers else None,
        )
    )


def _deaf(_: int) -> None:
    """Of the processes that read crops."""
    signals.ignore()


def _epoch(trainer: Trainer, batches: Iterator[Batch], desk: Desk) -> None:
    """Steps up to the next whole epoch, or to the end of the time."""
    recipe = trainer.settings.recipe
    while True:
        images, labels = next(batches)
        trainer.step(images, labels)
        desk.teller.stepped(trainer, labels.numel())
        if trainer.state.step % recipe.steps == 0 or trainer.finished:
            return
        if desk.stopped():
            _stop(trainer, desk)
        if trainer.state.step % recipe.save_every == 0:
            _save(trainer, desk)


def _save(trainer: Trainer, desk: Desk) -> None:
    """Write the checkpoint, once for all processes; all refuse weights that are not finite."""
    trainer.check_finite()
    if trainer.processes.first:
        trainer.save(desk.checkpoint)


def _stop(trainer: Trainer, desk: Desk) -> None:
    _save(trainer, desk)
    raise Interrupted(f"{desk.output}: stopped after step {trainer.state.step}; the same command goes on from there")


def _noted(trainer: Trainer, scores: Scores) -> dict[str, object]:
    """The history's entry for a validation, which is told as well."""
    entry: dict[str, object] = {
        "step": trainer.state.step,
        "seconds": round(trainer.pace.seconds, 1),
        "loss": float(np.mean(trainer.state.losses)) if trainer.state.losses else None,  # fp16 left all steps out
        "rate": trainer.pace.rate(trainer.state.step),
        "iou": scores.ious,
        "mean": scores.mean,
        "threshold": scores.threshold,
    }
    trainer.state.history.append(entry)
    trainer.state.losses.clear()
    return entry


def _keep_best(trainer: Trainer, scores: Scores, desk: Desk, about: Weights) -> None:
    """Write the weights if they are the best so far, calibrated on what was just predicted."""
    better = scores.mean > trainer.state.best
    desk.teller.validated(trainer, scores, better=better)
    if better:
        trainer.state.best = scores.mean
        checkpoints.save(trainer.plain(), desk.weights, described(about, scores), half=True)


def described(about: Weights, scores: Scores) -> Weights:
    """``about`` with the calibrated threshold, the reliability curve and the scores."""
    curve = scores.together.reliability()
    return replace(about, threshold=scores.threshold, reliability=curve, scores=scores.named())
