"""What a large region costs the driver: ``python -m tests.benchmarks.large_regions [blocks …]``.

The graph, the scheduler, the ledger, the journal and the log are the real ones; only the tasks do nothing. Then the
plan of a country (10⁶ km² at 0.3 m, from headers only).
"""

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from affine import Affine
from pyproj import CRS
from rich.console import Console

from models.weights import Weights
from pipeline import cluster, compute, config, graph, plan, report, tasks
from pipeline.engine import Engine
from pipeline.jobs import OUTLINE, SAMPLES, Stop
from pipeline.journal import Journal
from pipeline.log import Log
from pipeline.mosaic import Mosaic, Scene
from pipeline.plan import Plan
from pipeline.progress import Progress
from tiling.grid import BlockIndex, Span, Window

SCENE = 5000
FIXED_BYTES, BYTES_PER_PIXEL = 300 << 20, 148.0
# ^ What ``Predictor.need`` says of TernausNet11 in bf16; asking it would bring torch into the process that is measured.


def samples(_: BlockIndex) -> tasks.Stored:
    return tasks.Stored(tasks.Counts(1, 2, 3), None, {"read": 1.0, "infer": 1.0, "store": 1.0})


def outline(_: BlockIndex) -> tasks.Written:
    return tasks.Written(None, {"outline": 1.0})


def nothing() -> None:
    """Replace what the tasks do."""
    for stage, task in {SAMPLES: samples, OUTLINE: outline}.items():
        graph.STAGES[stage] = replace(graph.STAGES[stage], task=task)


def mosaic(side: int, scene: int = SCENE) -> Mosaic:
    """A square of scenes, side by side."""
    starts = range(0, side, scene)
    windows = [
        Window(Span(row, min(row + scene, side)), Span(col, min(col + scene, side))) for row in starts for col in starts
    ]
    scenes = tuple(
        Scene(Path(f"{number}.tif"), window, (1, 2, 3), None, False, None) for number, window in enumerate(windows)
    )
    crs = CRS.from_epsg(32633).to_wkt("WKT2_2019")
    return Mosaic((side, side), Affine(0.3, 0, 0, 0, -0.3, 0), crs, scenes)


def planned(folder: Path, of: Mosaic, **keys: Any) -> Plan:
    """Its plan, with TernausNet11 on a CPU."""
    path = folder / "region.yaml"
    path.write_text(f"name: country\nscenes: [x.tif]\noutput: out\n{''.join(f'{k}: {v}' for k, v in keys.items())}\n")
    region = config.load(path)
    engine = Engine(Path("weights"), "ternausnet11", "cpu", "bf16", "none", FIXED_BYTES, BYTES_PER_PIXEL)
    return plan.make(region, of, Weights("ternausnet11", threshold=0.5), engine, None)


def drive(blocks: int) -> None:
    """Feed so many blocks through the engine."""
    side = round(blocks**0.5)
    with tempfile.TemporaryDirectory() as name, cluster.processes(1, 1, {}) as client:
        folder = Path(name)
        made = planned(folder, mosaic(side * 32, side * 32), tiles="{size: 320}")
        assert made.active.sum() == side * side
        journal = Journal.create(folder / "journal", {})
        progress = Progress(Log(folder / "run.log"), Console(quiet=True))
        progress.start("network", SAMPLES, side * side)
        with graph.Crew.of(client, Stop()) as crew:
            wall, driver = time.perf_counter(), time.process_time()
            compute.Computation(made, journal, crew, progress, True).run()
            wall, driver = time.perf_counter() - wall, time.process_time() - driver
        assert sum(1 for _ in journal.blocks(OUTLINE)) == side * side
        journal.close()
        progress.log.close()
    count, peak = side * side, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    costs = f"driver {driver / count * 1e3:.2f} ms, wall {wall / count * 1e3:.2f} ms a block"
    print(f"{count:>8,} blocks: {costs}; peak {peak:.0f} MiB", flush=True)


def country() -> None:
    """Plan 10⁶ km² at 0.3 m."""
    began = time.perf_counter()
    whole = mosaic(round(1e6 / 0.3))
    made = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        print(report.table(planned(Path(name), whole)))
    print(f"{len(whole.scenes):,} scenes made in {made - began:.1f} s, planned in {time.perf_counter() - made:.1f} s")


def main() -> None:
    """Small regions, large ones, a country."""
    nothing()
    for argument in sys.argv[1:] or ["1000", "10000"]:
        drive(int(argument))
    country()


if __name__ == "__main__":
    # Of a module with a name, tasks travel by name, as the real ones do; by value, they would cost 0.4 ms more a block.
    from tests.benchmarks import large_regions

    large_regions.main()
