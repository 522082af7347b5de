"""``python -m pipeline.run region.yaml``: scenes in, footprints out. The story; each step has its own module."""

# Imported here is what every command needs. The nursery begins with the workers' imports as soon as the config is
# known; what follows, and what some runs never need, is imported where it is used.
# ruff: noqa: PLC0415

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import config, durable, names, nursery, signals
from pipeline.config import Region
from pipeline.errors import BlocksFailed, InputError, Interrupted, PipelineError, collecting
from pipeline.jobs import GRACE, Stop
from pipeline.words import counted

if TYPE_CHECKING:
    from pipeline.mosaic import Mosaic
    from pipeline.progress import Progress
    from pipeline.trial import Request

EXAMPLES = """examples:
  python -m pipeline.run configs/demo.yaml
  python -m pipeline.run --init scenes/             writes a region.yaml for your scenes
  python -m pipeline.run region.yaml --dry-run
  python -m pipeline.run region.yaml --set inference.device=cpu --set footprints.square=true

exit codes:
  0 done   2 bad config or input, nothing was computed   3 done, but for blocks that failed
  75 interrupted: run it again, and it resumes   1 anything else
  130, 143 ended at once by a second Ctrl-C or SIGTERM: it resumes as well
"""
STOPPING = b"\nstopping: what is in hand is finished first, within 20 s; once more ends it at once\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.run",
        description="Find the buildings of a region: aerial scenes in, footprints out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("region", type=Path, nargs="?", help="the region.yaml")
    parser.add_argument("--init", metavar="SCENES", help="write a region.yaml for a folder of scenes and stop")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a key; may be repeated"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument(
        "--overwrite", action="store_true", help="start a finished or differently configured output anew"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_args(arguments)
    if options.region is None and options.init is None:
        parser.error("say which region.yaml; --init SCENES writes one")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and answer with the exit code; everything foreseen ends in a sentence, never in a traceback."""
    options = parse(arguments)
    try:
        with stoppable(options.quiet) as stop:
            return run(options, stop)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(
            f"{error}; what is done is kept: when that is cured, run the same command again, and it resumes",
            file=sys.stderr,
        )
        return 1


def run(options: argparse.Namespace, stop: Stop) -> int:
    """Do what is asked for."""
    if options.init is not None:
        return write_config(options)
    region = config.load(options.region, options.set)
    if options.dry_run:
        return show(region, options.overwrite)
    if will_compute(region, options.overwrite):
        nursery.start()
    return execute(region, options, stop)


def execute(region: Region, options: argparse.Namespace, stop: Stop) -> int:
    """Survey, connect, produce."""
    gc.disable()  # until all is imported: that makes no garbage, and looking for it takes a tenth of the time
    from pipeline import fingerprint, workspace
    from pipeline.log import Log
    from pipeline.progress import Progress, terminal

    mosaic, request = look(region)
    identity = fingerprint.of(region, mosaic, request.weights)
    durable.refuse_open(region.output / names.GEOPACKAGE)
    with workspace.hold(region.output) as space, closing(Log(region.output / names.LOG)) as log:
        progress = Progress(log, terminal(options.quiet))
        if not options.overwrite and space.finished(identity):
            space.tidy()  # it may have been killed just before it did so itself
            progress.say(f"{region.output}: already done; --overwrite starts it anew")
            return 0
        from pipeline import cluster

        import_ahead("pipeline.produce")
        with cluster.connect(region, progress.say) as client:
            from pipeline.graph import Crew
            from pipeline.produce import Production

            gc.freeze()
            gc.enable()
            production = Production(region, mosaic, request, identity, space, progress, options.overwrite)
            with Crew.of(client, stop) as crew, closing(progress):
                return conclude(production.run(crew), region.output, progress)


def look(region: Region) -> tuple["Mosaic", "Request"]:
    """The scenes as one mosaic, and the network that is asked for.

    Raises:
        InputError: everything that is wrong with any of them.
    """
    from pipeline import survey
    from pipeline.trial import Request

    problems: list[str] = []
    with collecting(problems):
        mosaic = survey.survey(region)
    with collecting(problems):
        request = Request.of(region)
    if problems:
        raise InputError(*problems)
    return mosaic, request


def will_compute(region: Region, overwrite: bool) -> bool:
    """Whether this run most likely starts workers on this machine."""
    return region.cluster.kind in nursery.KINDS and (overwrite or not (region.output / names.REPORT).exists())


def write_config(options: argparse.Namespace) -> int:
    """Write a region.yaml."""
    from pipeline import init

    print(init.write(options.init, options.region or Path("region.yaml")))
    return 0


def show(region: Region, overwrite: bool) -> int:
    """Print the plan, unless the run would be refused."""
    from pipeline import fingerprint, report, workspace
    from pipeline.plan import make

    (mosaic, request), space = look(region), workspace.Workspace(region.output)
    durable.refuse_open(region.output / names.GEOPACKAGE)
    done = not overwrite and space.finished(fingerprint.of(region, mosaic, request.weights))
    head = None if overwrite else space.head()
    engine = request.remembering(head).answer(mosaic)
    plan = make(region, mosaic, request.weights, engine, head)
    if not done:
        from pipeline.produce import refuse_full_disk

        refuse_full_disk(plan)
    report.show(plan)
    if done:
        print(f"{region.output}: already done; a run would change nothing")
    return 0


def import_ahead(module: str) -> None:
    """Import in the background, while the workers start; who imports it next waits for the rest of it."""
    threading.Thread(target=import_module, args=(module,)).start()


def conclude(content: dict[str, Any], output: Path, progress: "Progress") -> int:
    """Tell what was made.

    Raises:
        BlocksFailed: not all of it.
    """
    from pipeline import report

    progress.say(report.closing(content, output))
    if failed := content["failed_blocks"]:
        listed = "\n  ".join(f"{block}: {reason}" for block, reason in failed.items())
        raise BlocksFailed(f"{output}: finished, but {counted(len(failed), 'block')} failed:\n  {listed}")
    return 0


@contextmanager
def stoppable(quiet: bool) -> Iterator[Stop]:
    """SIGTERM and SIGINT ask to stop; a second one ends at once, and so does what does not heed the request."""
    stop = Stop()

    def handle(number: int, _: object) -> None:
        if stop.requested is not None:
            os._exit(128 + number)
        stop.request()
        if not quiet:
            os.write(2, STOPPING)
        signal.setitimer(signal.ITIMER_REAL, GRACE + 2)

    def give_up(_: int, __: object) -> None:
        raise Interrupted

    with signals.handled({**dict.fromkeys(signals.ENDING, handle), signal.SIGALRM: give_up}):
        try:
            yield stop
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    sys.exit(main())
