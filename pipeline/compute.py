"""The first half of a run: every block's samples, and its outlines as soon as its neighbours' samples are final."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import store
from pipeline.errors import BlocksFailed
from pipeline.footprints import outline
from pipeline.graph import ATTEMPTS, Crew
from pipeline.jobs import OUTLINE, SAMPLES, Finished, Job
from pipeline.journal import Journal
from pipeline.plan import Plan, indices
from pipeline.progress import Progress
from pipeline.store import DamagedBlock
from tiling.grid import BlockIndex

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Ledger:
    """The state of every block: all that the driver remembers of a region, a few bytes for each."""

    final: Flags
    """bool (blocks + 1, for what lies beyond the mosaic): samples that will not change any more in this run."""
    wanted: Flags
    """bool (blocks): its outline can hold something, because it or a neighbour that it reads is active."""
    outlined: Flags
    """bool (blocks): its outline is done or under way."""
    failed: dict[BlockIndex, str] = field(default_factory=dict)
    """Blocks that were given up, with the reason."""
    untraced: set[BlockIndex] = field(default_factory=set)
    """Those of them that have no outlines: what reaches them is lost with them."""
    mended: Counter[BlockIndex] = field(default_factory=Counter)
    """How often the samples of a block were computed again because they did not read back."""

    @classmethod
    def resume(cls, plan: Plan, journal: Journal) -> "Ledger":
        """Start from what the journal holds."""
        final = np.pad(~plan.active, ((0, 1), (0, 1)), constant_values=True)
        ledger = cls(final, outline.traced(plan.active), np.zeros_like(plan.active))
        for block in journal.blocks(SAMPLES):
            ledger.final[block.row, block.col] = True
        for block in journal.blocks(OUTLINE):
            ledger.outlined[block.row, block.col] = True
        return ledger

    def todo(self) -> Iterator[BlockIndex]:
        """Blocks whose samples are missing, row by row."""
        return indices(~self.final[:-1, :-1])

    def outlines(self) -> Iterator[BlockIndex]:
        """Blocks whose outline can be traced now."""
        final = self.final
        neighbours = final[:-1, 1:] & final[1:, :-1] & final[1:, 1:]
        return indices(self.wanted & ~self.outlined & final[:-1, :-1] & neighbours)

    def freed(self, block: BlockIndex) -> list[BlockIndex]:
        """Blocks whose outline can be traced now that the samples of ``block`` are final."""
        rows, cols = (range(max(0, place - 1), place + 1) for place in (block.row, block.col))
        return [BlockIndex(row, col) for row in rows for col in cols if self.may_outline(row, col)]

    def may_outline(self, row: int, col: int) -> bool:
        """Whether a block waits for its outline, and all samples that this needs are final."""
        waits = self.wanted[row, col] and not self.outlined[row, col]
        return bool(waits and self.final[row : row + 2, col : col + 2].all())

    def give_up(self, outcome: Finished, stop: bool) -> None:
        """Go on without a block whose job failed for good.

        Raises:
            BlocksFailed: the run is to ``stop`` instead.
        """
        stage, block, error = outcome.job.stage, outcome.job.block, outcome.error
        if stop:
            raise BlocksFailed(f"block {block} failed ({stage}): {error}; on_error is stop") from error
        self.failed[block] = f"{stage}: {error}"
        if stage == OUTLINE:
            self.untraced.add(block)

    def whole(self, block: BlockIndex) -> bool:
        """Whether an outline rests on real samples only; else it is traced again once the failed blocks are mended."""
        return not any(0 <= bad.row - block.row <= 1 and 0 <= bad.col - block.col <= 1 for bad in self.failed)


@dataclass(slots=True)
class Computation:
    """Feeds the crew and takes its results, until every block is final and outlined."""

    plan: Plan
    """The plan."""
    journal: Journal
    """Where what is done is recorded."""
    crew: Crew
    """The workers."""
    progress: Progress
    """Who is told."""
    stop_on_error: bool
    """``on_error: stop``."""

    def run(self) -> Ledger:
        """Compute what the journal does not hold yet.

        Raises:
            BlocksFailed: a block failed and ``stop_on_error`` is set.
        """
        ledger = Ledger.resume(self.plan, self.journal)
        todo = self._todo(ledger)
        while self._admit(todo) or self.crew.busy:
            outcomes = list(self.crew.finished())
            if not outcomes:
                break
            self._take(ledger, outcomes)
        return ledger

    @staticmethod
    def _todo(ledger: Ledger) -> Iterator[Job]:
        """What an earlier run left, as there is room for it: outlines that nobody has begun by then, and samples."""
        outlines, samples = ledger.outlines(), ledger.todo()
        for block in outlines:
            if ledger.may_outline(block.row, block.col):
                ledger.outlined[block.row, block.col] = True
                yield Job(OUTLINE, block)
        yield from (Job(SAMPLES, block) for block in samples)

    def _admit(self, todo: Iterator[Job]) -> bool:
        """Start jobs while the workers have room; whether one was started."""
        started = False
        while self.crew.has_room and (job := next(todo, None)):
            self.crew.start(job)
            started = True
        return started

    def _take(self, ledger: Ledger, outcomes: list[Finished]) -> None:
        """Record what ended, durably, before anything builds on it."""
        done = [outcome for outcome in outcomes if outcome.error is None]
        self.journal.record(*(_line(outcome) for outcome in done if self._lasts(ledger, outcome)))
        for outcome in outcomes:
            if outcome.error is not None:
                self._failed(ledger, outcome)
            elif outcome.job.stage == SAMPLES:
                self._final(ledger, outcome.job.block)
            self.progress.ended(outcome)

    def _lasts(self, ledger: Ledger, outcome: Finished) -> bool:
        return outcome.job.stage == SAMPLES or ledger.whole(outcome.job.block)

    def _final(self, ledger: Ledger, block: BlockIndex) -> None:
        ledger.final[block.row, block.col] = True
        for free in ledger.freed(block):
            ledger.outlined[free.row, free.col] = True
            self.crew.start(Job(OUTLINE, free))

    def _failed(self, ledger: Ledger, outcome: Finished) -> None:
        """Compute damaged samples again; give up what failed too often, and let its neighbours go on without it."""
        block, error = outcome.job.block, outcome.error
        if isinstance(error, DamagedBlock) and ledger.mended[error.block] < ATTEMPTS:
            self._mend(ledger, block, error.block)
            return
        ledger.give_up(outcome, self.stop_on_error)
        if outcome.job.stage == SAMPLES:
            store.forget(self.plan.probabilities, block)  # what is there may be damaged; it counts as no data
            self._final(ledger, block)

    def _mend(self, ledger: Ledger, outline: BlockIndex, damaged: BlockIndex) -> None:
        """Compute the samples of a block again that did not read back; the outline that noticed waits for them."""
        ledger.outlined[outline.row, outline.col] = False
        if ledger.final[damaged.row, damaged.col]:
            ledger.mended[damaged] += 1
            self.journal.forget(SAMPLES, [damaged])
            ledger.final[damaged.row, damaged.col] = False
            self.crew.start(Job(SAMPLES, damaged))


def _line(outcome: Finished) -> dict[str, Any]:
    """A job as a line of the journal; how long it took is for the log."""
    facts = {name: value for name, value in outcome.result.line().items() if name != "seconds"}
    return {"stage": outcome.job.stage, "block": str(outcome.job.block), **facts}
