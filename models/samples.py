"""What a sample says: uint8, 0…254 for P(building) = 0…1, 255 for no data. No torch here."""

import math

SAMPLE_MAX = 254
NO_DATA = 255


def level(threshold: float) -> int:
    """The least sample that counts as building at a probability: ceil(threshold · 254)."""
    return math.ceil(round(threshold * SAMPLE_MAX, 6))
