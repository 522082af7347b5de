"""How samples become footprints: the options that decide geometry, as one value."""

from dataclasses import dataclass

from models.samples import SAMPLE_MAX

MOST_VERTICES = 50_000
"""Vertices of a contour beyond which it is taken as it is: no building has so many, but streets of them do."""


@dataclass(frozen=True, slots=True)
class Shaping:
    """The options that decide the geometry of footprints."""

    level: int
    """Samples from it on are building, 1..254; outlines run half a step below it."""
    min_area: float = 10.0
    """Smallest footprint, m² on the ground."""
    min_hole: float = 5.0
    """Smallest courtyard, m²; smaller ones are filled."""
    simplify: float = 0.3
    """Tolerance of simplification, m; 0: none."""
    square: bool = False
    """Outlines are made right-angled."""
    split: bool = False
    """Buildings that touch are separated at clear valleys of the probability."""

    def __post_init__(self) -> None:
        if not 1 <= self.level <= SAMPLE_MAX:
            raise ValueError(f"level {self.level} is not in 1..{SAMPLE_MAX}")
