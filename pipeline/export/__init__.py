"""Footprints and probabilities as the files that people use, each whole or not there."""

from pipeline.export.metadata import Metadata
from pipeline.export.rasters import write_cog, write_masks
from pipeline.export.vectors import FORMATS, check, export

__all__ = ["FORMATS", "Metadata", "check", "export", "write_cog", "write_masks"]
