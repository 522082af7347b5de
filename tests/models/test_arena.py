"""Held layers share one block of memory, and never a byte at a time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.arena import Life, offsets
from models.catalogue import CATALOGUE, build
from models.patchwork import Patchwork

LIVES = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 100)).map(
    lambda drawn: Life(min(drawn[:2]), max(drawn[:2]), drawn[2])
)


def alive(lives: list[Life]) -> float:
    """Most that lives at any step: no layout takes less."""
    steps = range(max((life.last + 1 for life in lives), default=0))
    return max((sum(life.size for life in lives if life.first <= step <= life.last) for step in steps), default=0)


@given(lives=st.lists(LIVES, max_size=25))
def test_no_two_that_live_at_the_same_step_overlap(lives: list[Life]) -> None:
    begins = offsets(lives)
    for step in range(21):
        here = sorted(
            (begin, begin + life.size)
            for begin, life in zip(begins, lives, strict=True)
            if life.first <= step <= life.last
        )
        assert all(end <= begin for (_, end), (begin, _) in pairwise(here))
    assert min(begins, default=0) == 0
    whole = max((begin + life.size for begin, life in zip(begins, lives, strict=True)), default=0)
    assert alive(lives) <= whole <= sum(life.size for life in lives)


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_network_takes_more_than_the_layers_that_live_at_a_time(name: str) -> None:
    patchwork = Patchwork(build(name), patch_bytes=1 << 20)
    assert patchwork.held_bytes == alive(patchwork.lives)
