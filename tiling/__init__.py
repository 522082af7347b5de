"""Pure arithmetic on rasters: which pixels belong to which block and which tile a block needs."""
