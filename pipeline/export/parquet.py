"""GeoParquet 1.1 with a bounding-box covering column, one row group for each batch of rows."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from pipeline.export.metadata import Metadata
from pipeline.footprints.finish import SCHEMA

ROWS = 50_000
"""Rows of a group: small enough to skip by its box, large enough to read in one go."""
SIDES = ("xmin", "ymin", "xmax", "ymax")
BOX = pa.struct([pa.field(side, pa.float64(), nullable=False) for side in SIDES])


def write(path: Path, rows: Iterable[pa.RecordBatch], metadata: Metadata) -> None:
    """Write record batches of the footprints' schema to a new GeoParquet file."""
    with pq.ParquetWriter(
        path, SCHEMA.append(pa.field("bbox", BOX)), compression="zstd", write_page_index=True
    ) as file:
        box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        for group in _groups(rows):
            bounds = shapely.bounds(shapely.from_wkb(group["geometry"].to_numpy(zero_copy_only=False)))
            box = np.r_[np.minimum(box[:2], bounds.min(axis=0)[:2]), np.maximum(box[2:], bounds.max(axis=0)[2:])]
            arrays = [pa.array(column) for column in bounds.T]
            file.write_batch(group.append_column("bbox", pa.StructArray.from_arrays(arrays, fields=list(BOX))), ROWS)
        file.add_key_value_metadata({"geo": json.dumps(_geo(metadata, box)), **metadata.entries()})


def _groups(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of about ``ROWS``; none that is empty."""
    waiting: list[pa.RecordBatch] = []
    for batch in rows:
        waiting += [batch] if batch.num_rows else []
        if sum(part.num_rows for part in waiting) >= ROWS:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


def _geo(metadata: Metadata, box: Any) -> dict[str, Any]:
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": CRS.from_wkt(metadata.crs).to_json_dict(),
        "orientation": "counterclockwise",
        "covering": {"bbox": {side: ["bbox", side] for side in SIDES}},
    }
    if np.isfinite(box).all():
        column["bbox"] = box.tolist()
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
