"""What is finished, durably: one checked line for each thing done, flushed to the disk before it counts.

Chunks cannot say that a block is finished (a block without data writes none), so the journal does. A line is a CRC-32
in hex and a JSON object. From the first line on that does not read back, everything counts as not done.
"""

import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipeline.durable import replace
from pipeline.jobs import SAMPLES
from tiling.grid import BlockIndex


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
    """An append-only file of lines, the first of which is its head. Made by ``create`` and ``open``."""

    path: Path
    """The file."""
    head: dict[str, Any]
    """What the first line says: fingerprint, what was decided, when it began."""
    done: dict[str, dict[BlockIndex, bytes]] = field(default_factory=dict)
    """stage -> block -> its line, as it was written: a tenth of the memory of what it says."""
    _handle: int = -1

    @staticmethod
    def peek(path: Path) -> dict[str, Any] | None:
        """The head of a journal; None where there is none."""
        return next((_parse(line) for line in _lines(path)), None)

    @classmethod
    def create(cls, path: Path, head: Mapping[str, Any], lines: Iterable[Mapping[str, Any]] = ()) -> Self:
        """Start a new journal, with lines to begin with; the file appears whole or not at all."""
        with replace(path) as scratch, scratch.open("wb") as file:
            file.writelines(map(_format, [head, *lines]))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Continue a journal: read what is whole, cut off what is not."""
        lines = _lines(path)
        head = next(lines)
        journal, whole = cls(path, _parse(head)), len(head)
        for line in lines:
            journal._apply(line)
            whole += len(line)
        os.truncate(path, whole)
        journal._handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        return journal

    def record(self, *lines: Mapping[str, Any]) -> None:
        """Append lines (``stage`` and ``block`` among their keys) and flush them to the disk, in one write.

        Raises:
            OSError: the disk is full or broken; the journal is as it was.
        """
        if not lines:
            return
        formatted = [_format(line) for line in lines]
        self._append(b"".join(formatted))
        for line in formatted:
            self._apply(line)

    def _append(self, text: bytes) -> None:
        before = os.fstat(self._handle).st_size
        try:
            written = os.write(self._handle, text)
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, before)
            raise
        if written != len(text):
            os.ftruncate(self._handle, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _apply(self, line: bytes) -> None:
        facts = _parse(line)
        blocks = self.done.setdefault(facts["stage"], {})
        block = BlockIndex.parse(facts["block"])
        if facts.get("undone"):
            blocks.pop(block, None)
        else:
            blocks[block] = line

    def forget(self, stage: str, blocks: Iterable[BlockIndex]) -> None:
        """Count blocks as not done any more."""
        known = self.done.get(stage, {})
        self.record(*({"stage": stage, "block": str(block), "undone": True} for block in blocks if block in known))

    def blocks(self, stage: str) -> Iterator[BlockIndex]:
        """The blocks for which a stage is done."""
        return iter(self.done.get(stage, ()))

    def facts(self, stage: str) -> Iterator[dict[str, Any]]:
        """The lines of the blocks for which a stage is done."""
        return map(_parse, self.done.get(stage, {}).values())

    def sealed(self, stage: str, block: BlockIndex, seal: Seal | None, name: str = "seal") -> bool:
        """Whether a block's file is the one whose seal was recorded by that name."""
        recorded = _parse(self.done[stage][block]).get(name)
        return bool(recorded == (None if seal is None else asdict(seal)))

    def renewed(self, changes: Mapping[str, Any], blocks: Iterable[BlockIndex]) -> Self:
        """Put a new journal in this one's place: its head with ``changes``, the samples of ``blocks``, no outlines."""
        self.close()
        kept = set(blocks)
        lines = (_parse(line) for block, line in self.done.get(SAMPLES, {}).items() if block in kept)
        return self.create(self.path, {**self.head, **changes}, lines)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _format(facts: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(facts), separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(line[9:])
    return facts


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a journal up to the first that is not whole; none where there is no file."""
    try:
        with path.open("rb") as file:
            for line in file:
                if not _is_whole(line):
                    return
                yield line
    except FileNotFoundError:
        return


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(line[9:-1])
