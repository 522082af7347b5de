"""Footprints as GeoPackage, GeoParquet, FlatGeobuf and GeoJSON, written as streams of record batches."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyogrio
import pyogrio.errors

from pipeline import durable
from pipeline.errors import OutputError, PipelineError
from pipeline.export import geopackage, parquet
from pipeline.export.metadata import Metadata
from pipeline.export.rows import LAYER, Rows, stream
from pipeline.export.writing import writing

DIGITS = "9"
"""Decimals of degrees, 0.1 mm: with 7, 1 cm, rounding makes narrow polygons invalid, and GDAL tears them apart."""
CUT_OFF = "its end is missing; is the disk full?"
"""What GDAL does not say of the last bytes, which it writes as it closes a file."""
END = b"\n]\n}\n"
"""Last bytes of a whole GeoJSON file."""
GEOMETRY = {"layer": LAYER, "geometry_name": "geometry", "geometry_type": "Polygon"}


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write footprints."""

    suffix: str
    """Of the file's name."""
    write: Callable[[Path, Rows, Metadata], None]
    """Write rows to a path that does not exist."""


def _flatgeobuf(path: Path, rows: Rows, metadata: Metadata) -> None:
    about = {"TITLE": metadata.title, "DESCRIPTION": metadata.description, "TEMPORARY_DIR": str(path.parent)}
    with stream(rows) as batches:
        pyogrio.write_arrow(batches, path, driver="FlatGeobuf", crs=metadata.crs, layer_options=about, **GEOMETRY)
    count = pyogrio.read_info(path)["features"]
    try:
        pyogrio.raw.read(path, skip_features=max(count - 1, 0), columns=[])
    except (ValueError, pyogrio.errors.FeatureError):
        raise OSError(CUT_OFF) from None


def _geojson(path: Path, rows: Rows, metadata: Metadata) -> None:
    form = {"RFC7946": "YES", "COORDINATE_PRECISION": DIGITS, "DESCRIPTION": metadata.description}
    with stream(rows) as batches:
        pyogrio.write_arrow(batches, path, driver="GeoJSON", crs=metadata.crs, layer_options=form, **GEOMETRY)
    with path.open("rb") as file:
        file.seek(-len(END), os.SEEK_END)
        if file.read() != END:
            raise OSError(CUT_OFF)


FORMATS = {
    "gpkg": Format(".gpkg", geopackage.write),
    "parquet": Format(".parquet", parquet.write),
    "flatgeobuf": Format(".fgb", _flatgeobuf),
    "geojson": Format(".geojson", _geojson),
}


def check(folder: Path) -> None:
    """Refuse to replace a GeoPackage that a program has opened since the run began.

    Raises:
        PipelineError: one has; no ``OutputError``, whose exit code says that nothing was computed.
    """
    try:
        durable.refuse_open(vector_path(folder, "gpkg"))
    except OutputError as error:
        raise PipelineError(f"{error}; what is done is kept, and it resumes") from None


def vector_path(folder: Path, name: str) -> Path:
    """Where footprints of a format lie."""
    return folder / f"{LAYER}{FORMATS[name].suffix}"


def export(rows: Rows, folder: Path, formats: Sequence[str], metadata: Metadata) -> dict[str, Path]:
    """Write footprints in some formats; each file appears at its path in one step.

    Args:
        rows: Record batches of ``finish.SCHEMA``; iterated once for every format.
        folder: Where the files go.
        formats: Keys of ``FORMATS``.
        metadata: What the files say of themselves.

    Returns:
        The file of each format.

    Raises:
        PipelineError: the GeoPackage is open in another program.
        OSError: a file cannot be written.
    """
    check(folder)
    paths = {}
    for name in formats:
        paths[name] = vector_path(folder, name)
        with writing(paths[name]) as scratch:
            FORMATS[name].write(scratch, rows, metadata)
            check(folder)
    return paths
