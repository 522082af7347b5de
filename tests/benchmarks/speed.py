"""Whole runs against the script written by hand, and against the network alone, turn by turn in one go.

python -m tests.benchmarks.speed [--network contrast|ternausnet11] [--weights FILE] [--scene FILE] [--side 5000]

The scene is a texture, on which the null network finds thousands of blobs; with a trained network take real imagery.

Wall time means something on a quiet machine only; processor time, summed over all processes, also on a busy one.
"""

import argparse
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray

from models.memory import KEEP_PAGES

ROOT = Path(__file__).parents[2]
NULL = Path(__file__).parent / "null_network"
STRIPS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Processor seconds of all its processes."""
    peak: int
    """Most resident memory of all its processes together, pages that they share counted once, B."""


def run(*command: str) -> Cost:
    """Run a command in the project's root, watching all its processes."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(NULL)])
    started = time.perf_counter()
    process = psutil.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    seconds: dict[int, float] = {}
    peak = 0
    while process.poll() is None:
        peak = max(peak, watch(process, seconds))
        with suppress(psutil.TimeoutExpired):
            process.wait(0.4)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(time.perf_counter() - started, sum(seconds.values()), peak)


def watch(process: psutil.Process, seconds: dict[int, float]) -> int:
    """Note the processor time of a process and its descendants; their resident memory together, B."""
    resident = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            with member.oneshot():
                times = member.cpu_times()
                seconds[member.pid] = times.user + times.system
                resident += member.memory_full_info().pss
        except psutil.NoSuchProcess:  # it ended between the two calls
            continue
    return resident


def prepare(folder: Path, options: argparse.Namespace) -> tuple[Path, Path, Path]:
    """A scene, weights and a region.yaml."""
    help_along()
    from small import texture, write_region, write_scene  # noqa: PLC0415

    weights = options.weights.resolve() if options.weights else untrained(options.network, folder)
    rgb = mirrored(options.scene, options.side) if options.scene else texture((options.side, options.side))
    scene = write_scene(folder / "scene.tif", rgb)
    region = write_region(folder, weights, ["scene.tif"], inference={"precision": options.precision, "device": "cpu"})
    return scene, weights.resolve(), region


def help_along() -> None:
    """Let this process import the tests' helpers, and build the null network."""
    sys.path.append(str(ROOT / "tests"))
    runpy.run_path(str(NULL / "sitecustomize.py"))


def untrained(network: str, folder: Path) -> Path:
    """The weights that a network begins with."""
    from models import checkpoints  # noqa: PLC0415 - torch: what is measured are other processes
    from models.catalogue import build  # noqa: PLC0415
    from models.weights import Weights  # noqa: PLC0415

    path = folder / "weights.safetensors"
    checkpoints.save(build(network), path, Weights(network=network, threshold=0.5))
    return path


def mirrored(scene: Path, side: int) -> NDArray[np.uint8]:
    """(side, side, 3): a scene's upper left part, mirrored where it is smaller."""
    with rasterio.open(scene) as source:
        rgb = np.moveaxis(source.read([1, 2, 3]), 0, -1)[:side, :side]
    return np.pad(rgb, [(0, side - rgb.shape[0]), (0, side - rgb.shape[1]), (0, 0)], mode="symmetric")


def network_alone(scene: Path, weights: Path, precision: str, strips: int) -> str:
    """A program that reads a scene and prints the wall and processor seconds of the network on exactly its pixels.

    In strips, one after the other and without overlap: fewer fresh pages, and no pixel more.
    """
    return f"""
import time, numpy, rasterio
from models.checkpoints import load
from models.predictor import Predictor
from models.weights import describe
rgb = numpy.moveaxis(rasterio.open({str(scene)!r}).read(), 0, -1)
weights = describe({str(weights)!r})
predictor = Predictor(load({str(weights)!r}, weights.network), weights, "cpu", {precision!r})
sides = [(0, -side % predictor.patchwork.graph.stride) for side in rgb.shape[:2]]
rgb = numpy.ascontiguousarray(numpy.pad(rgb, (*sides, (0, 0)), mode="reflect"))
strides = len(rgb) // predictor.patchwork.graph.stride
edges = [strides * strip // {strips} * predictor.patchwork.graph.stride for strip in range({strips} + 1)]
predictor.samples(rgb[:256, :256])
wall, cpu = time.perf_counter(), time.process_time()
for first, end in zip(edges, edges[1:]):
    predictor.samples(rgb[first:end])
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def precision_of(region: Path) -> str:
    """The precision of the run before: what ``auto`` came to."""
    plan = json.loads((region.parent / "out" / "run.json").read_text())["plan"]
    return plan["network"].split(", ")[2]


def alone(scene: Path, weights: Path, precision: str) -> Cost:
    """The network without anything around it, at the best number of strips and with a worker's memory settings."""
    environment = KEEP_PAGES | os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(NULL)])}
    costs = []
    for strips in STRIPS:
        command = [sys.executable, "-c", network_alone(scene, weights, precision, strips)]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
        costs.append(Cost(*map(float, done.stdout.split()), 0))
    return min(costs, key=lambda cost: cost.wall)


def table(costs: dict[str, list[Cost]]) -> None:
    """Medians, and the median of the ratios to the pipeline within each turn."""
    print(f"{'':16}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'wall ÷ ours':>13}{'CPU ÷ ours':>12}")
    for name, turns in costs.items():
        pairs = list(zip(turns, costs["pipeline.run"], strict=True))
        wall, cpu, peak = (statistics.median(getattr(cost, key) for cost in turns) for key in ("wall", "cpu", "peak"))
        ratios = [statistics.median(getattr(a, key) / getattr(b, key) for a, b in pairs) for key in ("wall", "cpu")]
        print(f"{name:16}{wall:9.1f}{cpu:9.1f}{peak / 2**20:10.0f}{ratios[0]:13.2f}{ratios[1]:12.2f}", flush=True)


def main() -> None:
    """Take turns and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="contrast")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--scene", type=Path, help="imagery to take instead of a texture")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without-script", action="store_true", help="leave out the script written by hand")
    parser.add_argument("--peers", action="store_true", help="take part too; needs the extra 'peers'")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, weights, region = prepare(Path(folder), options)
        ours = [sys.executable, "-m", "pipeline.run", str(region), "--quiet", "--overwrite"]
        ours += ["--set", f"model.name={options.network}"]
        ours += [word for key in options.set for word in ("--set", key)]
        job = [str(scene), str(weights), str(Path(folder) / "other.gpkg")]
        hand, toolbelt = ([sys.executable, "-m", f"tests.benchmarks.{name}", *job] for name in ("by_hand", "toolbelt"))
        contestants: dict[str, Callable[[], Cost]] = {
            "pipeline.run": lambda: run(*ours),
            "by hand": lambda: run(*hand),
            "toolbelt": lambda: run(*toolbelt),
            "network alone": lambda: alone(scene, weights, precision_of(region)),
        }
        if options.without_script:
            del contestants["by hand"]
        if not options.peers:
            del contestants["toolbelt"]
        costs: dict[str, list[Cost]] = {name: [] for name in contestants}
        for _ in range(options.repeat):
            for name, contestant in contestants.items():
                costs[name].append(contestant())
        print(f"{options.network}, {options.precision}, {options.side}² px, median of {options.repeat}")
        table(costs)


if __name__ == "__main__":
    main()
