"""The header of a safetensors file, read and checked without torch; how weights files are opened and refused.

Format: 8 bytes of header length (little endian), a JSON object of that length that gives dtype, shape and place of each
tensor, then the tensors (https://huggingface.co/docs/safetensors). Nothing is believed: names are unique, lengths agree
with shapes, and the tensors fill the file without gap or overlap.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

MAX_FILE_BYTES = 640 << 20
# ^ the largest file that anybody needs is torchvision's VGG16 with its classifier, 553 MB; the largest network here has
#   153 MB, a checkpoint of it with Adam's two moments three times that
MAX_HEADER_BYTES = 1 << 20
# ^ 462 tensors (AlbuNet34) take 50 kB; the rest is for metadata
MAX_TENSORS = 4096
# ^ nine times AlbuNet34's
MAX_RANK = 4
# ^ convolution weights are the deepest arrays there are
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
# ^ I64 is batch norm's num_batches_tracked; nothing else occurs


TORCH_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# ^ how files of torch begin: a zip archive, or a pickle of protocol 2 to 5


class WeightsError(ValueError):
    """A weights file that cannot be used; its text is one sentence: file, what is wrong, cure."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a safetensors header says of one tensor."""

    dtype: str
    """A key of DTYPE_BYTES."""
    shape: tuple[int, ...]
    """Sizes, each ≥ 1."""
    begin: int
    """First byte, counted from the end of the header."""
    end: int
    """One past its last byte."""


@dataclass(frozen=True, slots=True)
class Header:
    """A checked safetensors header: the tensors fill the file exactly."""

    tensors: Mapping[str, Entry]
    """By name."""
    metadata: Mapping[str, str]
    """Free text by key."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def open_weights(path: Path) -> BufferedReader:
    """``path`` opened for reading; raises WeightsError when it is no readable file or larger than MAX_FILE_BYTES."""
    if not path.is_file():
        refuse(path, "there is no such file" if not path.exists() else "it is not a file")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        refuse(path, f"it has {size:,} bytes, but weights at most {MAX_FILE_BYTES:,}; save network.state_dict() alone")
    try:
        return path.open("rb")
    except OSError as error:
        raise WeightsError(f"{path}: it cannot be read ({error.strerror})") from error


def is_torch_file(file: BufferedReader) -> bool:
    """Whether it begins as torch.save's files do: a zip archive or a pickle. Leaves ``file`` at its start."""
    start = file.read(4)
    file.seek(0)
    return start.startswith(TORCH_STARTS) and not _fits_header(file)


def _fits_header(file: BufferedReader) -> bool:
    """Whether it could be safetensors all the same: a brace follows the length. Leaves ``file`` at its start."""
    start = file.read(9)
    file.seek(0)
    return start[8:] == b"{"


def read_header(file: BufferedReader, path: Path) -> Header:
    """The header of the safetensors ``file``, every entry checked against the file's length; raises WeightsError."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    if not 2 <= length <= MAX_HEADER_BYTES:
        refuse(
            path, f"it is no safetensors file: a header of {length:,} bytes is not between 2 and {MAX_HEADER_BYTES:,}"
        )
    if 8 + length > size:
        refuse(path, f"it is truncated: its header ends at byte {8 + length:,} of {size:,}; copy it again")
    entries = parse_object(file.read(length), path, "its header")
    if len(entries) > MAX_TENSORS:
        refuse(path, f"it lists {len(entries):,} tensors; no network of the catalogue has more than {MAX_TENSORS:,}")
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse(path, "its __metadata__ does not map text to text")
    tensors = {name: _entry(name, entry, path) for name, entry in entries.items()}
    _check_layout(tensors, size - 8 - length, path)
    return Header(tensors, metadata)


def refuse(path: Path, what: str) -> NoReturn:
    """Raise WeightsError about ``path``."""
    raise WeightsError(f"{path}: {what}")


def parse_object(raw: bytes, path: Path, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``, which is ``what`` of the file ``path``; raises WeightsError, for a name twice too."""
    try:
        parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: {what} is damaged ({error}); copy the file again") from error
    if not isinstance(parsed, dict):
        refuse(path, f"{what} is not a JSON object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``pairs`` as a dict; raises ValueError when a name occurs twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name occurs twice")
    return made


def _no_constant(name: str) -> NoReturn:
    """JSON has no NaN and no Infinity, though Python reads them."""
    raise ValueError(f"{name} is no JSON")


def _entry(name: str, entry: object, path: Path) -> Entry:
    """One header entry, whose bytes must be as many as its dtype and shape need; raises WeightsError."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)], **rest} if not rest:
            pass
        case _:
            refuse(path, f"the header's entry for {name[:80]!r} is malformed")
    if dtype not in DTYPE_BYTES:
        refuse(path, f"{name[:80]} has the dtype {dtype[:20]}; weights are {', '.join(DTYPE_BYTES)}")
    if len(shape) > MAX_RANK or not all(type(side) is int and side >= 1 for side in shape):
        refuse(path, f"{name[:80]} has the impossible shape {str(shape)[:80]}")
    if end - begin != DTYPE_BYTES[dtype] * math.prod(shape):
        refuse(path, f"{name[:80]} lies about its length: {dtype} of shape {shape} are not {end - begin:,} bytes"[:300])
    return Entry(dtype, tuple(shape), begin, end)


def _check_layout(tensors: Mapping[str, Entry], available: int, path: Path) -> None:
    """Tensors must follow each other without gap or overlap and fill the file; raises WeightsError."""
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].begin):
        if tensor.begin != position:
            refuse(path, f"its header lies: {name[:80]} begins at byte {tensor.begin:,} instead of {position:,}")
        position = tensor.end
    if position > available:
        refuse(path, f"it is truncated: {available:,} of {position:,} bytes of tensors are there; copy it again")
    if position < available:
        refuse(path, f"its header lies: {available - position:,} bytes follow the last tensor")
