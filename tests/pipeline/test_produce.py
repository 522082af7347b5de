"""What is asked of the disk before anything is computed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import machine
from pipeline.errors import InputError
from pipeline.produce import refuse_full_disk
from pipeline.workspace import STORE


@pytest.mark.parametrize("place", [STORE, f".work/{STORE}"])
def test_what_is_stored_already_needs_no_room_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan: Any = SimpleNamespace(
        output=tmp_path, probabilities=tmp_path / ".work" / STORE, projection=SimpleNamespace(disk=1000)
    )
    monkeypatch.setattr(machine, "disk_free", lambda _: 600)
    with pytest.raises(InputError, match="make room or choose another output"):
        refuse_full_disk(plan)
    (tmp_path / place / "c/0").mkdir(parents=True)
    (tmp_path / place / "c/0/0").write_bytes(bytes(399))
    with pytest.raises(InputError, match="make room"):
        refuse_full_disk(plan)
    (tmp_path / place / "c/0/1").write_bytes(bytes(1))
    refuse_full_disk(plan)
