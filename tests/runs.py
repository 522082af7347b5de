"""Ways to run a region, and what its outputs are worth comparing by."""

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

import psutil

PROJECT = Path(__file__).parents[1]
DATED = {"run.json", "run.log", "report.html"}
Process = subprocess.Popen[str]


def digest(output: Path) -> dict[str, str]:
    """Name -> SHA-256 of every output whose bytes do not depend on when it was made."""
    names = {str(path.relative_to(output)): path for path in sorted(output.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith(".work/") and name not in DATED
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


def start(region: Path, *options: str, **environment: str) -> Process:
    """Start a run as a process group of its own."""
    return subprocess.Popen(
        command(region, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=PROJECT, env={**os.environ, **environment},
    )  # fmt: skip


def finish(region: Path, *options: str, seconds: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a region as a user does, with warnings as errors in the driver."""
    return subprocess.run(
        [sys.executable, "-W", "error", *command(region, *options)[1:]],
        capture_output=True, text=True, timeout=seconds, check=False, cwd=PROJECT, env={**os.environ, **environment},
    )  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A run that ended."""

    code: int
    """Exit code; of a signal that killed it, negative."""
    text: str
    """What it said."""
    calls: int
    """I/O calls that it made under the output; 0 when it did not live to count."""


@dataclass(frozen=True)
class Outcome:
    """What a run made."""

    digest: dict[str, str]
    """Its outputs."""
    sizes: dict[str, int]
    """Theirs, B."""
    calls: int
    """I/O calls that it took."""


@dataclass
class Zygote:
    """Runs regions in forked children of one warm process."""

    process: Process
    scratch: Path
    runs: int = field(default=0)

    def run(self, region: Path, *options: str, setting: dict[str, Any] | None = None, **fault: Any) -> Done:
        """Run a region whose output is ``out`` beside it.

        Args:
            region: the region.yaml.
            options: of the command line.
            setting: what ``zygote.Setting`` knows.
            fault: what ``zygote.Faults`` knows: ``kind``, ``at``, ``last``, ``delay``.
        """
        self.runs += 1
        log = self.scratch / f"{self.runs}.log"
        order = {
            "arguments": [str(region), *options],
            "log": str(log),
            "folder": str(region.parent / "out"),
            "fault": fault,
            "setting": setting or {},
        }
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        calls = Path(f"{log}.calls")
        return Done(answer["code"], log.read_text(encoding="utf-8"), int(calls.read_text()) if calls.exists() else 0)

    def outcome(self, region: Path) -> Outcome:
        """Run a region without any fault."""
        done = self.run(region)
        assert done.code == 0, done.text
        made, output = digest(region.parent / "out"), region.parent / "out"
        return Outcome(made, {name: (output / name).stat().st_size for name in made}, done.calls)


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


def wait_until(ready: Callable[[], bool], process: Process, seconds: float = 120) -> None:
    """Wait for something that a run does; it must still run then."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"the run ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "the run takes too long"
        time.sleep(0.01)


def journalled(output: Path, stage: str = "samples") -> set[str]:
    """Blocks that the journal holds as done; of a killed run its last line may be a part of one."""
    try:
        lines = (output / ".work/journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return set()
    done: set[str] = set()
    for line in lines[1:]:
        if not line.endswith("\n"):
            break
        facts = json.loads(line[9:])
        if facts["stage"] == stage:
            (done.discard if facts.get("undone") else done.add)(facts["block"])
    return done


def shards(output: Path) -> set[str]:
    """Blocks that the unfinished store holds."""
    chunks = output / ".work/probability.zarr/probability/c"
    return {f"{path.parent.name}-{path.name}" for path in chunks.glob("*/*") if path.name.isdigit()}


def family(process: Process) -> list[psutil.Process]:
    """The processes that a run has started."""
    return psutil.Process(process.pid).children(recursive=True)


def workers(process: Process) -> list[psutil.Process]:
    """Its worker processes: forked from a server that it has started."""
    return [
        child for child in family(process)
        if any("forkserver" in part for part in child.cmdline()) and child.ppid() != process.pid
    ]  # fmt: skip


def copy(folder: Path, target: Path) -> Path:
    """A copy of a region's folder, with what was computed; its region.yaml."""
    shutil.copytree(folder, target)
    return target / "region.yaml"


def settle(address: str) -> None:
    """Wait until a scheduler has a worker; in a process of its own, because tests here open no connections."""
    code = "import sys; from distributed import Client; Client(sys.argv[1]).wait_for_workers(1, timeout=60)"
    subprocess.run([sys.executable, "-c", code, address], check=True, timeout=120)
