"""TIFFs that no well-meaning program would write: built tag by tag, or from sound ones by changing tags in place."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

SHORT, LONG, LONG8 = 3, 4, 16
FORMS = {SHORT: "H", LONG: "I", LONG8: "Q"}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS, PLANAR = 256, 257, 258, 259, 262, 277, 278, 284
STRIP_OFFSETS, STRIP_COUNTS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 273, 279, 322, 323, 324, 325

Tags = Mapping[int, tuple[int, Sequence[int]]]
"""Tag to (type, values)."""


def rgb(
    width: int, height: int, rows: int, offsets: Sequence[int], counts: Sequence[int]
) -> dict[int, tuple[int, Sequence[int]]]:
    """The tags of an uncompressed RGB image in strips."""
    return {
        WIDTH: (LONG, [width]),
        HEIGHT: (LONG, [height]),
        BITS: (SHORT, [8, 8, 8]),
        COMPRESSION: (SHORT, [1]),
        PHOTOMETRIC: (SHORT, [2]),
        STRIP_OFFSETS: (LONG, offsets),
        SAMPLES: (SHORT, [3]),
        ROWS: (LONG, [rows]),
        STRIP_COUNTS: (LONG, counts),
        PLANAR: (SHORT, [1]),
    }


def build(tags: Tags, data: bytes = b"", *, big: bool = False, following: int = 0) -> bytes:
    """A little-endian TIFF of one directory: header, ``data``, directory; ``following`` is the next one's offset."""
    start = (16 if big else 8) + len(data)
    head = b"II" + (struct.pack("<HHHQ", 43, 8, 0, start) if big else struct.pack("<HI", 42, start))
    count, entry, inline = ("Q", "<HHQ", 8) if big else ("H", "<HHI", 4)
    after = start + struct.calcsize("<" + count) + len(tags) * (12 + inline - 4 + (4 if big else 0)) + inline
    directory, outside = struct.pack("<" + count, len(tags)), b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{FORMS[kind]}", *values)
        directory += struct.pack(entry, tag, kind, len(values))
        directory += (
            packed.ljust(inline, b"\0")
            if len(packed) <= inline
            else struct.pack("<Q" if big else "<I", after + len(outside))
        )
        outside += packed if len(packed) > inline else b""
    return head + data + directory + struct.pack("<Q" if big else "<I", following) + outside


def entries(content: bytes) -> tuple[int, dict[int, tuple[int, int, int]]]:
    """(offset, {tag: (entry's offset, type, number of values)}) of the first directory; classic, little-endian."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    found = {}
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from("<HHI", content, place)
        found[tag] = place, kind, number
    return at, found


def change(path: Path, tag: int, value: int, place: int = 0) -> Path:
    """Set value number ``place`` of a tag of the first directory, wherever it is stored."""
    content = bytearray(path.read_bytes())
    entry, kind, number = entries(content)[1][tag]
    form = {3: "<H", 4: "<I", 12: "<d"}[kind]
    size = struct.calcsize(form)
    at = entry + 8 if number * size <= 4 else struct.unpack_from("<I", content, entry + 8)[0]
    struct.pack_into(form, content, at + place * size, value)
    path.write_bytes(content)
    return path


def rename(path: Path, tag: int, other: int) -> Path:
    """Give a tag of the first directory another number, so that readers ignore it."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, entries(content)[1][tag][0], other)
    path.write_bytes(content)
    return path
