"""Files that are whole or not there: written aside, flushed, renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import OutputError


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_open(database: Path) -> None:
    """Refuse to replace an SQLite database that a program has open: renaming over it would destroy it.

    Raises:
        OutputError: its ``-wal`` or ``-shm`` file exists.
    """
    if any(database.with_name(database.name + mark).exists() for mark in ("-wal", "-shm")):
        raise OutputError(f"{database} is open in another program: close it in QGIS, run again")


@contextmanager
def replace(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path`` in one step, on any error it vanishes.

    Args:
        path: where the file is to appear, whole.
        aside: folder for the temporary file, on the same disk; default: that of ``path``.
    """
    scratch = (aside or path.parent) / f".{path.name}.{os.getpid()}.partial{path.suffix}"
    try:
        yield scratch
        sync(scratch)
        scratch.replace(path)
        sync(path.parent)
    finally:
        if scratch.is_dir():
            shutil.rmtree(scratch)
        else:
            scratch.unlink(missing_ok=True)
