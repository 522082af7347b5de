"""GeoParquet 1.1 with a bounding-box covering column, one row group for each batch of rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from pipeline.export.metadata import Metadata
from pipeline.export.rows import Rows, batched
from pipeline.footprints.finish import SCHEMA

SIDES = ("xmin", "ymin", "xmax", "ymax")
BOX = pa.struct([pa.field(side, pa.float64(), nullable=False) for side in SIDES])


def write(path: Path, rows: Rows, metadata: Metadata) -> None:
    """Write record batches of the footprints' schema to a new GeoParquet file."""
    with pq.ParquetWriter(
        path, SCHEMA.append(pa.field("bbox", BOX)), compression="zstd", write_page_index=True
    ) as file:
        box = np.array([np.inf, np.inf, -np.inf, -np.inf])
        for group in batched(rows):
            bounds = shapely.bounds(shapely.from_wkb(group["geometry"].to_numpy(zero_copy_only=False)))
            box = np.r_[np.minimum(box[:2], bounds.min(axis=0)[:2]), np.maximum(box[2:], bounds.max(axis=0)[2:])]
            arrays = [pa.array(column) for column in bounds.T]
            file.write_batch(group.append_column("bbox", pa.StructArray.from_arrays(arrays, fields=list(BOX))))
        file.add_key_value_metadata({"geo": json.dumps(_geo(metadata, box)), **metadata.entries()})


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
