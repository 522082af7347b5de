"""From a connected crew to footprints: the second half of the story that ``run`` tells; ``publish`` is its end."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pipeline import fingerprint, growth, machine, plan, store, tasks
from pipeline.compute import Computation, Ledger
from pipeline.config import Region
from pipeline.errors import InputError, Interrupted
from pipeline.footprints import finish, outline, weld
from pipeline.graph import Crew
from pipeline.jobs import Job
from pipeline.journal import OUTLINE, SAMPLES, Journal
from pipeline.mosaic import Mosaic
from pipeline.plan import Plan, indices
from pipeline.progress import Progress
from pipeline.publish import Publication
from pipeline.trial import Request
from pipeline.words import size
from pipeline.workspace import STORE, Workspace, verify
from tiling.grid import Axis, BlockIndex, Grid

# Places on seams at which the error of a halo below the reach is measured; each costs one small tile.
SEAMS_SAMPLED = 8


@dataclass(frozen=True, slots=True)
class Production:
    """One run of a region in its output folder."""

    region: Region
    """The config."""
    mosaic: Mosaic
    """The scenes on one grid."""
    request: Request
    """The network that is asked for."""
    fingerprint: Mapping[str, Any]
    """What determines the output."""
    space: Workspace
    """The output folder, held."""
    progress: Progress
    """Who is told."""
    anew: bool = False
    """Whether what earlier runs made is removed, once it is known that this one can be done."""

    def run(self, crew: Crew) -> dict[str, Any]:
        """Compute what is missing and publish all; returns the content of run.json.

        Raises:
            Interrupted: asked to stop; what is done is kept.
            BlocksFailed: a block failed and ``on_error`` is stop.
        """
        began = time.perf_counter()
        head = None if self.anew else self.space.head()
        engine = crew.call(self.request.remembering(head).answer, self.mosaic)
        made = plan.make(self.region, self.mosaic, self.request.weights, engine, head)
        refuse_full_disk(made)
        if self.anew:
            self.space.clear()
        with closing(self._open(made)) as journal:
            return self._produce(made, journal, crew, began)

    def _produce(self, made: Plan, journal: Journal, crew: Crew, began: float) -> dict[str, Any]:
        """Compute, weld, finish, publish."""
        resumed = sum(1 for _ in journal.blocks(SAMPLES))
        crew.prepare(made)
        ledger = self._compute(made, journal, crew, resumed)
        seams = self._seams(made, crew, resumed)
        rows = self._footprints(made, ledger, crew)
        measured = {"seconds": self._seconds(began), "peak_memory": machine.peak_memory()}
        facts = {"resumed_blocks": resumed, "seam_error": seams, "precision_check": made.engine.check, **measured}
        publication = Publication(self.region, self.request.weights, self.space, made, journal, ledger, crew)
        return publication.publish(rows, facts)

    def _open(self, made: Plan) -> Journal:
        """Open the journal and the store, and forget what is not as the journal says."""
        self.space.recover(made.probabilities)
        journal = self._journal(made)
        self.space.unpublish(made.probabilities)
        store.ensure(made.probabilities, made.grid, self.mosaic.affine, self.mosaic.crs)
        store.sweep(made.probabilities)
        bad = verify(journal, SAMPLES, lambda block: store.shard_path(made.probabilities, block))
        for block in bad + verify(journal, SAMPLES, made.origin_path, "origin"):
            journal.forget(OUTLINE, tasks.readers(block, made.grid))
        verify(journal, OUTLINE, made.outline_path)
        return journal

    def _journal(self, made: Plan) -> Journal:
        """A new journal, or what of the one that is there holds for this config and these scenes."""
        head = self.space.head()
        if head is None:
            self.space.forget()
            sizes = {"block": list(made.grid.block_shape), "shape": list(made.grid.shape)}
            return self.space.begin(self.fingerprint, {**sizes, "precision": made.engine.precision})
        if changes := fingerprint.difference(head["fingerprint"], self.fingerprint):
            said = f"{made.output}: goes on from what is there, with these changes:"
            self.progress.say("\n  ".join([said, *changes]))
        new = fingerprint.added(head["fingerprint"], self.fingerprint)
        return growth.extend(self.space, made, self.fingerprint, new) if new else self.space.resume(self.fingerprint)

    def _compute(self, made: Plan, journal: Journal, crew: Crew, resumed: int) -> Ledger:
        """Samples of the blocks that lack them, and outlines."""
        blocks = int(made.active.sum())
        if resumed < blocks:
            self.progress.start("network", SAMPLES, blocks, resumed)
        else:
            traced = int(outline.traced(made.active).sum())
            self.progress.start("outlines", OUTLINE, traced, sum(1 for _ in journal.blocks(OUTLINE)))
        ledger = Computation(made, journal, crew, self.progress, self.region.on_error == "stop").run()
        self._unless_stopped(crew)
        return ledger

    def _seams(self, made: Plan, crew: Crew, resumed: int) -> float:
        """The error at seams; what an earlier run measured, if all its samples are those of this one."""
        before = self.space.report
        same = fingerprint.added(before.get("fingerprint", {}), self.fingerprint) == []
        if same and resumed == made.active.sum():
            return float(before["seam_error"])
        return seam_error(made, crew)

    def _footprints(self, made: Plan, ledger: Ledger, crew: Crew) -> finish.Stored:
        """Weld, then finish every block; rows in the blocks' order."""
        crew.rest()
        blocks = [block for block in indices(outline.traced(made.active)) if block not in ledger.untraced]
        paths = ((block, made.outline_path(block)) for block in blocks)
        index = weld.weld(paths, made.welded, complete=not ledger.untraced)
        self.progress.start("footprints", "finish", len(blocks))
        lost: set[BlockIndex] = set()
        for outcome in crew.each(Job("finish", block, index.sources(block)) for block in blocks):
            if outcome.error is not None:
                ledger.give_up(outcome, stop=self.region.on_error == "stop")
                lost.add(outcome.job.block)
            self.progress.ended(outcome)
        self.progress.close()
        self._unless_stopped(crew)
        return finish.Stored([made.footprint_path(block) for block in blocks if block not in lost])

    def _unless_stopped(self, crew: Crew) -> None:
        if crew.stop.requested is not None:
            self.progress.close()
            raise Interrupted(f"{self.region.output}: interrupted; run the same command again and it resumes")

    def _seconds(self, began: float) -> dict[str, float]:
        stages = {stage: round(seconds, 3) for stage, seconds in sorted(self.progress.seconds.items())}
        return {**stages, "wall": round(time.perf_counter() - began, 3)}


def refuse_full_disk(made: Plan) -> None:
    """Stop before anything is computed that could not be stored beside what an earlier run has stored.

    Raises:
        InputError: the disk has less room than the plan needs.
    """
    free, places = machine.disk_free(made.output), (made.work, made.output / STORE)
    stored = sum(file.stat().st_size for place in places for file in place.rglob("*") if file.is_file())
    if made.projection.disk - stored > free:
        raise InputError(
            f"output: {made.output} needs up to {size(made.projection.disk - stored)} more, "
            f"the disk has {size(free)} free; make room or choose another output"
        )


def seam_error(made: Plan, crew: Crew) -> float:
    """Max |ΔP| to exact tiling at sampled seams; 0 where the halo covers the reach of the network, which is exact."""
    axes, facts = (made.grid.rows, made.grid.cols), made.engine.facts
    if all(axis.before >= facts.before and axis.after >= facts.after for axis in axes):
        return 0.0
    return max((float(crew.call(tasks.seam_error, place)) for place in sampled_seams(made.grid)), default=0.0)


def sampled_seams(grid: Grid) -> list[tuple[int, int]]:
    """Pixels (row, col) where blocks meet, at most ``SEAMS_SAMPLED``, spread over the mosaic."""
    if len(grid) == 1:
        return []
    rows, cols = _crossings(grid.rows), _crossings(grid.cols)
    places = range(0, len(rows) * len(cols), max(1, len(rows) * len(cols) // SEAMS_SAMPLED))
    return [(rows[place // len(cols)], cols[place % len(cols)]) for place in places][:SEAMS_SAMPLED]


def _crossings(axis: Axis) -> list[int]:
    """Where blocks of an axis meet, px; the middle of the only one, where seams of the other axis are looked at."""
    return [axis.span(index).stop for index in range(axis.blocks - 1)] or [axis.size // 2]
