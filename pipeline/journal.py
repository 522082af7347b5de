"""What is finished, durably: one JSON line for each thing done, flushed to the disk before it counts.

Chunks cannot say that a block is finished (a block without data writes none), so the journal does. A line that a crash cut
short is ignored; everything after it is written anew.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipeline.durable import sync
from tiling.grid import BlockIndex

SAMPLES, OUTLINE, FINISH = "samples", "outline", "finish"


@dataclass(frozen=True, slots=True)
class Seal:
    """Size and checksum of a file, to tell bit rot and lost writes from a good file."""

    size: int
    """Bytes."""
    crc: int
    """CRC-32 of the content."""

    @classmethod
    def of(cls, path: Path) -> "Seal | None":
        """The seal of a file; None where there is none, which is itself a state to compare."""
        crc = size = 0
        try:
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    crc, size = zlib.crc32(piece, crc), size + len(piece)
        except FileNotFoundError:
            return None
        return cls(size, crc)


@dataclass(slots=True)
class Journal:
    """An append-only file of JSON lines with one head line. Open it through ``Journal.open``."""

    path: Path
    """The file."""
    head: dict[str, Any]
    """What the first line says: fingerprint, what was decided, when it began."""
    done: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(stage, block) -> its line."""
    _handle: int = -1

    @staticmethod
    def peek(path: Path) -> dict[str, Any] | None:
        """The head of a journal; None where there is none."""
        lines, _ = _lines(path)
        return lines[0] if lines else None

    @classmethod
    def create(cls, path: Path, head: Mapping[str, Any]) -> Self:
        """Start a new journal; the file appears whole with its head or not at all."""
        journal = cls(path, dict(head))
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(journal.head) + "\n", encoding="utf-8")
        sync(scratch)
        scratch.replace(path)
        sync(path.parent)
        return journal._attach()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Continue a journal: read what is whole, cut off what a crash left half-written."""
        lines, whole = _lines(path)
        journal = cls(path, lines[0])
        for line in lines[1:]:
            journal._apply(line)
        os.truncate(path, whole)
        return journal._attach()

    def _attach(self) -> Self:
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        return self

    def record(self, *lines: Mapping[str, Any]) -> None:
        """Append lines (``stage`` and ``block`` among their keys) and flush them to the disk, in one write."""
        if not lines:
            return
        text = "".join(json.dumps(dict(line)) + "\n" for line in lines).encode()
        written = os.write(self._handle, text)
        if written != len(text):
            os.ftruncate(self._handle, os.fstat(self._handle).st_size - written)
            raise OSError(28, f"{self.path}: the disk is full")
        os.fsync(self._handle)
        for line in lines:
            self._apply(line)

    def _apply(self, line: Mapping[str, Any]) -> None:
        key = line["stage"], line["block"]
        if line.get("undone"):
            self.done.pop(key, None)
        else:
            self.done[key] = dict(line)

    def forget(self, stage: str, block: str) -> None:
        """Count something as not done any more."""
        if (stage, block) in self.done:
            self.record({"stage": stage, "block": block, "undone": True})

    def blocks(self, stage: str) -> Iterator[BlockIndex]:
        """The blocks for which a stage is done."""
        for done, name in self.done:
            if done == stage:
                row, col = name.split("-")
                yield BlockIndex(int(row), int(col))

    def sealed(self, stage: str, block: BlockIndex, seal: Seal | None) -> bool:
        """Whether a block's file is the one that was recorded."""
        recorded = self.done[stage, str(block)]["seal"]
        return recorded == (None if seal is None else asdict(seal))

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a journal, and how many bytes they take."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    lines: list[dict[str, Any]] = []
    whole = 0
    for raw in content.split(b"\n")[:-1]:
        try:
            lines.append(json.loads(raw))
        except ValueError:
            break
        whole += len(raw) + 1
    return lines, whole
