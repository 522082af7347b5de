"""A GeoPackage 1.2 that QGIS opens styled: R-tree, embedded default style, provenance; same rows, same bytes."""

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import pyogrio

from pipeline.export.metadata import Metadata
from pipeline.export.rows import LAYER, Rows, stream

STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""
"""QGIS's own table of styles, as it makes it."""
LACKING = "SELECT feature_count - (SELECT count(*) FROM rtree_footprints_geom_rowid) FROM gpkg_ogr_contents"
"""How many rows the R-tree lacks."""
RTREE_BYTES = 64 << 20
"""What GDAL may take to build the R-tree in memory; else a tenth of the machine, growing with the region."""


def write(path: Path, rows: Rows, metadata: Metadata) -> None:
    """Write record batches of the footprints' schema to a new GeoPackage."""
    now = metadata.date.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    options = {"OGR_CURRENT_DATE": now, "OGR_GPKG_MAX_RAM_USAGE_RTREE": RTREE_BYTES}
    about = {"GEOMETRY_NAME": "geom", "IDENTIFIER": metadata.title, "DESCRIPTION": metadata.description}
    pyogrio.set_gdal_config_options(options)
    try:
        with stream(rows) as batches:
            pyogrio.write_arrow(
                batches,
                path,
                driver="GPKG",
                layer=LAYER,
                geometry_name="geometry",
                geometry_type="Polygon",
                crs=metadata.crs,
                layer_metadata=metadata.entries(),
                dataset_options={"VERSION": "1.2"},
                layer_options=about,
            )
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(options))
    with closing(sqlite3.connect(path)) as database, database:
        _check_index(database)
        _embed_style(database, now)


def _check_index(database: sqlite3.Connection) -> None:
    """Refuse a file whose R-tree lacks rows: GDAL makes it on closing the file, and does not say when it cannot."""
    try:
        lacking = database.execute(LACKING).fetchone()
    except sqlite3.OperationalError:
        lacking = None
    if lacking != (0,):
        raise OSError("its spatial index could not be made; is the disk full?")


def _embed_style(database: sqlite3.Connection, now: str) -> None:
    """Add QGIS's table of styles, with ours as the layer's default."""
    style = resources.files(__package__).joinpath("footprints.qml").read_text()
    database.execute(STYLES)
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        ("layer_styles", "attributes", "layer_styles", "QGIS styles", now, 0),
    )
    database.execute(
        "INSERT INTO layer_styles"
        " (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,"
        " styleSLD, useAsDefault, description, owner, update_time) VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '', ?)",
        (LAYER, "confidence", style, "Fill by confidence", now),
    )
