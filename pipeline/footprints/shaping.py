"""How samples become footprints: the options that decide geometry, as one value."""

from dataclasses import dataclass
from typing import Protocol


class Options(Protocol):
    """What the config's ``footprints`` section offers."""

    @property
    def min_area(self) -> float: ...  # noqa: D102 - described below

    @property
    def min_hole(self) -> float: ...  # noqa: D102

    @property
    def simplify(self) -> float: ...  # noqa: D102

    @property
    def square(self) -> bool: ...  # noqa: D102

    @property
    def split(self) -> bool: ...  # noqa: D102


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
        if not 1 <= self.level <= 254:
            raise ValueError(f"level {self.level} is not in 1..254")

    @classmethod
    def of(cls, options: Options, level: int) -> "Shaping":
        """The shaping that the config asks for at a level."""
        return cls(level, options.min_area, options.min_hole, options.simplify, options.square, options.split)
