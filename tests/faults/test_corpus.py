"""Each named piece of bad input is refused: exit code 2, its exact sentences, no compute, not a byte of output."""

import socket
import subprocess
import sys
from pathlib import Path

import imagery
import pytest
from corpus import CASES

from pipeline import cluster, run

pytestmark = pytest.mark.usefixtures("no_network")


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_before_any_compute(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "connect", lambda *_: pytest.fail("a cluster was started"))
    monkeypatch.chdir(tmp_path)
    region = imagery.region(tmp_path, CASES[name].make(tmp_path))
    before = tree(tmp_path)
    code = run.main([str(region)])
    out, err = capsys.readouterr()
    size = (tmp_path / "a.tif").stat().st_size if (tmp_path / "a.tif").is_file() else 0
    wanted = [each.replace("{size}", f"{size:,}").replace("{}", str(tmp_path)) for each in CASES[name].sentences]
    assert err.splitlines() == wanted
    assert (code, out) == (2, "")
    assert tree(tmp_path) == before


def test_a_dry_run_tells_all_that_a_run_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    region = imagery.region(tmp_path, CASES["everything_at_once"].make(tmp_path))
    told = []
    for options in ([], ["--dry-run"]):
        assert run.main([str(region), *options]) == 2
        told.append(capsys.readouterr().err.splitlines())
    assert told[0] == told[1]
    assert len(told[0]) == len(CASES["everything_at_once"].sentences)


def test_there_are_enough() -> None:
    assert len(CASES) >= 80


def test_the_process_ends_with_the_code_and_without_a_traceback(tmp_path: Path) -> None:
    region = imagery.region(tmp_path, CASES["truncated_strips"].make(tmp_path))
    command = [sys.executable, "-m", "pipeline.run", str(region)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{tmp_path}/a.tif: is truncated: 17 of 20 blocks")
    assert len(ended.stderr.splitlines()) == 1


def test_nothing_connects_to_where_bad_files_point(
    tmp_path: Path, listener: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    vrt = (
        f'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>/vsicurl/{address}/b.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "a.tif").write_text(vrt)
    sound = imagery.write(tmp_path / "b.tif", imagery.noise(9, 9))
    for suffix in (".msk", ".ovr", ".aux.xml"):
        sound.with_name(sound.name + suffix).write_text(vrt)
    (tmp_path / "area.geojson").write_text(f"<OGRVRTDataSource>/vsicurl/{address}/a</OGRVRTDataSource>")
    scenes = f"[a.tif, b.tif, /vsicurl/{address}/c.tif, '{address}/d.tif', 'vrt://{address}/e.tif']"
    assert run.main([str(imagery.region(tmp_path, f"scenes: {scenes}\narea: area.geojson"))]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 5
    with pytest.raises(TimeoutError):
        listener.accept()
