"""The output folder: held by one run, tidied without touching what is another's, checked against what was recorded."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import durable, workspace
from pipeline.errors import OutputError
from pipeline.jobs import SAMPLES
from pipeline.journal import Journal, Seal
from pipeline.names import STORE
from pipeline.workspace import Workspace
from tiling.grid import BlockIndex

PRINT: dict[str, Any] = {"format": 1, "weights": "a", "tiles.size": 64, "scenes": [["a.tif", "0", 0, 9, 0, 9]]}
OTHER = {**PRINT, "tiles.size": 96}


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Workspace]:
    with workspace.hold(tmp_path / "out") as space:
        yield space


def write(folder: Path, *names: str) -> None:
    """Files that hold their own names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(folder: Path) -> set[str]:
    """Files below a folder, but for the lease."""
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name for name in files if "lease" not in name}


def finish(space: Workspace, identity: dict[str, Any], *made: str) -> None:
    """Leave what a finished run leaves."""
    write(space.output, *made, "probability.zarr/zarr.json")
    seals = {name: Seal.of(space.output / name) for name in made}
    files = {name: {"size": seal.size, "crc": seal.crc} for name, seal in seals.items() if seal}
    durable.write_json(space.output / "run.json", {"status": "done", "fingerprint": identity, "files": files})


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file/out: cannot be written"), workspace.hold(tmp_path / "file/out"):
        pass


def test_what_a_killed_run_left_half_written_is_swept_and_the_rest_stays(tmp_path: Path) -> None:
    output = tmp_path / "out"
    halves = [".run.json.77.partial.json", "masks/.a.tif.77.partial.tif", ".work/.journal.jsonl.77.partial.jsonl"]
    write(output, *halves, "notes.partial", "masks/a.tif", ".work/journal.jsonl")
    with workspace.hold(output):
        assert names(output) == {"notes.partial", "masks/a.tif", ".work/journal.jsonl"}


def test_nothing_is_finished_in_an_empty_folder(space: Workspace) -> None:
    assert not space.finished(PRINT)
    assert space.head() is None


def test_a_finished_run_is_known_by_its_fingeridentityand_whole_files(space: Workspace) -> None:
    finish(space, PRINT, "footprints.gpkg", "masks/a.tif")
    assert space.finished(PRINT)
    with pytest.raises(OutputError, match=r"was finished with another .*\n  tiles.size: was 64, is now 96\n.*--overw"):
        space.finished(OTHER)
    (space.output / "masks/a.tif").write_text("changed")
    assert not space.finished(PRINT)


def test_a_run_that_was_begun_otherwise_is_refused(space: Workspace) -> None:
    space.begin(PRINT, {}).close()
    assert not space.finished(PRINT)
    with pytest.raises(OutputError, match="was begun with another"):
        space.finished(OTHER)


def test_more_scenes_are_no_other_configuration(space: Workspace) -> None:
    space.begin(PRINT, {}).close()
    more = {**PRINT, "scenes": [*PRINT["scenes"], ["b.tif", "1", 0, 9, 9, 18]]}
    assert not space.finished(more)
    with pytest.raises(OutputError, match=r"scenes: a.tif is gone"):
        space.finished({**PRINT, "scenes": more["scenes"][1:]})


def test_clearing_leaves_the_files_of_others(space: Workspace) -> None:
    finish(space, PRINT, "footprints.gpkg", "masks/a.tif", "preview.png", "report.html")
    write(space.output, "run.log", "notes.txt", "masks/mine.tif", ".work/journal.jsonl", ".work/outlines/0-0.arrow")
    space.clear()
    assert names(space.output) == {"notes.txt", "masks/mine.tif"}


@pytest.mark.parametrize("name", ["footprints.gpkg", "probability.zarr/zarr.json", "run.json", "preview.png"])
def test_what_has_the_name_of_an_output_and_is_of_no_run_is_not_replaced(name: str, space: Workspace) -> None:
    write(space.output, name, "notes.txt")
    with pytest.raises(OutputError, match=rf"holds {name.split('/', maxsplit=1)[0]}, which no run made .*--overwrite"):
        space.finished(PRINT)
    space.begin(PRINT, {}).close()
    assert not space.finished(PRINT), "a run begins where somebody cleared the way"


@pytest.mark.parametrize(
    "report",
    [
        {"status": "done"},
        {"status": "done", "fingerprint": 1, "files": {}},
        {"status": "done", "fingerprint": {"scenes": None}, "files": {}},
        {"status": "done", "fingerprint": {"scenes": []}, "files": 3},
    ],
)
def test_a_report_that_is_not_ours_says_nothing(report: dict[str, Any], space: Workspace) -> None:
    durable.write_json(space.output / "run.json", report)
    assert space.report == {}
    assert space.published == set()
    with pytest.raises(OutputError, match=r"holds run.json, which no run made"):
        space.finished(PRINT)


def test_a_report_that_names_what_no_run_writes_cannot_have_it_removed(space: Workspace, tmp_path: Path) -> None:
    write(tmp_path, "precious/a", "b.tif")
    finish(space, PRINT, "footprints.gpkg", "notes.txt", "mine/c.tif", "masks/a.tif")
    names_ = [str(tmp_path / "precious"), "../b.tif", "..", ".work", "notes.txt", "mine/c.tif", "masks/../notes.txt"]
    report = space.report
    report["files"] |= {name: {"size": 1, "crc": 1} for name in names_}
    durable.write_json(space.output / "run.json", report)
    durable.write_json(space.work / "published.json", {"files": names_})
    space.clear()
    assert names(tmp_path) == {"precious/a", "b.tif", "out/notes.txt", "out/mine/c.tif"}


def test_tidying_keeps_what_serves_when_scenes_are_added(space: Workspace) -> None:
    write(
        space.work, "journal.jsonl", "thumbnails/0-0.jpg", "outlines/0-0.arrow", "footprints/0-0.arrow", "welded.arrow"
    )
    write(space.output, "footprints.gpkg")
    space.tidy()
    assert names(space.output) == {".work/journal.jsonl", ".work/thumbnails/0-0.jpg", "footprints.gpkg"}


def test_a_store_is_published_over_an_old_one_and_taken_back(space: Workspace) -> None:
    unfinished = space.work / "probability.zarr"
    write(space.output, "probability.zarr/old")
    write(unfinished, "new")
    space.publish_store(unfinished)
    assert names(space.output) == {"probability.zarr/new"}
    space.unpublish(unfinished)
    assert names(space.output) == {".work/probability.zarr/new"}
    write(space.output, "probability.zarr/old")
    space.unpublish(unfinished)
    assert names(unfinished) == {"new"}, "what is unfinished is newer"


@contextlib.contextmanager
def cut_short(after: int) -> Iterator[None]:
    """Crash when so many renamings and removals are done."""
    left = iter(range(after))

    def dying(act: Any) -> Any:
        def call(*arguments: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            act(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(durable, "remove", dying(durable.remove))
        yield


@pytest.mark.parametrize("after", range(5))
def test_growth_that_is_cut_short_leaves_one_whole_store(after: int, space: Workspace) -> None:
    unfinished, grown = space.work / "probability.zarr", space.work / "grown.zarr"
    write(unfinished, "old/a", "old/b")
    write(grown, "new/a", "new/b")
    write(space.output, "probability.zarr/older")
    with cut_short(after):
        space.grow(unfinished, grown)
    space.recover(unfinished)
    assert names(unfinished) in ({"old/a", "old/b"}, {"new/a", "new/b"})
    assert not (space.work / "aside.zarr").exists(), "else a later run would take it back"


@pytest.mark.parametrize("after", range(5))
def test_publishing_that_is_cut_short_loses_nothing_of_the_new_store(after: int, space: Workspace) -> None:
    unfinished = space.work / "probability.zarr"
    write(space.output, "probability.zarr/old/a")
    write(unfinished, "new/a", "new/b")
    with cut_short(after):
        space.publish_store(unfinished)
    assert not (space.output / STORE).exists() or names(space.output / STORE) in ({"old/a"}, {"new/a", "new/b"})
    space.recover(unfinished)
    space.unpublish(unfinished)
    assert names(unfinished) == {"new/a", "new/b"}


@settings(max_examples=30, deadline=None)
@given(files=st.dictionaries(st.integers(0, 9), st.sampled_from(["whole", "changed", "longer", "gone", "empty"])))
def test_verifying_forgets_exactly_what_is_not_as_recorded(
    files: dict[int, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("verify")
    journal = Journal.create(folder / "journal", {})

    def path_of(block: BlockIndex) -> Path:
        return folder / str(block)

    for col, fate in files.items():
        block = BlockIndex(0, col)
        if fate != "empty":
            path_of(block).write_bytes(bytes([col]) * 20)
        seal = Seal.of(path_of(block))
        recorded = seal and {"size": seal.size, "crc": seal.crc}
        journal.record({"stage": SAMPLES, "block": str(block), "seal": recorded})
        spoil(path_of(block), fate)
    bad = {BlockIndex(0, col) for col, fate in files.items() if fate in ("changed", "longer", "gone")}
    assert set(workspace.verify(journal, SAMPLES, path_of)) == bad
    assert set(journal.blocks(SAMPLES)) == {BlockIndex(0, col) for col in files} - bad
    assert workspace.verify(journal, SAMPLES, path_of) == []
    journal.close()


def spoil(path: Path, fate: str) -> None:
    """Do to a file what may happen to it."""
    if fate == "changed":
        path.write_bytes(b"\xff" + path.read_bytes()[1:])
    elif fate == "longer":
        path.write_bytes(path.read_bytes() + b"\0")
    elif fate == "gone":
        path.unlink()


def test_more_blocks_than_are_verified_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "VERIFIED_AT_ONCE", 4)
    journal = Journal.create(tmp_path / "journal", {})
    for col in range(11):
        journal.record({"stage": SAMPLES, "block": f"0-{col}", "seal": {"size": 1, "crc": 1} if col % 3 else None})
    gone = [BlockIndex(0, col) for col in range(11) if col % 3]
    assert workspace.verify(journal, SAMPLES, lambda block: tmp_path / str(block)) == gone
    journal.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"a": 1'])
def test_torn_json_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    assert durable.read_json(tmp_path / "a.json") is None
    assert durable.read_json(tmp_path / "missing.json") is None


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    durable.write_json(path, {"a": "ü", "b": [1, None]})
    assert durable.read_json(path) == {"a": "ü", "b": [1, None]} == json.loads(path.read_text())
    with pytest.raises(ValueError, match="JSON"):
        durable.write_json(path, {"a": float("nan")})
    assert durable.read_json(path) == {"a": "ü", "b": [1, None]}
    assert names(tmp_path) == {"a.json"}
