"""One run per output folder: a lock says whether its owner lives, a lease beside it says who that is.

The kernel lets go of the lock however its owner ends, so on one machine there is nothing to guess and no race. Between
the machines of a shared folder, where locks may not reach, the lease's heartbeat is watched: what beats lives, whatever
the clocks say.
"""

import fcntl
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.errors import OutputError

# The owner renews the lease this often, s.
HEARTBEAT = 5.0
# A lease of another machine that does not change for this long has no owner, s: some heartbeats and a slow disk.
PATIENCE = 25.0


@dataclass(frozen=True, slots=True)
class Owner:
    """The run that holds a lease."""

    host: str
    """Name of its machine."""
    pid: int
    """Its process there."""
    token: str
    """Tells it from every other run."""
    beat: int = 0
    """Counts the heartbeats."""

    @classmethod
    def this(cls) -> "Owner":
        """A new owner: this process."""
        return cls(socket.gethostname(), os.getpid(), uuid.uuid4().hex)

    @classmethod
    def read(cls, path: Path) -> "Owner | None":
        """Whom a lease names; None where there is none, or no whole one."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write the lease, whole."""
        scratch = path.with_suffix(f".{self.token}")
        try:
            scratch.write_text(json.dumps(asdict(self)), encoding="utf-8")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lease at ``path`` while the context lasts; its lock is the file beside it that ends in ``.lock``.

    Raises:
        OutputError: another run holds it.
    """
    owner = Owner.this()
    with _lock(path) as locked:
        _await_silence(path, locked)
        owner.write(path)
        done = threading.Event()
        keeper = threading.Thread(target=_keep, args=(path, owner, done), daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()
            if _is(Owner.read(path), owner):
                path.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Lock the output; whether this disk knows locks at all.

    Raises:
        OutputError: another process holds the lock.
    """
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _try_lock(handle, path)
    finally:
        os.close(handle)


def _try_lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _refuse(path, Owner.read(path))
    except OSError:
        return False
    return True


def _await_silence(path: Path, locked: bool) -> None:
    """Return when nobody renews the lease. On this machine the lock has said so already.

    Raises:
        OutputError: somebody does.
    """
    before = Owner.read(path)
    if before is None or (locked and before.host == socket.gethostname()):
        return
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(min(1.0, PATIENCE / 10))
        now = Owner.read(path)
        if now is None:
            return
        if now != before:
            _refuse(path, now)


def _refuse(path: Path, owner: Owner | None) -> None:
    who = f"host {owner.host}, process {owner.pid}" if owner else "it is just starting"
    output = path.parent.parent
    raise OutputError(f"{output}: another run is at work here ({who}); wait for it, stop it, or choose another output")


def _keep(path: Path, owner: Owner, done: threading.Event) -> None:
    """Renew the lease; when another run has taken it (this one was suspended for long), end this one."""
    while not done.wait(HEARTBEAT):
        with suppress(OSError):  # a full disk or a network that is away now and then: the next heartbeat may pass
            if not _is(Owner.read(path), owner):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            owner = replace(owner, beat=owner.beat + 1)
            owner.write(path)


def _is(found: Owner | None, owner: Owner) -> bool:
    return found is None or found.token == owner.token
