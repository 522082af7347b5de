"""A region without any building is a result like another: exit 0, and every file whole, valid and empty."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pyogrio
import runs
import small


def test_every_file_is_there_and_empty(tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote) -> None:
    small.write_scene(tmp_path / "scenes/a.tif", np.full((200, 300, 3), 90, np.uint8))
    keys = {**small.TINY, "footprints": {"threshold": 0.999, "formats": ["gpkg", "parquet", "flatgeobuf", "geojson"]}}
    region = small.write_region(tmp_path, tiny_weights, ["scenes"], probability={"masks": True}, **keys)
    done = zygote.run(region)
    assert done.code == 0, done.text
    assert "0 footprints in" in done.text
    output = tmp_path / "out"
    report = runs.report(output)
    assert (report["status"], report["footprints"]) == ("done", 0)
    assert report["counts"]["predicted"] == 200 * 300
    for name, crs in {"gpkg": "EPSG:26914", "fgb": "EPSG:26914", "geojson": "EPSG:4326"}.items():
        frame = pyogrio.read_dataframe(output / f"footprints.{name}", layer="footprints")
        assert len(frame) == 0
        assert frame.crs == crs
    table = pyarrow.parquet.read_table(output / "footprints.parquet")
    assert table.num_rows == 0
    assert {"id", "area_m2", "confidence", "geometry"} <= set(table.column_names)
    assert "No building was found" in (output / "report.html").read_text(encoding="utf-8")
    assert "already done" in zygote.run(region).text
