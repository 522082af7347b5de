"""What is asked of the disk before anything is computed, and where seams are measured."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import machine
from pipeline.errors import InputError
from pipeline.names import STORE
from pipeline.produce import SEAMS_SAMPLED, refuse_full_disk, seam_error
from tiling.grid import Axis, Grid


@pytest.mark.parametrize("place", [STORE, f".work/{STORE}", ".work/outlines"])
def test_what_is_stored_already_needs_no_room_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan: Any = SimpleNamespace(output=tmp_path, work=tmp_path / ".work", projection=SimpleNamespace(disk=1000))
    monkeypatch.setattr(machine, "disk_free", lambda _: 600)
    with pytest.raises(InputError, match="make room or choose another output"):
        refuse_full_disk(plan)
    (tmp_path / place / "c/0").mkdir(parents=True)
    (tmp_path / place / "c/0/0").write_bytes(bytes(399))
    with pytest.raises(InputError, match="make room"):
        refuse_full_disk(plan)
    (tmp_path / place / "c/0/1").write_bytes(bytes(1))
    refuse_full_disk(plan)


@pytest.mark.parametrize("blocks", [(1, 1), (1, 4), (3, 1), (2, 2), (7, 30)])
def test_seams_are_measured_wherever_blocks_meet(blocks: tuple[int, int]) -> None:
    looked_at: list[tuple[int, int]] = []

    def call(_: Any, corner: tuple[int, int]) -> float:
        looked_at.append(corner)
        return 0.25

    grid = Grid(*(Axis(count * 64, 64, 32, 0, 0) for count in blocks))
    made: Any = SimpleNamespace(grid=grid, engine=SimpleNamespace(facts=SimpleNamespace(before=128, after=160)))
    crew: Any = SimpleNamespace(call=call)
    assert seam_error(made, crew) == (0.0 if blocks == (1, 1) else 0.25)
    assert len(set(looked_at)) == len(looked_at) <= SEAMS_SAMPLED
    for axis, count in enumerate(blocks):
        places = {corner[axis] for corner in looked_at}
        assert all(place % 64 == 0 and 0 < place < count * 64 for place in places) if count > 1 else places <= {32}
