"""One run per output folder: a lease names its owner; a live one is respected, a dead one taken over."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import OutputError

# The owner renews the lease this often, s.
HEARTBEAT = 10.0
# On a shared disk only the heartbeat tells; a lease this old has no owner, s. Clocks of one cluster agree far better than this.
EXPIRY = 120.0


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _alive(owner: dict[str, Any]) -> bool:
    """Whether the process that wrote a lease still runs: asked of the system on the same host, else told by the heartbeat."""
    if owner["host"] != socket.gethostname():
        return time.time() - owner["heartbeat"] < EXPIRY
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 1.0
    except psutil.NoSuchProcess:
        return False


def _read(path: Path) -> dict[str, Any] | None:
    """The owner that a lease names; None where there is none, or a torn one."""
    try:
        owner: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return owner


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lease at ``path`` while the context lasts.

    Raises:
        OutputError: another run holds it.
    """
    _acquire(path)
    done = threading.Event()
    keeper = threading.Thread(target=_renew, args=(path, done), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        path.unlink(missing_ok=True)


def _acquire(path: Path) -> None:
    for _ in range(3):
        if _create(path):
            return
        owner = _read(path)
        if owner is not None and _alive(owner):
            raise OutputError(
                f"{path.parent.parent}: another run is at work here (host {owner['host']}, process {owner['pid']}); "
                "wait for it, stop it, or choose another output"
            )
        _take_away(path, owner)
    raise OutputError(f"{path}: several runs want this output at once; start one only")


def _create(path: Path) -> bool:
    """Make the lease, whole, unless there is one."""
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps({**_this_process(), "heartbeat": time.time()}), encoding="utf-8")
    try:
        os.link(scratch, path)  # atomic, and fails when the name is taken
    except FileExistsError:
        return False
    finally:
        scratch.unlink()
    return True


def _take_away(path: Path, owner: dict[str, Any] | None) -> None:
    """Remove a dead lease; of several runs that find it, the rename lets one do it, and a fresh lease is put back."""
    grave = path.with_suffix(f".dead-{os.getpid()}")
    with suppress(FileNotFoundError):
        path.rename(grave)
        if _read(grave) != owner:
            with suppress(FileExistsError):
                os.link(grave, path)
        grave.unlink()


def _renew(path: Path, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT):
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({**_this_process(), "heartbeat": time.time()}), encoding="utf-8")
        scratch.replace(path)
