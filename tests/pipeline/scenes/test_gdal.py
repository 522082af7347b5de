"""GDAL's cache of raster blocks is limited in the whole process: the plan grants no more."""

import subprocess
import sys
import threading

import pytest
import rasterio
import runs
from rasterio.env import get_gdal_config

from pipeline.scenes.gdal import CACHE_BYTES, GDAL_OPTIONS


def limit() -> object:
    with rasterio.Env():
        return get_gdal_config("GDAL_CACHEMAX")


def test_a_thread_that_leaves_its_env_does_not_lift_the_limit() -> None:
    with rasterio.Env(**GDAL_OPTIONS):
        assert limit() == CACHE_BYTES
        other = threading.Thread(target=lambda: rasterio.Env(**GDAL_OPTIONS).__enter__().__exit__())
        other.start()
        other.join()
        assert limit() == CACHE_BYTES
    assert limit() == CACHE_BYTES


@pytest.mark.parametrize("module", ["pipeline.export", "pipeline.tasks", "pipeline.init"])
def test_it_holds_wherever_rasters_are_read_or_written(module: str) -> None:
    code = f"import {module}, rasterio, rasterio.env as env; print(env.get_gdal_config('GDAL_CACHEMAX'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=runs.PROJECT)
    assert int(said.stdout) == CACHE_BYTES
