"""From a connected crew to footprints: the second half of the story that ``run`` tells; ``publish`` is its end."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pipeline import fingerprint, growth, machine, store, tasks
from pipeline.compute import Computation, Ledger
from pipeline.config import Region
from pipeline.errors import InputError
from pipeline.footprints import finish, outline, weld
from pipeline.graph import Crew
from pipeline.jobs import FINISH, OUTLINE, SAMPLES, Job
from pipeline.journal import Journal
from pipeline.mosaic import Mosaic
from pipeline.names import STORE
from pipeline.plan import Plan, indices, make
from pipeline.progress import Progress
from pipeline.publish import Publication
from pipeline.trial import Request
from pipeline.words import size
from pipeline.workspace import Workspace, verify
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
        plan = make(self.region, self.mosaic, self.request.weights, engine, head)
        refuse_full_disk(plan)
        if self.anew:
            self.space.clear()
        with closing(self._open(plan)) as journal:
            return self._produce(plan, journal, crew, began)

    def _produce(self, plan: Plan, journal: Journal, crew: Crew, began: float) -> dict[str, Any]:
        """Compute, weld, finish, publish."""
        resumed = sum(1 for _ in journal.blocks(SAMPLES))
        crew.prepare(plan)
        ledger = self._compute(plan, journal, crew, resumed)
        seams = self._seams(plan, crew, resumed)
        rows = self._footprints(plan, ledger, crew)
        measured = {"seconds": self._seconds(began), "peak_memory": machine.peak_memory()}
        facts = {"resumed_blocks": resumed, "seam_error": seams, "precision_check": plan.engine.check, **measured}
        publication = Publication(self.region, self.request.weights, self.space, plan, journal, ledger, crew)
        return publication.publish(rows, facts)

    def _open(self, plan: Plan) -> Journal:
        """Open the journal and the store, and forget what is not as the journal says."""
        self.space.recover(plan.probabilities)
        journal = self._journal(plan)
        self.space.unpublish(plan.probabilities)
        store.ensure(plan.probabilities, plan.grid, self.mosaic.affine, self.mosaic.crs)
        store.sweep(plan.probabilities)
        bad = verify(journal, SAMPLES, lambda block: store.shard_path(plan.probabilities, block))
        for block in bad + verify(journal, SAMPLES, plan.origin_path, "origin"):
            journal.forget(OUTLINE, tasks.readers(block, plan.grid))
        verify(journal, OUTLINE, plan.outline_path)
        return journal

    def _journal(self, plan: Plan) -> Journal:
        """A new journal, or what of the one that is there holds for this config and these scenes."""
        head = self.space.head()
        if head is None:
            self.space.forget()
            sizes = {"block": list(plan.grid.block_shape), "shape": list(plan.grid.shape)}
            return self.space.begin(self.fingerprint, {**sizes, "precision": plan.engine.precision})
        if changes := fingerprint.difference(head["fingerprint"], self.fingerprint):
            said = f"{plan.output}: goes on from what is there, with these changes:"
            self.progress.say("\n  ".join([said, *changes]))
        new = fingerprint.added(head["fingerprint"], self.fingerprint)
        return growth.extend(self.space, plan, self.fingerprint, new) if new else self.space.resume(self.fingerprint)

    def _compute(self, plan: Plan, journal: Journal, crew: Crew, resumed: int) -> Ledger:
        """Samples of the blocks that lack them, and outlines."""
        blocks = int(plan.active.sum())
        if resumed < blocks:
            self.progress.start("network", SAMPLES, blocks, resumed)
        else:
            traced = int(outline.traced(plan.active).sum())
            self.progress.start("outlines", OUTLINE, traced, sum(1 for _ in journal.blocks(OUTLINE)))
        ledger = Computation(plan, journal, crew, self.progress, self.region.on_error == "stop").run()
        crew.stop.heed()
        return ledger

    def _seams(self, plan: Plan, crew: Crew, resumed: int) -> float:
        """The error at seams; what an earlier run measured, if all its samples are those of this one."""
        before = self.space.report
        same = fingerprint.added(before.get("fingerprint", {}), self.fingerprint) == []
        if same and resumed == plan.active.sum():
            return float(before["seam_error"])
        return seam_error(plan, crew)

    def _footprints(self, plan: Plan, ledger: Ledger, crew: Crew) -> finish.Stored:
        """Weld, then finish every block; rows in the blocks' order."""
        crew.rest()
        blocks = [block for block in indices(outline.traced(plan.active)) if block not in ledger.untraced]
        paths = ((block, plan.outline_path(block)) for block in blocks)
        index = weld.weld(paths, plan.welded, complete=not ledger.untraced)
        self.progress.start("footprints", FINISH, len(blocks))
        lost: set[BlockIndex] = set()
        for outcome in crew.each(Job(FINISH, block, index.sources(block)) for block in blocks):
            if outcome.error is not None:
                ledger.give_up(outcome, stop=self.region.on_error == "stop")
                lost.add(outcome.job.block)
            self.progress.ended(outcome)
        self.progress.close()
        crew.stop.heed()
        return finish.Stored([plan.footprint_path(block) for block in blocks if block not in lost])

    def _seconds(self, began: float) -> dict[str, float]:
        stages = {stage: round(seconds, 3) for stage, seconds in sorted(self.progress.seconds.items())}
        return {**stages, "wall": round(time.perf_counter() - began, 3)}


def refuse_full_disk(plan: Plan) -> None:
    """Stop before anything is computed that could not be stored beside what an earlier run has stored.

    Raises:
        InputError: the disk has less room than the plan needs.
    """
    free, places = machine.disk_free(plan.output), (plan.work, plan.output / STORE)
    stored = sum(file.stat().st_size for place in places for file in place.rglob("*") if file.is_file())
    if plan.projection.disk - stored > free:
        raise InputError(
            f"output: {plan.output} needs up to {size(plan.projection.disk - stored)} more, "
            f"the disk has {size(free)} free; make room or choose another output"
        )


def seam_error(plan: Plan, crew: Crew) -> float:
    """Max |ΔP| to exact tiling at sampled seams; 0 where the halo covers the reach of the network, which is exact."""
    axes, facts = (plan.grid.rows, plan.grid.cols), plan.engine.facts
    if all(axis.before >= facts.before and axis.after >= facts.after for axis in axes):
        return 0.0
    return max((float(crew.call(tasks.seam_error, place)) for place in sampled_seams(plan.grid)), default=0.0)


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
