"""The output folder of a run: who holds it, what it was begun with, what is done."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import fingerprint, lease
from pipeline.durable import replace, sync
from pipeline.errors import OutputError
from pipeline.journal import Journal, Seal
from pipeline.log import now
from tiling.grid import BlockIndex, Window

JOURNAL = "journal.jsonl"
STORE = "probability.zarr"
# Files whose checksums are under way at a time: the driver's memory must not grow with the region.
VERIFIED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Workspace:
    """An output folder that this run holds."""

    output: Path
    """The folder."""

    @property
    def work(self) -> Path:
        """Folder of everything unfinished."""
        return self.output / ".work"

    @property
    def journal_path(self) -> Path:
        """The journal of what is done."""
        return self.work / JOURNAL

    def finished(self, print_: Mapping[str, Any]) -> dict[str, Any] | None:
        """The report of a finished run of the same fingerprint whose files are as it left them; else None.

        Raises:
            OutputError: the folder holds the result of another configuration.
        """
        head, report = self.head(), read_json(self.output / "run.json")
        if head is not None:
            self._refuse(head["fingerprint"], print_, "begun")
        if report is None or report.get("status") != "done":
            return None
        self._refuse(report["fingerprint"], print_, "finished")
        if report["fingerprint"] != print_:
            return None
        whole = all(Seal.of(self.output / name) == Seal(**seal) for name, seal in report["files"].items())
        return report if whole else None

    def head(self) -> dict[str, Any] | None:
        """The head of an unfinished run's journal."""
        return Journal.peek(self.journal_path)

    def added(self, print_: Mapping[str, Any]) -> list[Window] | None:
        """What the scenes cover that an earlier run did not have; None where there is none to continue."""
        head = self.head()
        return None if head is None else fingerprint.added(head["fingerprint"], print_)

    def begin(self, print_: Mapping[str, Any], decided: Mapping[str, Any]) -> Journal:
        """Start a journal, or continue the one that is there; ``finished`` has said that it may be."""
        if self.head() is None:
            return Journal.create(self.journal_path, {"fingerprint": print_, "began": now(), **decided})
        return Journal.open(self.journal_path)

    def _refuse(self, before: Mapping[str, Any], after: Mapping[str, Any], state: str) -> None:
        """Refuse to continue with another configuration; more scenes are none."""
        changes = fingerprint.difference(before, after)
        if changes and fingerprint.added(before, after) is None:
            listed = "\n  ".join(changes)
            raise OutputError(
                f"{self.output}: was {state} with another configuration or other scenes:\n  {listed}\n"
                "undo the change, choose another output, or start anew with --overwrite"
            )

    def publish_store(self, finished: Path) -> None:
        """Move the store of probabilities to its final place."""
        final = self.output / STORE
        if final.exists():
            shutil.rmtree(final)
        finished.rename(final)
        sync(self.output)

    def unpublish(self, unfinished: Path) -> None:
        """Take a published store back into work, when blocks of it are to be computed again."""
        final = self.output / STORE
        if final.exists() and not unfinished.exists():
            final.rename(unfinished)

    def tidy(self) -> None:
        """Remove what only an unfinished run needs; the journal and the thumbnails serve when scenes are added."""
        for path in self._contents():
            if path.name not in (JOURNAL, "thumbnails"):
                remove(path)

    def clear(self) -> None:
        """Remove what earlier runs made; other files in the folder stay."""
        report = read_json(self.output / "run.json") or {}
        made = {"probability.zarr", "run.json", "run.log", "preview.png", "report.html", *report.get("files", ())}
        for path in [*(self.output / name for name in sorted(made)), *self._contents()]:
            remove(path)

    def _contents(self) -> list[Path]:
        """Everything in the work folder but the lease and its lock."""
        return [path for path in self.work.iterdir() if not path.name.startswith("lease")]

    def sweep(self) -> None:
        """Remove what a killed run left half-written beside its files."""
        for folder in (self.output, self.output / "masks", self.work):
            for path in folder.glob(".*.partial*"):
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def hold(output: Path) -> Iterator[Workspace]:
    """Hold an output folder for this run alone; it is made when missing.

    Raises:
        OutputError: another run holds it, or it cannot be written.
    """
    space = Workspace(output)
    with ExitStack() as stack:
        try:
            space.work.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lease.hold(space.work / "lease"))
        except OSError as error:
            raise OutputError(f"{output}: cannot be written ({error.strerror}); choose another output") from error
        space.sweep()
        yield space


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None when the file is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object for people and programs, whole or not at all."""
    with replace(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def verify(journal: Journal, stage: str, path_of: Callable[[BlockIndex], Path]) -> list[BlockIndex]:
    """Forget blocks whose file is not what was journalled (bit rot, a lost write); gives those blocks."""
    blocks = list(journal.blocks(stage))
    bad: list[BlockIndex] = []
    with ThreadPoolExecutor() as pool:
        for batch in (blocks[start : start + VERIFIED_AT_ONCE] for start in range(0, len(blocks), VERIFIED_AT_ONCE)):
            seals = pool.map(lambda block: Seal.of(path_of(block)), batch)
            bad += [block for block, seal in zip(batch, seals, strict=True) if not journal.sealed(stage, block, seal)]
    journal.forget(stage, bad)
    return bad
