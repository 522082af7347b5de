"""Files that libraries write: whole or not there, and one sentence when they cannot be written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyogrio.errors

from pipeline import durable
from pipeline.errors import root
from pipeline.scenes.gdal import OWN_ERRORS

# How the libraries tell of a disk that is full or broken.
FAILURES = (
    OSError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    *OWN_ERRORS,
    SystemError,  # rasterio's, where GDAL gives no reason
    sqlite3.Error,
    pa.ArrowException,  # rows that do not read
)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """``durable.replace`` for a library that writes by itself.

    Raises:
        OSError: it could not, for the reason that it gives.
    """
    try:
        with durable.replace(path) as scratch:
            yield scratch
    except FAILURES as error:
        raise OSError(f"{path}: cannot be written ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """What went wrong first; SQLite's sentence without the statement that it is about."""
    return root(error).rpartition(" failed: ")[2]
