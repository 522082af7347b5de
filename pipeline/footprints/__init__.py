"""Probabilities to building footprints, block by block and exact across their seams."""
