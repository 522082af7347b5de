"""Footprints and probabilities as the files that people use, each whole or not there."""

from pipeline.export.metadata import Metadata
from pipeline.export.rasters import mask_path, write_cog, write_masks
from pipeline.export.vectors import FORMATS, check, export, vector_path

__all__ = ["FORMATS", "Metadata", "check", "export", "mask_path", "vector_path", "write_cog", "write_masks"]
