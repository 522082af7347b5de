"""How a block divides into chunks: what a reader of the stored raster fetches at a time."""

CHUNK_MAX = 512  # px; readers pan and zoom by chunk, and 512² px of compressed bytes are a comfortable request
CHUNK_MIN = 128  # px; below it a scene falls into thousands of chunks, and each costs an index entry and a checksum


def inner_chunk(block: int) -> int:
    """The largest divisor of a block's side (px) that is at most ``CHUNK_MAX``."""
    return next(chunk for chunk in range(min(block, CHUNK_MAX), 0, -1) if block % chunk == 0)


def storable(least: int, stride: int) -> int:
    """The least side of a block from ``least`` px on, in whole strides, that divides into usable chunks."""
    side = least
    while side > CHUNK_MAX and inner_chunk(side) < CHUNK_MIN:
        side += stride
    return side
