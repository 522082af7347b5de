"""A dry run refuses what a run would refuse."""

from pathlib import Path

import pytest
import small

from pipeline import machine, run


def test_a_disk_without_room_and_a_geopackage_that_is_open(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights)
    assert run.main([str(region), "--dry-run"]) == 0
    assert "blocks" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(machine, "disk_free", lambda _: 0)
        assert run.main([str(region), "--dry-run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "make room or choose another output" in err
    (tmp_path / "out").mkdir()
    (tmp_path / "out/footprints.gpkg-wal").touch()
    assert run.main([str(region), "--dry-run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "footprints.gpkg is open in another program: close it in QGIS, run again" in err
