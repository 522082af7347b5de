"""Files that libraries write: whole or not there, and one sentence when they cannot be written."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyogrio.errors
import rasterio.errors
from rasterio._err import CPLE_BaseError

from pipeline import durable

# How the libraries tell of a disk that is full or broken.
FAILURES = (
    OSError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    rasterio.errors.RasterioError,
    CPLE_BaseError,  # rasterio.shutil.copy lets GDAL's own errors through
    SystemError,  # rasterio's, where GDAL gives no reason
    sqlite3.Error,
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
        raise OSError(f"{path}: cannot be written ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """What went wrong first; SQLite's sentence without the statement that it is about."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).rpartition(" failed: ")[2]
