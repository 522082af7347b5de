"""``python -m pipeline.train train.yaml``: labelled scenes in, weights out. This module is the story of it."""

import argparse
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from models.weights import Weights, WeightsError, class_names, describe
from pipeline import lease, signals
from pipeline.errors import InputError, Interrupted, OutputError, PipelineError
from pipeline.fingerprint import flat
from pipeline.names import WORK
from pipeline.progress import terminal
from pipeline.training import checkpoint, curves, datasets, loop
from pipeline.training.crops import Source
from pipeline.training.datasets import Split
from pipeline.training.loop import Desk
from pipeline.training.processes import Processes, joined
from pipeline.training.scenes import LabelledScene
from pipeline.training.settings import Training
from pipeline.training.teller import Teller
from pipeline.training.trainer import Trainer
from pipeline.yamlmodel import load_model

EXAMPLES = """examples:
  python -m pipeline.train configs/train-inria-ternausnet11.yaml
  python -m pipeline.train train.yaml --set recipe.batch=4 --set device=cpu
  torchrun --nproc-per-node 8 -m pipeline.train train.yaml
"""
MADE = (f"{WORK}/checkpoint.safetensors", "weights.safetensors", "history.json", "curves.png", "reliability.png")
FREE = (
    "output",
    "device",
    "network.download",
    *(f"recipe.{key}" for key in ("workers", "save_every", "epochs", "minutes")),
)
# ^ keys that a resumed run may change


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.train",
        description="Train a network on labelled scenes; run again, it goes on where it was stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("settings", type=Path, help="the train.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a key")
    parser.add_argument("--overwrite", action="store_true", help="start anew what was begun in the output folder")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and answer with the exit code; everything foreseen ends in a sentence, never in a traceback."""
    options = parse(arguments)
    try:
        settings = load_model(options.settings, options.set, Training)
        with joined(settings.device) as processes, kept(settings.output, processes, overwrite=options.overwrite):
            train(settings, processes, Teller(terminal(options.quiet or not processes.first)))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except WeightsError as error:
        print(error, file=sys.stderr)
        return InputError.exit_code
    return 0


def train(settings: Training, processes: Processes, teller: Teller) -> None:
    """Find the scenes, build or resume, train, draw what came out."""
    with stoppable() as stopped, closing(teller):
        splits = found(settings, processes, stopped)
        trainer = Trainer(settings, processes)
        desk = Desk(settings.output, teller, stopped)
        check_same(settings, desk.checkpoint, processes.count)
        trainer.resume(desk.checkpoint)
        pairs = zip(settings.data.values(), splits, strict=True)
        sources = [Source(data.share, split.training) for data, split in pairs if split.training]
        held_out = [scene for split in splits for scene in split.validation]
        loop.run(trainer, sources, held_out, desk, described(settings, splits))
        if processes.first:
            conclude(desk)


@contextmanager
def kept(output: Path, processes: Processes, *, overwrite: bool) -> Iterator[None]:
    """Hold the output folder: one training at a time; processes that train together hold it together."""
    if not processes.first:
        processes.wait()
        yield
        return
    work = output / WORK
    work.mkdir(parents=True, exist_ok=True)
    with lease.hold(work / "lease"):
        sweep(output)
        if overwrite:
            clear(output)
        processes.wait()
        yield


def sweep(output: Path) -> None:
    """Remove the halves of files that a killed training was writing; whoever calls holds the lease."""
    halves = [half for name in MADE for half in (output / name).parent.glob(f".{Path(name).name}.*.partial*")]
    for half in [*halves, *(output / WORK).glob("*/.*.partial*")]:
        half.unlink(missing_ok=True)


def clear(output: Path) -> None:
    """Remove what an earlier training left; rendered scenes stay."""
    for name in MADE:
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / "tensorboard", ignore_errors=True)


def found(settings: Training, processes: Processes, stopped: Callable[[], bool]) -> list[Split]:
    """The scenes of every data set; rendered ones are made by the first process while the others wait.

    Raises:
        InputError: everything that is wrong with any of them.
        Interrupted: asked to stop while scenes are rendered.
    """
    if not processes.first:
        processes.wait()
    try:
        return _found(settings, stopped)
    finally:
        if processes.first:
            processes.wait()  # even after an error: the others find the same one, and end by themselves


def _found(settings: Training, stopped: Callable[[], bool]) -> list[Split]:
    def heed() -> None:
        if stopped():
            raise Interrupted(
                f"{settings.output}: stopped while scenes were rendered; the same command goes on from there"
            )

    problems: list[str] = []
    splits: list[Split] = []
    for name, data in settings.data.items():
        try:
            splits.append(datasets.find(name, data, settings.output / WORK, heed))
        except InputError as error:
            problems += error.problems
    if not problems:
        problems += [f"data: {what}" for what in _lacking(splits)]
        problems += datasets.unknown_classes(_scenes(splits), settings.network.classes)
    if problems:
        raise InputError(*problems)
    return splits


def _scenes(splits: Sequence[Split]) -> Iterator[LabelledScene]:
    return (scene for split in splits for scene in (*split.training, *split.validation))


def _lacking(splits: Sequence[Split]) -> list[str]:
    """What a training cannot do without."""
    train, held = (any(getattr(split, part) for split in splits) for part in ("training", "validation"))
    return ["nothing is left to train on"] * (not train) + ["nothing is held out to validate on"] * (not held)


def check_same(settings: Training, path: Path, processes: int) -> None:
    """A checkpoint is gone on from only with the settings, and by as many processes, as it was begun with.

    Raises:
        OutputError: they differ; it says in what.
    """
    if not path.exists():
        return
    facts = checkpoint.facts(path)
    count = int(facts.get("processes", processes))
    if count != processes:  # they share the samples out by their number: others would be drawn, in other batches
        began = f"was begun by {count} process(es), not {processes}"
        raise OutputError(f"{settings.output}: {began}; start as many, or --overwrite starts anew")
    texts = facts["settings"], settings.model_dump_json()
    before, after = (flat(json.loads(text)) for text in texts)
    changed = [key for key in sorted(before | after) if before.get(key) != after.get(key) and key not in FREE]
    if changed:
        listed = ", ".join(f"{key} ({before.get(key)} before, {after.get(key)} now)" for key in changed)
        raise OutputError(f"{settings.output}: was begun with other settings: {listed}; --overwrite starts anew")


def described(settings: Training, splits: Sequence[Split]) -> Weights:
    """What the weights' metadata say of network and data."""
    files = [f"{scene.image.name} {scene.part}" for split in splits for scene in split.training]
    return Weights(
        settings.network.name,
        settings.network.options,
        classes=class_names(settings.network.classes),
        resolution=settings.resolution,
        training_data=settings.statement or ", ".join(settings.data),
        data_sha256=hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest(),
    )


def conclude(desk: Desk) -> None:
    """Draw the reliability curve of the weights that were kept, and say where they are."""
    weights = describe(desk.weights)
    curves.reliability(desk.output / "reliability.png", weights.reliability)
    ious = "  ".join(f"{name} {value:.4f}" for name, value in weights.scores.items())
    desk.teller.say(f"{desk.weights}: threshold {weights.threshold:.3f}  {ious}")


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT ask to stop after the step in hand; a second one ends at once. Gives the question."""
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(number, signal.SIG_DFL)

    with signals.handled(dict.fromkeys(signals.ENDING, handle)):
        yield lambda: bool(asked)


if __name__ == "__main__":
    sys.exit(main())
