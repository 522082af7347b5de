"""``python -m pipeline.evaluate``: predictions and truth in, scores out. This module is the story of it."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from models.samples import level
from models.weights import Weights, WeightsError, describe
from pipeline.durable import replace as replaced
from pipeline.durable import write_json
from pipeline.errors import InputError, PipelineError
from pipeline.evaluation import present
from pipeline.evaluation.objects import compare
from pipeline.evaluation.present import Picture
from pipeline.evaluation.scoring import Rules, Scores, judge
from pipeline.evaluation.subjects import Run, Subject, of_run
from pipeline.training import datasets
from pipeline.training.scenes import LabelledScene
from pipeline.training.settings import DataSet, Training
from pipeline.yamlmodel import load_model
from tiling.grid import Window

EXAMPLES = """examples:
  python -m pipeline.evaluate out/banepa --truth banepa_footprints.geojson
  python -m pipeline.evaluate out/inria/austin --truth out/inria/austin-masks
  python -m pipeline.evaluate weights.safetensors --images 'val/*.tif' --truth val/masks --suffix _mask
  python -m pipeline.evaluate weights.safetensors --held-out configs/train-inria-ternausnet11.yaml
"""

WIDTH = 140
"""Columns of a table in a file, where there is no terminal to ask."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.evaluate",
        description="Score a finished run, or weights on labelled scenes: pixels, outlines, buildings, seams.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("subject", type=Path, help="the output folder of a finished run, or a weights file")
    add("--truth", type=Path, help="footprints (GeoPackage, GeoJSON, …), a mask, or a folder of masks")
    add("--images", help="with weights: an image, a folder of images or a glob")
    add("--suffix", default="", help="with --images: what the masks' names carry behind their images', e.g. _mask")
    add("--held-out", type=Path, metavar="TRAIN.YAML", help="with weights: the scenes that a training holds out")
    add("--output", type=Path, help="folder of evaluation.json and evaluation.png (default: beside the subject)")
    add("--boundary", type=int, default=3, metavar="PX", help="width of the outlines of boundary IoU (default 3)")
    add("--band", type=int, default=16, metavar="PX", help="how near a block's seam counts as near (default 16)")
    add("--device", default="cpu", help="with weights: auto, cpu, cuda or cuda:N (default cpu)")
    add("--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="with weights (default fp32)")
    add("--quiet", action="store_true", help="print nothing but errors")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate, and answer with the exit code."""
    options = parse(arguments)
    try:
        evaluate(options, Console(quiet=options.quiet, width=None if sys.stdout.isatty() else WIDTH))
    except (PipelineError, WeightsError) as error:
        print(error, file=sys.stderr)
        return getattr(error, "exit_code", InputError.exit_code)
    return 0


def evaluate(options: argparse.Namespace, console: Console) -> None:
    """Find what is to be scored, score it scene by scene, present it."""
    job = of_folder(options) if options.subject.is_dir() else of_file(options)
    picture = Picture(job.places)
    scores = {subject.name: score(subject, job.rules, picture) for subject in job.subjects}
    rows = summed(scores, {subject.name: subject.city for subject in job.subjects})
    console.print(present.table(rows))
    output = options.output or (options.subject if options.subject.is_dir() else options.subject.parent)
    output.mkdir(parents=True, exist_ok=True)
    found = {name: present.facts(row) for name, row in rows.items()}
    write_json(output / "evaluation.json", {**job.facts, "scores": found})
    with replaced(output / "evaluation.png") as aside:
        picture.image().save(aside, "PNG")
    console.print(f"{output / 'evaluation.json'}, {output / 'evaluation.png'}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be scored, and how."""

    subjects: list[Subject]
    """The scenes."""
    rules: Rules
    """How pixels are judged."""
    places: dict[str, Window]
    """Where each scene is shown on the picture, px."""
    facts: dict[str, Any]
    """What evaluation.json says of them."""


def of_folder(options: argparse.Namespace) -> Job:
    """The scenes of a finished run."""
    if options.truth is None:
        raise InputError("--truth is missing: footprints, a mask, or a folder of masks")
    run = Run.of(options.subject)
    subjects = unique(of_run(run, options.truth))
    rules = Rules(run.level, options.boundary, options.band, run.block, run.shape)
    places = {subject.name: subject.whole.moved(*subject.origin) for subject in subjects}
    return Job(subjects, rules, places, {"run": run.content["name"], "threshold": run.content["threshold"]})


def of_file(options: argparse.Namespace) -> Job:
    """Labelled scenes, predicted by weights."""
    from pipeline.evaluation.live import of_weights  # noqa: PLC0415 - imports torch; a run's scores spare it

    weights = describe(options.subject)
    subjects = unique(of_weights(weights, labelled(options), options.device, options.precision))
    rules = Rules(level(weights.operating_threshold), options.boundary, options.band, None, (0, 0))
    places = present.side_by_side({subject.name: subject.shape for subject in subjects})
    return Job(subjects, rules, places, weights_facts(weights))


def weights_facts(weights: Weights) -> dict[str, Any]:
    """Which weights were scored."""
    names = ("network", "threshold", "sha256")
    return {"weights": weights.path.name, **{name: getattr(weights, name) for name in names}}


def labelled(options: argparse.Namespace) -> list[LabelledScene]:
    """The scenes that the arguments name.

    Raises:
        InputError: they name none, or some that cannot be used.
    """
    if options.held_out:
        return held_out(options.held_out)
    if not (options.images and options.truth):
        raise InputError("weights are scored on --images with --truth, or on what a training held out (--held-out)")
    raster = options.truth.is_dir() or options.truth.suffix.lower() in datasets.IMAGES
    images, truth = str(Path(options.images).absolute()), options.truth.absolute()
    data = DataSet(kind="masks" if raster else "footprints", suffix=options.suffix, images=images, labels=truth)
    return list(datasets.find("scenes", data, Path()).training)


def held_out(path: Path) -> list[LabelledScene]:
    """The scenes on disk that the training ``path`` holds out.

    Raises:
        InputError: there are none: rendered ones exist in the output of a training only.
    """
    settings = load_model(path, (), Training)
    on_disk = {name: data for name, data in settings.data.items() if data.kind != "rendered"}
    found = [scene for name, data in on_disk.items() for scene in datasets.find(name, data, Path()).validation]
    if not found:
        raise InputError(
            f"{path}: holds out no scene on disk, and rendered ones are not scored; give --images, --truth"
        )
    return found


def unique(subjects: list[Subject]) -> list[Subject]:
    """Scenes of one name, as parts of one image and files of several folders are, get numbers."""
    seen: dict[str, int] = defaultdict(int)
    named = []
    for subject in subjects:
        seen[subject.name] += 1
        number = seen[subject.name]
        named.append(subject if number == 1 else replace(subject, name=f"{subject.name}#{number}"))
    return named


def score(subject: Subject, rules: Rules, picture: Picture) -> Scores:
    """Pixels window by window, then buildings."""
    total, placed = Scores(), replace(rules, origin=subject.origin)
    for judged, scores in judge(subject.whole, subject.samples, subject.labels, placed):
        total += scores
        picture.add(subject.name, judged)
    predicted, true = (subject.on_the_ground(polygons()) for polygons in (subject.predicted, subject.true))
    return total + Scores(objects=compare(predicted, true))


def summed(scores: dict[str, Scores], cities: dict[str, str]) -> dict[str, Scores]:
    """Scores by scene, by city where that says more, and overall: counts are added, as the Inria contest does."""
    totals: dict[str, Scores] = defaultdict(Scores)
    for name, each in scores.items():
        totals[cities[name]] += each
    several = len(totals) < len(scores) and len(totals) > 1
    cities_too = {f"all of {city}": total for city, total in totals.items()} if several else {}
    return {**scores, **cities_too, "overall": sum(scores.values(), Scores())}


if __name__ == "__main__":
    sys.exit(main())
