"""From a connected crew to published files: the second half of the story that ``run`` tells."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from pipeline import durable, export, growth, machine, page, picture, plan, report, store, tasks
from pipeline.compute import Computation, Ledger
from pipeline.config import Region
from pipeline.errors import InputError, Interrupted, PipelineError
from pipeline.footprints import finish, outline, weld
from pipeline.graph import Crew, Job
from pipeline.journal import OUTLINE, SAMPLES, Journal
from pipeline.machine import GIB
from pipeline.mosaic import Mosaic
from pipeline.plan import Plan
from pipeline.progress import Progress
from pipeline.trial import Request
from pipeline.workspace import Workspace, verify, write_json
from tiling.grid import BlockIndex

# Corners of blocks at which the error of a halo below the reach is measured; each costs one small tile.
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

    def run(self, crew: Crew) -> dict[str, Any]:
        """Compute what is missing and publish all; returns the content of run.json.

        Raises:
            Interrupted: asked to stop; what is done is kept.
            BlocksFailed: a block failed and ``on_error`` is stop.
        """
        began = time.perf_counter()
        head = self.space.head()
        engine = crew.call(self.request.remembering(head).answer, self.mosaic)
        made = plan.make(self.region, self.mosaic, self.request.weights, engine, tuple(head["block"]) if head else None)
        refuse_full_disk(made)
        with closing(self._open(made)) as journal:
            return self._produce(made, journal, crew, began)

    def _produce(self, made: Plan, journal: Journal, crew: Crew, began: float) -> dict[str, Any]:
        """Compute, weld, finish, publish."""
        resumed = sum(1 for _ in journal.blocks(SAMPLES))
        crew.prepare(made)
        ledger = self._compute(made, journal, crew)
        seams = seam_error(made, crew)
        rows = self._footprints(made, ledger, crew)
        measured = {"seconds": self._seconds(began), "peak_memory": machine.peak_memory()}
        facts = {"resumed_blocks": resumed, "seam_error": seams, "precision_check": made.engine.check, **measured}
        return Publication(self, made, journal, ledger).publish(rows, facts)

    def _open(self, made: Plan) -> Journal:
        """Open the journal and the store, and forget what is not as the journal says."""
        journal = self._journal(made)
        self.space.unpublish(made.probabilities)
        if not made.probabilities.exists():
            with durable.replace(made.probabilities) as scratch:
                store.create(scratch, made.grid, self.mosaic.affine, self.mosaic.crs)
        store.sweep(made.probabilities)
        for block in verify(journal, SAMPLES, lambda block: store.shard_path(made.probabilities, block)):
            journal.forget(OUTLINE, tasks.readers(block, made.grid))
        verify(journal, OUTLINE, made.outline_path)
        return journal

    def _journal(self, made: Plan) -> Journal:
        """A new journal, the one that is there, or that one with more scenes."""
        new = self.space.added(self.fingerprint)
        if new:
            self.progress.say(f"{made.output}: {len(new)} more scenes; only the blocks that see them are computed")
            return growth.extend(self.space, made, self.fingerprint, new)
        sizes = {"block": [made.grid.rows.block, made.grid.cols.block], "shape": list(made.grid.shape)}
        return self.space.begin(self.fingerprint, {**sizes, "precision": made.engine.precision})

    def _compute(self, made: Plan, journal: Journal, crew: Crew) -> Ledger:
        self.progress.start("network", int(made.active.sum()), sum(1 for _ in journal.blocks(SAMPLES)))
        ledger = Computation(made, journal, crew, self.progress, self.region.on_error == "stop").run()
        self._unless_stopped(crew)
        return ledger

    def _footprints(self, made: Plan, ledger: Ledger, crew: Crew) -> finish.Stored:
        """Weld, then finish every block; rows in the blocks' order."""
        traced = outline.traced(made.active)
        blocks = [BlockIndex(int(row), int(col)) for row, col in zip(*np.nonzero(traced), strict=True)]
        index = weld.weld(((block, made.outline_path(block)) for block in blocks), made.welded)
        self.progress.start("footprints", len(blocks))
        for outcome in crew.each(Job("finish", block, index.sources(block)) for block in blocks):
            if outcome.error is not None:
                raise PipelineError(f"footprints of block {outcome.job.block}: {outcome.error}") from outcome.error
            self.progress.ended(outcome)
        self.progress.finish()
        self._unless_stopped(crew)
        return finish.Stored([made.footprint_path(block) for block in blocks])

    def _unless_stopped(self, crew: Crew) -> None:
        if crew.stop.requested is not None:
            self.progress.finish()
            raise Interrupted(f"{self.region.output}: interrupted; run the same command again and it resumes")

    def _seconds(self, began: float) -> dict[str, float]:
        stages = {stage: round(seconds, 3) for stage, seconds in sorted(self.progress.seconds.items())}
        return {**stages, "wall": round(time.perf_counter() - began, 3)}


def refuse_full_disk(made: Plan) -> None:
    """Stop before anything is computed that could not be stored.

    Raises:
        InputError: the disk has less room than the plan needs.
    """
    free = machine.disk_free(made.output)
    if made.projection.disk > free:
        raise InputError(
            f"output: {made.output} needs up to {made.projection.disk / GIB:.2f} GiB, "
            f"the disk has {free / GIB:.2f} GiB free; make room or choose another output"
        )


def seam_error(made: Plan, crew: Crew) -> float:
    """Max |ΔP| to exact tiling at sampled seams; 0 where the halo covers the reach of the network, which is exact."""
    axes = made.grid.rows, made.grid.cols
    facts = made.engine.facts
    if all(axis.before >= facts.before and axis.after >= facts.after for axis in axes):
        return 0.0
    corners = [tuple(axis.span(index).stop for axis in axes) for index in range(min(axis.blocks for axis in axes) - 1)]
    chosen = corners[:: max(1, len(corners) // SEAMS_SAMPLED)][:SEAMS_SAMPLED]
    return max((float(crew.call(tasks.seam_error, corner)) for corner in chosen), default=0.0)


@dataclass(frozen=True, slots=True)
class Publication:
    """Turns what the work folder holds into the files that a person opens."""

    production: Production
    """The run."""
    plan: Plan
    """Its plan."""
    journal: Journal
    """What it did."""
    ledger: Ledger
    """The state of its blocks."""

    def publish(self, rows: finish.Stored, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write every file aside and rename it into place; run.json comes last and says that all is there."""
        region, output = self.production.region, self.plan.output
        paths = export.export(rows, output, region.footprints.formats, self.metadata())
        paths |= self._rasters()
        paths["preview"] = self._preview(rows)
        self.production.space.publish_store(self.plan.probabilities)
        content = report.summary(self.plan, self.journal, self.ledger, facts)
        content |= {"footprints": sum(batch.num_rows for batch in rows), "files": report.seals(output, paths)}
        page.write(output / "report.html", self.plan, content, self.journal, rows)
        content["files"] |= report.seals(output, {"report": output / "report.html"})
        write_json(output / "run.json", content)
        if not self.ledger.failed:
            self.production.space.tidy()
        return content

    def metadata(self) -> export.Metadata:
        """What the files say of their origin; nothing that differs between a run and its resumption."""
        weights = self.production.request.weights
        identity = json.dumps(self.journal.head["fingerprint"], sort_keys=True).encode()
        day = datetime.fromisoformat(self.journal.head["began"]).astimezone(UTC)
        return export.Metadata(
            crs=self.plan.mosaic.crs,
            name=self.plan.name,
            model=weights.network,
            sha256=weights.sha256,
            run=hashlib.sha256(identity).hexdigest()[:16],
            date=day.replace(hour=0, minute=0, second=0, microsecond=0),
            licence=self.production.region.licence or "",
        )

    def _rasters(self) -> dict[str, Path]:
        """The further forms of the probabilities that the config asks for."""
        wanted, made = self.production.region.probability, self.plan
        paths: dict[str, Path] = {}

        def read(window: Any) -> Any:
            return store.read(made.probabilities, window, made.grid)

        if wanted.cog:
            paths["cog"] = made.output / "probability.tif"
            export.write_cog(paths["cog"], made.mosaic, read)
        if wanted.masks:
            masks = export.write_masks(made.output / "masks", made.mosaic, read, made.shaping.level)
            paths |= {f"mask {number}": path for number, path in enumerate(masks)}
        return paths

    def _preview(self, rows: finish.Stored) -> Path:
        """The mosaic with its footprints, small."""
        album, path = self.plan.album, self.plan.output / "preview.png"
        image = album.picture()
        picture.draw(image, album.factor, rings(rows, self.plan))
        with durable.replace(path) as scratch:
            image.save(scratch)
        return path


def rings(rows: finish.Stored, made: Plan) -> Iterator[tuple[list[Any], float]]:
    """Rings in mosaic pixels and confidence of every footprint."""
    back = ~made.mosaic.affine
    for batch in rows:
        for wkb, confidence in zip(batch["geometry"], batch["confidence"], strict=True):
            lines = shapely.get_rings(shapely.from_wkb(wkb.as_py()))
            yield [np.column_stack(back @ shapely.get_coordinates(line).T) for line in lines], confidence.as_py()
