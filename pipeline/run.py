"""``python -m pipeline.run region.yaml``: scenes in, footprints out. This module is the story; each step has its own."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline import cluster, config, fingerprint, machine, plan, publish, report, survey, workspace
from pipeline.compute import Computation
from pipeline.errors import BlocksFailed, InputError, Interrupted, PipelineError
from pipeline.graph import Crew, Stop
from pipeline.plan import Plan
from pipeline.progress import Progress, terminal
from pipeline.trial import Request

EXAMPLES = """examples:
  python -m pipeline.run configs/demo.yaml
  python -m pipeline.run region.yaml --dry-run
  python -m pipeline.run region.yaml --set inference.device=cpu --set footprints.square=true
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.run",
        description="Find the buildings of a region: aerial scenes in, footprints out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("region", type=Path, help="the region.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a key; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--overwrite", action="store_true", help="start a finished or differently configured output anew")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and answer with the exit code; everything foreseen ends in a sentence, never in a traceback."""
    options = parse(arguments)
    console = terminal(options.quiet)
    try:
        return run(options, Progress(console, quiet=options.quiet))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def run(options: argparse.Namespace, progress: Progress) -> int:
    """Load, survey, plan, compute, publish."""
    region = config.load(options.region, options.set)
    mosaic = survey.survey(region)
    request = Request.of(region, mosaic)
    if options.dry_run:
        print(report.table(plan.make(region, mosaic, request.weights, request.answer())))
        return 0
    print_ = fingerprint.of(region, mosaic, request.weights)
    with workspace.hold(region.output) as space:
        if options.overwrite:
            space.clear()
        if space.finished(print_):
            progress.say(f"{region.output}: already done; --overwrite starts it anew")
            return 0
        with stoppable() as stop, cluster.connect(region, space.work) as client:
            crew = Crew(client, stop)
            return produce(space, region, mosaic, request, crew, progress)
