"""Files that are whole or not there: written aside, flushed, renamed."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
def replace(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success it becomes ``path`` in one step, on any error it vanishes."""
    scratch = path.parent / f".{path.name}.{os.getpid()}.partial{path.suffix}"
    try:
        yield scratch
        sync(scratch)
        scratch.replace(path)
        sync(path.parent)
    finally:
        remove(scratch)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder."""
    for path in folder.glob(".*.partial*"):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def supplant(folder: Path, new: Path, aside: Path) -> None:
    """Put ``new`` in the place of a folder, which is moved ``aside`` and then removed: no half of either is there ever.

    Folders do not change places in one step: after a crash between two, ``aside`` holds the old one, whole.
    """
    if folder.exists():
        remove(aside)
        folder.rename(aside)
    new.rename(folder)
    sync(folder.parent)
    remove(aside)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None when the file is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object for people and programs, whole or not at all."""
    with replace(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
