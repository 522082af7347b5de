"""A tiny region with a cheap network, ways to run it, and what its outputs are worth comparing by."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagery
import numpy as np
import psutil
import yaml
from affine import Affine
from small import write_weights

AFFINE = Affine(0.3, 0, 617100.0, 0, -0.3, 3344400.0)
SHAPE, CUT = (200, 420), 230
BLOCKS = 8
PROJECT = Path(__file__).parents[2]


def weights(path: Path) -> Path:
    """A cheap network."""
    return write_weights(path, seed=3, filters=1)


def scene(path: Path, seed: int, place: tuple[int, int], shape: tuple[int, int]) -> Path:
    """A scene of blots at (row, col) of the grid."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (-(-shape[0] // 20), -(-shape[1] // 20), 3), dtype=np.uint8)
    rgb = np.kron(coarse, np.ones((20, 20, 1), np.uint8))[: shape[0], : shape[1]]
    path.parent.mkdir(parents=True, exist_ok=True)
    where = AFFINE @ Affine.translation(place[1], place[0])
    return imagery.write(path, np.ascontiguousarray(rgb), crs="EPSG:26914", transform=where)


def region(folder: Path, weights: Path, **keys: Any) -> Path:
    """Two scenes in 2 × 4 blocks without a halo, and their region.yaml."""
    scene(folder / "scenes/a.tif", 1, (0, 0), (SHAPE[0], CUT))
    scene(folder / "scenes/b.tif", 2, (0, CUT), (SHAPE[0], SHAPE[1] - CUT))
    return config(folder, weights, **keys)


def config(folder: Path, weights: Path, **keys: Any) -> Path:
    """The region.yaml alone."""
    whole = {
        "name": "tiny",
        "scenes": ["scenes/*.tif"],
        "output": "out",
        "model": {"weights": str(weights)},
        "tiles": {"size": 128, "halo": 0},
        "inference": {"precision": "fp32", "device": "cpu"},
        "footprints": {"min_area": 0.5, "min_hole": 0.1},
        "cluster": {"workers": 1},
        **keys,
    }
    path = folder / "region.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


def digest(output: Path) -> dict[str, str]:
    """Name -> SHA-256 of every output whose bytes do not depend on when it was made."""
    files = [output / "footprints.gpkg", output / "preview.png", *sorted((output / "probability.zarr").rglob("*"))]
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


def report(output: Path) -> dict[str, Any]:
    """The content of run.json."""
    content: dict[str, Any] = json.loads((output / "run.json").read_text(encoding="utf-8"))
    return content


def events(output: Path, event: str = "done", stage: str = "samples") -> list[str]:
    """Blocks of which run.log tells an event, in order."""
    lines = (json.loads(line) for line in (output / "run.log").read_text(encoding="utf-8").splitlines())
    return [line["block"] for line in lines if line["event"] == event and line.get("stage") == stage]


def strays(output: Path) -> list[str]:
    """Names of half-written files."""
    return sorted(str(path.relative_to(output)) for path in output.rglob("*partial*"))


def command(region: Path, *options: str) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "pipeline.run", str(region), *options]


def start(region: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a run as a process group of its own."""
    return subprocess.Popen(
        command(region, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=PROJECT, env={**os.environ, **environment},
    )  # fmt: skip


@dataclass
class Done:
    """A run that ended."""

    code: int
    """Exit code."""
    text: str
    """What it said."""
    calls: int
    """I/O calls that it made under the output; 0 when it did not live to count."""


@dataclass(frozen=True)
class Outcome:
    """What a run made."""

    digest: dict[str, str]
    """Its outputs."""
    calls: int
    """I/O calls that it took."""


@dataclass
class Zygote:
    """Runs regions in forked children of one warm process."""

    process: "subprocess.Popen[str]"
    scratch: Path
    runs: int = field(default=0)

    def run(self, region: Path, *options: str, output: str = "out", **fault: Any) -> Done:
        """Run a region, struck by a fault: ``kind`` (exit, or the name of an errno), ``at`` and ``last`` I/O call."""
        self.runs += 1
        log = self.scratch / f"{self.runs}.log"
        order = {
            "arguments": [str(region), *options],
            "log": str(log),
            "folder": str(region.parent / output),
            "fault": fault,
        }
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        calls = Path(f"{log}.calls")
        return Done(answer["code"], log.read_text(encoding="utf-8"), int(calls.read_text()) if calls.exists() else 0)


@contextmanager
def zygote(scratch: Path) -> Iterator[Zygote]:
    """A warm process; it ends with the context."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("zygote.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        yield Zygote(process, scratch)
        assert process.stdin
        process.stdin.close()


def wait_until(ready: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    """Wait for something that a run does; it must still run then."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"the run ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "the run takes too long"
        time.sleep(0.01)


def journalled(output: Path, stage: str = "samples") -> set[str]:
    """Blocks that the journal holds as done."""
    try:
        lines = (output / ".work/journal.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    done: set[str] = set()
    for line in lines[1:]:
        facts = json.loads(line[9:])
        if facts["stage"] == stage:
            (done.discard if facts.get("undone") else done.add)(facts["block"])
    return done


def shards(output: Path) -> set[str]:
    """Blocks that the unfinished store holds."""
    chunks = output / ".work/probability.zarr/probability/c"
    return {f"{path.parent.name}-{path.name}" for path in chunks.glob("*/*") if path.name.isdigit()}


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes that a run has started."""
    return psutil.Process(process.pid).children(recursive=True)


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Its worker processes."""
    return [child for child in family(process) if any("spawn_main" in part for part in child.cmdline())]


def copy(folder: Path, target: Path) -> Path:
    """A copy of a region's folder, with what was computed; its region.yaml."""
    shutil.copytree(folder, target)
    return target / "region.yaml"


def settle(address: str) -> None:
    """Wait until a scheduler has a worker; in a process of its own, because tests here open no connections."""
    code = "import sys; from distributed import Client; Client(sys.argv[1]).wait_for_workers(1, timeout=60)"
    subprocess.run([sys.executable, "-c", code, address], check=True, timeout=120)
