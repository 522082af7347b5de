"""The output folder of a run: who holds it, what it was begun with, what is done."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import fingerprint, lease
from pipeline.durable import read_json, remove, supplant, sweep, write_json
from pipeline.errors import OutputError
from pipeline.jobs import SAMPLES
from pipeline.journal import Journal, Seal
from pipeline.log import now
from pipeline.names import (
    ASIDE,
    JOURNAL,
    KEPT,
    LOG,
    MASKS,
    ORIGIN,
    OURS,
    PUBLISHED,
    REPLACED,
    REPORT,
    STORE,
    VOUCHED,
    WORK,
)
from tiling.grid import BlockIndex

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
        return self.output / WORK

    @property
    def journal_path(self) -> Path:
        """The journal of what is done."""
        return self.work / JOURNAL

    @property
    def report(self) -> dict[str, Any]:
        """What run.json says; empty where there is none, or one that no run of ours wrote."""
        content = read_json(self.output / REPORT) or {}
        scenes = content.get("fingerprint", {}).get("scenes") if isinstance(content.get("fingerprint"), dict) else None
        return content if isinstance(scenes, list) and isinstance(content.get("files"), dict) else {}

    def finished(self, identity: Mapping[str, Any]) -> bool:
        """Whether a run of this fingerprint has finished, and its files are as it left them.

        Raises:
            OutputError: the folder holds samples of another configuration.
        """
        report, head = self.report if self.report.get("status") == "done" else None, self.head()
        if head is None and report is None:
            self._refuse_foreign()
        before = {state: each["fingerprint"] for state, each in (("begun", head), ("finished", report)) if each}
        for state, earlier in before.items():
            self._refuse(earlier, identity, state)
        if report is None or any(earlier != identity for earlier in before.values()):
            return False
        files = report["files"]
        there = self.published == files.keys() and (self.output / STORE).exists()
        return there and all(Seal.of(self.output / name) == Seal(**seal) for name, seal in files.items())

    def head(self) -> dict[str, Any] | None:
        """The head of an unfinished run's journal."""
        return Journal.peek(self.journal_path)

    def begin(self, identity: Mapping[str, Any], decided: Mapping[str, Any]) -> Journal:
        """Start a journal."""
        return Journal.create(self.journal_path, {"fingerprint": identity, "began": now(), **decided})

    def resume(self, identity: Mapping[str, Any]) -> Journal:
        """Continue the journal that is there; of other settings of the footprints its samples alone."""
        journal = Journal.open(self.journal_path)
        if journal.head["fingerprint"] == identity:
            return journal
        return journal.renewed({"fingerprint": dict(identity)}, journal.blocks(SAMPLES))

    def _refuse(self, before: Mapping[str, Any], after: Mapping[str, Any], state: str) -> None:
        """Refuse to continue where samples that are there would have to be other ones."""
        if fingerprint.added(before, after) is None:
            listed = "\n  ".join(fingerprint.difference(*map(fingerprint.of_samples, (before, after))))
            raise OutputError(
                f"{self.output}: was {state} with another configuration or other scenes:\n  {listed}\n"
                "undo the change, choose another output, or start anew with --overwrite"
            )

    def _refuse_foreign(self) -> None:
        """Refuse to replace what has the name of an output, but was put here by no run."""
        if self.report or (self.work / PUBLISHED).exists():
            return
        names = [path.name for path in sorted(self.output.glob("*"))]  # none where there is no folder yet
        if there := [name for name in names if name in (STORE, REPORT) or OURS.fullmatch(name)]:
            raise OutputError(
                f"{self.output}: holds {', '.join(there)}, which no run made that is known here, and a run would "
                "replace; choose another output, or start anew with --overwrite"
            )

    @property
    def published(self) -> set[str]:
        """Names of the files that runs have put here, or may have before they were killed."""
        begun = read_json(self.work / PUBLISHED) or {}
        return {name for name in (*self.report.get("files", ()), *begun.get("files", ())) if OURS.fullmatch(name)}

    def announce(self, names: Iterable[str]) -> None:
        """Note, before any of them appears, the names of the files that are about to be published."""
        write_json(self.work / PUBLISHED, {"files": sorted(self.published | set(names))})

    def withdraw(self, names: Iterable[str]) -> None:
        """Remove what was published before and is not among ``names``."""
        for path in [self.output / name for name in self.published - set(names)]:
            path.unlink(missing_ok=True)
            if path.parent != self.output and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def publish_store(self, finished: Path) -> None:
        """Move the store of probabilities to its final place."""
        supplant(self.output / STORE, finished, self.work / REPLACED)

    def unpublish(self, unfinished: Path) -> None:
        """Take a published store back into work."""
        final = self.output / STORE
        if final.exists() and not unfinished.exists():
            final.rename(unfinished)

    def grow(self, unfinished: Path, grown: Path) -> None:
        """Put a store of more scenes in the place of the one that is there."""
        supplant(unfinished, grown, self.work / ASIDE)

    def recover(self, unfinished: Path) -> None:
        """Take back the store that a run had put aside when it was killed, if no other one took its place."""
        if unfinished.exists():
            remove(self.work / ASIDE)
        elif (self.work / ASIDE).exists():
            (self.work / ASIDE).rename(unfinished)

    def tidy(self) -> None:
        """Remove what only an unfinished run needs; the rest serves when scenes or other footprints are wanted."""
        for path in self._contents():
            if path.name not in KEPT:
                remove(path)

    def clear(self) -> None:
        """Remove what earlier runs made; other files in the folder stay.

        The journal goes first: when this is cut short, the next run starts anew from whatever is left.
        """
        remove(self.journal_path)
        self.withdraw(())
        remove(self.output / REPORT)
        remove(self.output / LOG)
        self.forget()
        remove(self.work / PUBLISHED)  # last: until then what is left counts as a run's

    def forget(self) -> None:
        """Remove what no journal vouches for: samples, outlines and thumbnails of who knows which blocks."""
        for path in (self.output / STORE, *(self.work / name for name in VOUCHED)):
            remove(path)

    def _contents(self) -> list[Path]:
        """Everything in the work folder but the lease and its lock."""
        return [path for path in self.work.iterdir() if not path.name.startswith("lease")]

    def sweep(self) -> None:
        """Remove what a killed run left half-written beside its files."""
        for folder in (self.output, self.output / MASKS, self.work, self.work / ORIGIN):
            sweep(folder)


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


def verify(
    journal: Journal, stage: str, path_of: Callable[[BlockIndex], Path], seal_name: str = "seal"
) -> list[BlockIndex]:
    """Forget blocks whose file is not what was journalled (bit rot, a lost write); gives those blocks."""
    blocks = list(journal.blocks(stage))
    bad: list[BlockIndex] = []
    with ThreadPoolExecutor() as pool:
        for batch in (blocks[start : start + VERIFIED_AT_ONCE] for start in range(0, len(blocks), VERIFIED_AT_ONCE)):
            seals = pool.map(lambda block: Seal.of(path_of(block)), batch)
            pairs = zip(batch, seals, strict=True)
            bad += [block for block, seal in pairs if not journal.sealed(stage, block, seal, seal_name)]
    journal.forget(stage, bad)
    return bad
