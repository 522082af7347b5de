"""Aerial scenes whose every footprint is known.

A ``World`` is an endless place drawn from one seed. A view of it renders to an image, its mask and its true footprints;
two views of one world show the same buildings, so neighbouring scenes fit together.
"""

from pipeline.render.scene import Scene, render
from pipeline.render.view import View
from pipeline.render.world import World

__all__ = ["Scene", "View", "World", "render"]
