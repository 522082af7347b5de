"""Arrow arrays of numpy ones and back, by their buffers.

pyarrow's own conversions first look whether the values are of pandas, and for that import it: a third of a second in
every worker, where it is installed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: NDArray[Any]) -> pa.Array:
    """Integers or floats; shares the memory of ``values``."""
    flat = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])


def flags(values: NDArray[np.bool_]) -> pa.Array:
    """Booleans, a bit each."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def texts(values: Sequence[str]) -> pa.Array:
    """Strings."""
    return _joined([value.encode() for value in values], pa.string())


def blobs(values: Sequence[bytes] | NDArray[Any]) -> pa.Array:
    """Strings of bytes."""
    return _joined(list(values), pa.binary())


def _joined(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    offsets = np.cumsum([0, *map(len, values)])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{offsets[-1]} bytes are too many for one Arrow array")
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def array(column: pa.Array) -> NDArray[Any]:
    """Integers or floats, of which none is missing, without a copy; read-only."""
    return np.from_dlpack(column)
