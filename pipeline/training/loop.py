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
from pipeline.training import curves
from pipeline.training.crops import Batches, Crops, Source
from pipeline.training.curves import Board
from pipeline.training.scenes import LabelledScene
from pipeline.training.session import Session
from pipeline.training.teller import Teller
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
        return self.output / ".work" / "checkpoint.safetensors"

    @property
    def weights(self) -> Path:
        """The best weights so far, ready for use."""
        return self.output / "weights.safetensors"


def run(session: Session, sources: Sequence[Source], held: Sequence[LabelledScene], desk: Desk, about: Weights) -> None:
    """Train until the schedule ends; ``about`` is what the weights' metadata say besides scores.

    Raises:
        Interrupted: asked to stop; the checkpoint is written.
        PipelineError: the training diverged; the checkpoint before it is kept.
    """
    first = session.processes.first
    scenes = [centred(scene, session.settings.validation_crop) for scene in held]
    board = Board(desk.output / "tensorboard", session.state.step) if first else None
    batches = stream(session, sources)
    while not session.finished:
        _epoch(session, batches, desk)
        session.check_finite()
        if board:
            scores = validate(session.judged, about, scenes, session.dtype)
            board.add(_noted(session, scores))
            _keep_best(session, scores, desk, about)
            curves.write(desk.output, session.state.history)
            session.save(desk.checkpoint)
        session.processes.wait()
    if board:
        board.close()


def stream(session: Session, sources: Sequence[Source]) -> Iterator[Batch]:
    """The batches from where the session stands, cut by worker processes."""
    recipe, processes = session.settings.recipe, session.processes
    batches = Batches(session.state.step, recipe.batch, session.pace.side, (processes.index, processes.count))
    return iter(
        DataLoader(
            Crops(sources, session.settings.augment, recipe.seed),
            batch_sampler=batches,
            num_workers=recipe.workers,
            prefetch_factor=4 if recipe.workers else None,
            pin_memory=session.device.type == "cuda",
            worker_init_fn=_deaf if recipe.workers else None,
        )
    )


def _deaf(_: int) -> None:
    """Of the processes that read crops."""
    signals.ignore()


def _epoch(session: Session, batches: Iterator[Batch], desk: Desk) -> None:
    """Steps up to the next whole epoch, or to the end of the time."""
    recipe = session.settings.recipe
    while True:
        images, labels = next(batches)
        session.step(images, labels)
        desk.teller.stepped(session, labels.numel())
        if session.state.step % recipe.steps == 0 or session.finished:
            return
        if desk.stopped():
            _stop(session, desk)
        if session.state.step % recipe.save_every == 0:
            _save(session, desk)


def _save(session: Session, desk: Desk) -> None:
    """Write the checkpoint, once for all processes; all refuse weights that are not finite."""
    session.check_finite()
    if session.processes.first:
        session.save(desk.checkpoint)


def _stop(session: Session, desk: Desk) -> None:
    _save(session, desk)
    raise Interrupted(f"{desk.output}: stopped after step {session.state.step}; the same command goes on from there")


def _noted(session: Session, scores: Scores) -> dict[str, object]:
    """The history's entry for a validation, which is told as well."""
    entry: dict[str, object] = {
        "step": session.state.step,
        "seconds": round(session.pace.seconds, 1),
        "loss": float(np.mean(session.state.losses)) if session.state.losses else None,  # fp16 left all steps out
        "rate": session.pace.rate(session.state.step),
        "iou": scores.ious,
        "mean": scores.mean,
        "threshold": scores.threshold,
    }
    session.state.history.append(entry)
    session.state.losses.clear()
    return entry


def _keep_best(session: Session, scores: Scores, desk: Desk, about: Weights) -> None:
    """Write the weights if they are the best so far, calibrated on what was just predicted."""
    better = scores.mean > session.state.best
    desk.teller.validated(session, scores, better=better)
    if better:
        session.state.best = scores.mean
        checkpoints.save(session.plain(), desk.weights, described(about, scores), half=True)


def described(about: Weights, scores: Scores) -> Weights:
    """``about`` with the calibrated threshold, the reliability curve and the scores."""
    curve = scores.together.reliability()
    return replace(about, threshold=scores.threshold, reliability=curve, scores=scores.named())
