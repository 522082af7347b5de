"""From a region in YAML to its building footprints."""
