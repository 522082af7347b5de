"""Matching, PoLiS and angles against shapely used plainly, pair by pair."""

import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity

from pipeline.evaluation.objects import Objects, compare, match, orientation, polis, turned

seeds = st.integers(0, 10**6)
quick = settings(max_examples=40, deadline=None)


def town(seed: int, shake: float = 0.0) -> np.ndarray:
    """Rectangles on a grid, none touching; shaken ones are moved, turned and sometimes left out."""
    rng, mover = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    made = []
    for x, y in itertools.product(range(5), range(4)):
        width, height, angle = rng.uniform(4, 8), rng.uniform(4, 8), rng.uniform(0, 90)
        box = affinity.rotate(shapely.box(0, 0, width, height), angle)
        box = affinity.translate(box, 15 * x, 15 * y)
        if shake and mover.random() < 0.8:
            dx, dy = mover.uniform(-shake, shake, 2)
            made.append(affinity.rotate(affinity.translate(box, dx, dy), mover.uniform(-10, 10)))
        elif not shake:
            made.append(box)
    return np.array(made, dtype=object)


def iou(a: shapely.Polygon, b: shapely.Polygon) -> float:
    return a.intersection(b).area / a.union(b).area


@given(seeds)
@quick
def test_matches_are_the_pairs_that_overlap_by_half(seed: int) -> None:
    truth, predicted = town(seed), town(seed, shake=2.5)
    expected = {(i, j) for i, p in enumerate(predicted) for j, t in enumerate(truth) if iou(p, t) >= 0.5}
    assert set(map(tuple, match(predicted, truth).tolist())) == expected


def test_each_building_is_matched_once_and_the_best_wins() -> None:
    truth = np.array([shapely.box(0, 0, 10, 10)], dtype=object)
    predicted = np.array([shapely.box(0, 0, 10, 6), shapely.box(0, 0, 10, 9), shapely.box(30, 0, 40, 9)], dtype=object)
    assert match(predicted, truth).tolist() == [[1, 0]]
    assert compare(predicted, truth).precision == pytest.approx(1 / 3)


@given(seeds)
@quick
def test_counts_give_precision_recall_and_f1(seed: int) -> None:
    truth, predicted = town(seed), town(seed, shake=2.5)
    found = compare(predicted, truth)
    assert found.precision == pytest.approx(found.found / len(predicted))
    assert found.recall == pytest.approx(found.found / len(truth))
    expected = 2 * found.precision * found.recall / (found.precision + found.recall) if found.found else 0
    assert found.f1 == pytest.approx(expected)
    twice = found + found
    assert (twice.found, len(twice.polis), twice.f1) == (2 * found.found, 2 * len(found.polis), pytest.approx(found.f1))


@given(seeds)
@quick
def test_polis_is_its_formula(seed: int) -> None:
    for one, other in zip(town(seed), town(seed + 7), strict=True):
        corners = [[shapely.Point(c) for c in p.exterior.coords[:-1]] for p in (one, other)]
        sums = [
            sum(c.distance(q.exterior) for c in points) / (2 * len(points))
            for points, q in zip(corners, (other, one), strict=True)
        ]
        assert polis(one, other) == pytest.approx(sum(sums))


def test_polis_of_a_shifted_square_and_of_itself() -> None:
    square = shapely.box(0, 0, 10, 10)
    assert polis(square, square) == 0
    moved = affinity.translate(square, 0, 2)  # two corners of each lie 2 m off the other, two on its outline
    assert polis(square, moved) == pytest.approx(1)


@given(st.floats(0, 360), st.floats(-200, 200), st.floats(5, 9))
@quick
def test_angles_are_found_modulo_a_right_angle(first: float, turn: float, width: float) -> None:
    one = affinity.rotate(shapely.box(0, 0, width, 3), first)
    other = affinity.rotate(one, turn)
    expected = min(turn % 90, 90 - turn % 90)
    angles = orientation(np.array([one, other], dtype=object))
    assert turned(angles[:1], angles[1:])[0] == pytest.approx(expected, abs=1e-6)


def test_nothing_to_find() -> None:
    nothing = np.array([], dtype=object)
    empty = compare(nothing, nothing)
    assert (empty.precision, empty.recall, empty.f1) == (1, 1, 1)
    assert compare(nothing, town(1)).f1 == 0
    assert compare(town(1), nothing).precision == 0
    assert Objects().found == 0
