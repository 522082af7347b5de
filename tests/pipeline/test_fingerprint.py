"""What differs is said key by key, and more scenes are told from other ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import fingerprint
from tiling.grid import Span, Window

entries = st.lists(st.integers(0, 30), unique=True, max_size=8)


def entry(number: int) -> list[Any]:
    return [f"{number}.tif", f"digest{number}", 0, 10, number, number + 10]


def of(scenes: list[int], **keys: Any) -> dict[str, Any]:
    return {"format": 1, "crs": "a", "origin": [1, 0, 5, 0, -1, 9], **keys, "scenes": [entry(n) for n in scenes]}


@given(scenes=entries)
def test_equal_is_equal(scenes: list[int]) -> None:
    assert fingerprint.difference(of(scenes), of(scenes)) == []
    assert fingerprint.added(of(scenes), of(scenes)) == []


@given(scenes=entries, data=st.data())
def test_added_scenes_are_found_wherever_they_are_listed(scenes: list[int], data: st.DataObject) -> None:
    kept = [number for number in scenes if data.draw(st.booleans())]
    windows = [Window(Span(0, 10), Span(number, number + 10)) for number in scenes if number not in kept]
    assert fingerprint.added(of(kept), of(scenes)) == windows
    if kept != scenes:
        assert fingerprint.added(of(scenes), of(kept)) is None


def test_another_order_is_no_addition() -> None:
    assert fingerprint.added(of([1, 2]), of([2, 1, 3])) is None
    assert fingerprint.difference(of([1, 2]), of([2, 1])) == [
        "scenes: listed in another order; where they overlap, the first one wins"
    ]


@given(scenes=entries, data=st.data())
def test_what_is_derived_from_samples_does_not_matter_to_them(scenes: list[int], data: st.DataObject) -> None:
    kept = [number for number in scenes if data.draw(st.booleans())]
    keys = ["name", "licence", "footprints.threshold", "footprints.formats", "probability.cog"]
    changed = {key: data.draw(st.booleans()) for key in keys}
    plain = dict.fromkeys(keys, False)
    assert fingerprint.added(of(kept, **plain), of(scenes, **changed)) == fingerprint.added(of(kept), of(scenes))
    decisive = data.draw(st.sampled_from(["weights", "tiles.size", "inference.tta", "footprints_of_old"]))
    assert fingerprint.added(of(kept, **plain), of(scenes, **changed, **{decisive: 1})) is None


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (of([], a=1), of([], a=2), "a: was 1, is now 2"),
        (of([]), of([], a=2), "a: added (2)"),
        (of([], a=1), of([]), "a: removed (was 1)"),
        (of([1]), of([]), "scenes: 1.tif is gone"),
        (of([]), of([1]), "scenes: 1.tif is new"),
        (of([1]), of([]) | {"scenes": [["1.tif", "other", 0, 10, 1, 11]]}, "scenes: 1.tif changed"),
    ],
)
def test_the_difference_in_words(before: dict[str, Any], after: dict[str, Any], sentence: str) -> None:
    assert fingerprint.difference(before, after) == [sentence]


def test_a_moved_corner_is_the_reason_for_the_rest() -> None:
    moved = of([1, 2]) | {"origin": [1, 0, 4, 0, -1, 9]}
    said = fingerprint.difference(of([1]), moved)
    assert said[-1] == "scenes: the mosaic starts at another corner, so every block differs"
    assert fingerprint.added(of([1]), moved) is None


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        ([1 + 2e-10, 0, 5 - 1e-9, 0, -1, 9 + 1e-9], True),
        ([1, 0, 5.02, 0, -1, 9], False),
        ([1, 0, 5, 0, -1.001, 9], False),
    ],
)
def test_a_corner_that_another_first_scene_rounds_otherwise_is_the_same(origin: list[float], same: bool) -> None:
    after = of([0, 1], origin=origin)
    assert (fingerprint.added(of([1]), after) is not None) == same
    assert (fingerprint.difference(of([0, 1]), after) == []) == same


def test_many_differences_do_not_drown_the_first() -> None:
    said = fingerprint.difference(of([]), of(list(range(31))))
    assert len(said) == fingerprint.SENTENCES + 1
    assert said[-1] == "… and 11 more"
