"""Aerial scenes whose every footprint is known.

A `World` is an endless place drawn from one seed. A window of it renders to an image, its mask and its true footprints;
two windows of one world show the same buildings, so neighbouring scenes fit together.
"""

from pipeline.render.scene import Scene, Window, render
from pipeline.render.world import World

__all__ = ["Scene", "Window", "World", "render"]
