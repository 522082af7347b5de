"""A process that has imported everything and forks a child for each run: hundreds of runs with real exits are cheap.

The child runs ``pipeline.run.main`` with the driver and one worker in its own process (an ``inproc`` scheduler reached
as ``cluster.kind: address``), so that one count covers the I/O calls of both. It can be made to exit, to get an error,
or to be sent a signal at any of them. With ``processes`` it starts its workers as any run does.

Protocol: one JSON object a line on standard input: ``arguments``, ``log`` and ``folder`` (paths), ``fault`` (what
``Faults`` takes), ``setting`` (what ``Setting`` takes).
"""
# ruff: noqa: PLC0415

import errno
import itertools
import json
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.ftruncate"}


class Faults:
    """Counts the I/O calls that change what lies under a folder, and strikes at one of them.

    Args:
        folder: where calls count.
        at: the first call to be struck.
        kind: ``exit``, the name of an errno, the name of a signal, or ``count``: nothing happens.
        last: the last call to be struck by an errno; None: all further ones.
        delay: a signal comes so much later, s: between two calls, or inside a library that writes by itself.
    """

    def __init__(
        self, folder: str, at: int = 0, kind: str = "count", last: int | None = None, delay: float = 0.0
    ) -> None:
        self.folder, self.at, self.kind, self.last, self.delay = folder, at, kind, last, delay
        self.calls = itertools.count(1)
        self.seen = 0
        self.lock = threading.Lock()
        self.quiet = threading.local()
        self.write, self.fsync = os.write, os.fsync
        os.write, os.fsync = self._write, self._fsync  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WRITES or getattr(self.quiet, "now", False):
            return
        writes = event != "open" or (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and isinstance(arguments[0], str | bytes | os.PathLike):
            self._meet(os.fsdecode(arguments[0]))

    def _fsync(self, handle: int) -> None:
        self._meet(self._path(handle))
        self.fsync(handle)

    def _write(self, handle: int, data: bytes) -> int:
        path = self._path(handle)
        if self._meet(path, torn=True):
            self.write(handle, data[: len(data) // 2])
            os._exit(137)
        return self.write(handle, data)

    def _path(self, handle: int) -> str:
        try:
            return os.readlink(  # noqa: PTH115
                f"/proc/self/fd/{handle}"
            )
        except OSError:
            return ""

    def _meet(self, path: str, torn: bool = False) -> bool:
        """One more call; whether the caller shall write half of its data and exit."""
        if not path.startswith(self.folder):
            return False
        with self.lock:
            number = next(self.calls)
            self.seen = number
        if self.kind == "count" or number < self.at or (self.last is not None and number > self.last):
            return False
        if self.kind == "exit":
            if torn:
                return True
            os._exit(137)
        if self.kind.startswith("SIG"):
            self._signal()
            return False
        code = getattr(errno, self.kind)
        raise OSError(code, os.strerror(code), path)

    def _signal(self) -> None:
        number, self.kind = getattr(signal, self.kind), "count"
        timer = threading.Timer(self.delay, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()


@dataclass(frozen=True)
class Setting:
    """Around a run."""

    workers: int = 1
    """How many."""
    processes: bool = False
    """In processes of their own; else in this one."""
    seed: int | None = None
    """Shuffles the order in which blocks are computed; None: row by row."""
    file_size: int | None = None
    """No file can grow beyond so many bytes, whoever writes it."""


def shuffle(seed: int) -> None:
    """Let the run take its blocks in a random order."""
    from pipeline.compute import Ledger

    in_order = Ledger.todo

    def todo(ledger: Ledger) -> Iterator[Any]:
        blocks = list(in_order(ledger))
        random.Random(seed).shuffle(blocks)  # noqa: S311 - it must repeat
        return iter(blocks)

    Ledger.todo = todo  # type: ignore[method-assign]


@contextmanager
def workers(setting: Setting) -> Iterator[list[str]]:
    """Workers, and the options by which a run finds them."""
    import dask
    from distributed import LocalCluster

    from pipeline import cluster

    if setting.processes:
        yield ["--set", f"cluster.workers={setting.workers}"]
        return
    dask.config.set(cluster.SETTINGS)
    with LocalCluster(
        processes=False, n_workers=setting.workers, threads_per_worker=cluster.THREADS, memory_limit=0,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as there:  # fmt: skip
        yield ["--set", "cluster.kind=address", "--set", f"cluster.address={there.scheduler_address}"]


def child(order: dict[str, Any]) -> int:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from pipeline import run

    setting = Setting(**order["setting"])
    if setting.seed is not None:
        shuffle(setting.seed)
    with workers(setting) as options:
        faults = Faults(order["folder"], **order["fault"])
        if setting.file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (setting.file_size, resource.RLIM_INFINITY))
        code = run.main([*order["arguments"], *options])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    Path(order["log"] + ".calls").write_text(str(faults.seen))
    return code


def serve() -> None:
    import distributed  # noqa: F401

    import models.checkpoints
    import models.predictor  # noqa: F401
    import pipeline.produce
    import pipeline.run  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = child(json.loads(line))
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    serve()
