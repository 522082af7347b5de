"""Where the layers that a network holds lie in one block of memory, so that no page is cleared twice.

Fresh pages are dear: the system clears each one, a virtual machine's host does so too, and a network fills gigabytes of
layers that live for a moment. So their places are planned ahead, from when each is written first and read last.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Life:
    """How long a buffer is needed."""

    first: int
    """Step that writes it first."""
    last: int
    """Step that reads it last."""
    size: float
    """Its size, in any unit."""

    def meets(self, other: "Life") -> bool:
        """Whether both are needed at some step."""
        return self.first <= other.last and other.first <= self.last


def offsets(lives: Sequence[Life]) -> list[float]:
    """Where each buffer begins, in the unit of the sizes; no two that are needed at the same step overlap.

    Greedy by size (Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference"): the largest
    first, each as low as it fits. For every network of the catalogue the whole is no larger than it has to be.
    """
    begins = [0.0] * len(lives)
    placed: list[int] = []
    for number in sorted(range(len(lives)), key=lambda number: -lives[number].size):
        life = lives[number]
        for other in sorted(placed, key=begins.__getitem__):
            end = begins[other] + lives[other].size
            if life.meets(lives[other]) and begins[number] < end and begins[other] < begins[number] + life.size:
                begins[number] = end
        placed.append(number)
    return begins
