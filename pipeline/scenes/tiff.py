"""The block tables of a TIFF, read before GDAL sees the file: is everything there that the header promises?

``open()`` succeeds on truncated files and on files of 4 MB that claim 251 GiB; reading then fails or fills the memory.
So the offsets and sizes of all blocks are held to the file's length, in every directory: image, masks and overviews.
Classic TIFF: TIFF 6.0 (Adobe, 1992), section 2. BigTIFF: libtiff's design document.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

PIXELS_MAX = 40_000_000_000  # 200,000²; the largest single orthophotos are 10 Gpx, and larger claims have been bombs
BLOCK_BYTES_MAX = 256 << 20  # an Inria scene stored as one strip is 75 MB; a bomb of 33 KB decodes to 400 MB
BLOCKS_MAX = 4_000_000  # 40 Gpx in blocks of 100²; their table takes 64 MB
DIRECTORIES_MAX = 64  # image and mask with 16 overviews each need 34
ENTRIES_MAX = 1_000  # libtiff knows about 200 tags
SAMPLE_BYTES, SAMPLES = 4096, 64  # of the stamp: 256 KiB of any file, about a millisecond

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
UNSIGNED = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, YCBCR = 256, 257, 258, 259, 262, 6
SAMPLES_PER_PIXEL, ROWS_PER_STRIP, PLANAR = 277, 278, 284
STRIP_OFFSETS, STRIP_COUNTS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 273, 279, 322, 323, 324, 325
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, DOUBLE = 33550, 33922, 34264, 12


class TiffError(ValueError):
    """What is wrong with a file, as the rest of a sentence that begins with its name."""


class Entry(NamedTuple):
    """One tag of a directory."""

    kind: int
    """Type of its values, a key of SIZES."""
    items: int
    """Number of values."""
    at: int
    """Where they are in the file."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the block tables of a sound TIFF say."""

    stamp: str
    """Hex digest of the file's length, block tables and a sample of its bytes."""
    georeferenced: bool
    """The first directory carries all of a geotransform."""
    pixel_size: tuple[float, float] | None
    """(x, y) as written there; readers drop the whole georeference where it is zero."""


@dataclass(slots=True)
class Reader:
    """A TIFF's bytes with its byte order and flavour; no read passes the end of the file unnoticed."""

    file: BinaryIO
    """Open for reading."""
    size: int
    """Its length in bytes."""
    order: str
    """Byte order, as in struct."""
    big: bool
    """BigTIFF: offsets of 64 bits."""

    def read(self, at: int, count: int, what: str) -> bytes:
        """``count`` bytes from ``at``; ``what`` names them in the sentence."""
        self.holds(at, count, what)
        self.file.seek(at)
        data = self.file.read(count)
        if len(data) != count:
            raise TiffError(f"is truncated at byte {at + len(data):,}; copy it again")
        return data

    def holds(self, at: int, count: int, what: str) -> None:
        """Raise where ``count`` bytes from ``at`` pass the end of the file."""
        if at + count > self.size:
            raise TiffError(
                f"is truncated: its {what} ends at byte {at + count:,}, the file at {self.size:,}; copy it again"
            )

    def unpack(self, form: str, at: int, what: str) -> tuple[int, ...]:
        """Integers of ``form`` (struct) from ``at``."""
        return struct.unpack(self.order + form, self.read(at, struct.calcsize(self.order + form), what))

    def numbers(self, entry: Entry, limit: int) -> NDArray[np.uint64]:
        """The first ``limit`` values of an unsigned tag."""
        kind = np.dtype(self.order + UNSIGNED[entry.kind])
        data = self.read(entry.at, min(entry.items, limit) * kind.itemsize, "block table")
        return np.frombuffer(data, kind).astype(np.uint64)


def check(file: BinaryIO, size: int) -> Layout:
    """Hold every directory of the TIFF in ``file``, ``size`` bytes long, to the file's length and to the limits.

    Raises:
        TiffError: not a TIFF, truncated, or beyond a limit.
    """
    reader = _opened(file, size)
    digest = hashlib.sha256(str(size).encode())
    georeference: list[tuple[bool, tuple[float, float] | None]] = []
    for entries in _directories(reader):
        georeference.append((_has_geotransform(entries), _pixel_size(reader, entries.get(PIXEL_SCALE))))
        if not {STRIP_OFFSETS, TILE_OFFSETS, WIDTH, HEIGHT} & entries.keys():
            continue  # a directory without an image, e.g. of metadata
        _check_image(reader, entries, digest.update)
    _sample(reader, digest.update)
    return Layout(digest.hexdigest(), *georeference[0])


def _has_geotransform(entries: dict[int, Entry]) -> bool:
    """Tags that readers take for one; with half of them they make something up (GeoTIFF 1.1, section 7.3)."""

    def doubles(tag: int, count: int) -> bool:
        return tag in entries and entries[tag].kind == DOUBLE and entries[tag].items >= count

    return (doubles(PIXEL_SCALE, 3) and doubles(TIE_POINTS, 6)) or doubles(TRANSFORMATION, 16)


def _pixel_size(reader: Reader, entry: Entry | None) -> tuple[float, float] | None:
    if entry is None or entry.kind != DOUBLE or entry.items < 2:
        return None
    x, y = struct.unpack(reader.order + "2d", reader.read(entry.at, 16, "pixel size"))
    return x, y


def _opened(file: BinaryIO, size: int) -> Reader:
    if size < 8:
        raise TiffError(f"is not a TIFF: it has only {size} bytes" if size else "is empty")
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    magic = struct.unpack(order + "H", head[2:4])[0] if order else 0
    if order is None or magic not in (42, 43):
        raise TiffError(f"is {_guess(head)}, not a TIFF; convert it: gdal_translate -of GTiff")
    return Reader(file, size, order, magic == 43)


def _guess(head: bytes) -> str:
    known = {
        b"\x89PNG": "a PNG",
        b"\xff\xd8\xff": "a JPEG",
        b"<VRTDat": "a VRT, which points to other files",
        b"PK\x03\x04": "a ZIP archive",
        b"\x1f\x8b": "gzip-compressed",
        b"SQLite": "an SQLite file (GeoPackage?)",
        b"\x89HDF": "an HDF5 file",
        b"\x00\x00\x00\x0cjP": "a JPEG 2000",
        b"version https://": "a Git LFS pointer, whose file was not fetched",
        b"<": "XML or HTML",
    }
    return next((name for start, name in known.items() if head.startswith(start)), "something else")


def _directories(reader: Reader) -> Iterator[dict[int, Entry]]:
    """The entries of each directory, in file order."""
    at = reader.unpack("Q" if reader.big else "I", 8 if reader.big else 4, "header")[0]
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) == DIRECTORIES_MAX:
            raise TiffError(
                f"has {'directories in a loop' if at in seen else f'more than {DIRECTORIES_MAX} directories'}"
            )
        seen.add(at)
        entries, at = _directory(reader, at)
        yield entries
    if not seen:
        raise TiffError("has no directory: it was not written to its end")


def _directory(reader: Reader, at: int) -> tuple[dict[int, Entry], int]:
    """Entries of the directory at ``at``, and the offset of the next one."""
    head, form, inline = ("Q", "HHQQ", 8) if reader.big else ("H", "HHII", 4)
    count = reader.unpack(head, at, "directory")[0]
    if count > ENTRIES_MAX:
        raise TiffError(f"has a directory of {count:,} tags; the limit is {ENTRIES_MAX:,}")
    at += struct.calcsize("=" + head)
    step = struct.calcsize("=" + form)
    entries = {}
    for place in range(at, at + count * step, step):
        tag, kind, number, value = reader.unpack(form, place, "directory")
        length = number * SIZES.get(kind, 0)
        at_value = place + step - inline if length <= inline else value
        reader.holds(at_value, length, f"tag {tag}")
        entries[tag] = Entry(kind, number, at_value)
    return entries, reader.unpack("Q" if reader.big else "I", at + count * step, "directory")[0]


def _check_image(reader: Reader, entries: dict[int, Entry], update: Callable[[bytes], None]) -> None:
    """Sizes within the limits, and every block within the file."""
    shape = _Shape.of(reader, entries)
    shape.check()
    offsets, counts = (_table(reader, entries, tag, shape.blocks) for tag in _TABLES[TILE_OFFSETS in entries])
    update(offsets.tobytes() + counts.tobytes())
    stored = counts > 0  # a sparse file leaves blocks out: offset and size are 0
    size = np.uint64(reader.size)
    outside = stored & ((offsets > size) | (counts > size - np.minimum(offsets, size)))
    if outside.any():
        lost = f"{np.count_nonzero(outside):,} of {len(counts):,} blocks"
        raise TiffError(f"is truncated: {lost} lie beyond its end at byte {reader.size:,}; copy it again")
    if shape.plain and (stored & (counts < np.uint64(shape.least_bytes))).any():
        raise TiffError("has uncompressed blocks that are too short for their pixels; copy it again")


_TABLES = ((STRIP_OFFSETS, STRIP_COUNTS), (TILE_OFFSETS, TILE_COUNTS))


def _table(reader: Reader, entries: dict[int, Entry], tag: int, blocks: int) -> NDArray[np.uint64]:
    entry = entries.get(tag)
    if entry is None or entry.kind not in UNSIGNED:
        raise TiffError("has no usable block table; write it again: gdal_translate")
    if entry.items < blocks:
        raise TiffError(f"lists {entry.items:,} of its {blocks:,} blocks; write it again: gdal_translate")
    return reader.numbers(entry, blocks)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The sizes that a directory declares."""

    height: int
    width: int
    block: tuple[int, int]
    """(height, width) of a tile or strip, px."""
    samples: int
    """Values per pixel of a block."""
    bits: int
    """Of a value."""
    planes: int
    """Images one after another: the number of bands when each is stored by itself, else 1."""
    plain: bool
    """Its blocks are stored as they are: neither compressed nor with colours subsampled."""

    @classmethod
    def of(cls, reader: Reader, entries: dict[int, Entry]) -> "_Shape":
        def one(tag: int, default: int) -> int:
            entry = entries.get(tag)
            usable = entry is not None and entry.kind in UNSIGNED and entry.items
            return int(reader.numbers(entry, 1)[0]) if entry and usable else default

        height, width, samples = one(HEIGHT, 0), one(WIDTH, 0), one(SAMPLES_PER_PIXEL, 1)
        strip = min(one(ROWS_PER_STRIP, height) or height, height), width
        block = (one(TILE_HEIGHT, 0), one(TILE_WIDTH, 0)) if TILE_OFFSETS in entries else strip
        inside, planes = (1, samples) if one(PLANAR, 1) == 2 else (samples, 1)
        plain = one(COMPRESSION, 1) == 1 and one(PHOTOMETRIC, 0) != YCBCR
        return cls(height, width, block, inside, one(BITS, 1), planes, plain)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.height // self.block[0]) * -(-self.width // self.block[1]) * self.planes

    @property
    def block_bytes(self) -> int:
        """Decoded bytes of a block."""
        return self.block[0] * -(-self.block[1] * self.samples * self.bits // 8)

    @property
    def least_bytes(self) -> int:
        """Decoded bytes of the shortest block: the last strip may have fewer rows."""
        tiled = self.block[1] != self.width
        rows = self.block[0] if tiled else (self.height - 1) % self.block[0] + 1
        return self.block_bytes // self.block[0] * rows

    def check(self) -> None:
        """Sizes must be positive and within the limits."""
        if min(self.height, self.width, *self.block, self.samples, self.planes) < 1:
            raise TiffError(
                f"has no pixels: {self.width} × {self.height} px in blocks of {self.block[1]} × {self.block[0]}"
            )
        if self.height * self.width > PIXELS_MAX:
            raise TiffError(
                f"claims {self.width:,} × {self.height:,} px; the limit is {PIXELS_MAX:,} px a file: split it"
            )
        if self.block_bytes > BLOCK_BYTES_MAX:
            raise TiffError(
                f"has blocks of {self.block_bytes >> 20:,} MiB decoded; the limit is {BLOCK_BYTES_MAX >> 20} MiB: "
                "write it tiled: gdal_translate -co TILED=YES"
            )
        if self.blocks > BLOCKS_MAX:
            raise TiffError(f"has {self.blocks:,} blocks; the limit is {BLOCKS_MAX:,}: write it tiled")


def _sample(reader: Reader, update: Callable[[bytes], None]) -> None:
    step = max(SAMPLE_BYTES, reader.size // SAMPLES)
    for at in range(0, reader.size, step):
        update(reader.read(at, min(SAMPLE_BYTES, reader.size - at), "data"))
