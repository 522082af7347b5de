"""From what the work folder holds to the files that a person opens: each whole, and run.json last."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.weights import Weights
from pipeline import durable, export, page, picture, pixels, report, store
from pipeline.compute import Ledger
from pipeline.config import Region
from pipeline.graph import Crew
from pipeline.jobs import SAMPLES, Stop
from pipeline.journal import Journal
from pipeline.names import COG, MASKS, PAGE, PREVIEW, REPORT
from pipeline.plan import Plan
from pipeline.workspace import Workspace
from tiling.grid import Window


@dataclass(frozen=True, slots=True)
class Heeding:
    """Rows that can be gone through as often as wanted, until somebody asks to stop."""

    rows: Iterable[pa.RecordBatch]
    """Record batches of ``finish.SCHEMA``."""
    stop: Stop
    """Who asks."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.rows:
            self.stop.heed()
            yield batch


@dataclass(frozen=True, slots=True)
class Publication:
    """Turns what the work folder holds into the files that a person opens."""

    region: Region
    """The config."""
    weights: Weights
    """What the network was."""
    space: Workspace
    """The output folder, held."""
    plan: Plan
    """The plan of the run."""
    journal: Journal
    """What is done."""
    ledger: Ledger
    """The state of every block."""
    crew: Crew
    """The workers; it also knows of a request to stop."""

    def publish(self, stored: Iterable[pa.RecordBatch], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write every file aside and rename it into place; run.json comes last and says that all is there.

        Args:
            stored: record batches of ``finish.SCHEMA``, gone through for every file.
            facts: what run.json says besides.

        Raises:
            Interrupted: asked to stop; the next run publishes all of it.
            PipelineError: the GeoPackage was opened in another program, or stored samples do not read back.
            OSError: a file cannot be written.
        """
        output, space, files = self.plan.output, self.space, self.files
        rows = Heeding(stored, self.crew.stop)
        space.announce(files)
        export.export(rows, output, self.region.footprints.formats, self.metadata())
        self._rasters()
        self._preview(rows, output / PREVIEW)
        content = report.summary(self.region, self.plan, self.journal, self.ledger, facts)
        content |= {"footprints": sum(batch.num_rows for batch in rows), "files": report.seals(output, files[:-1])}
        page.write(output / PAGE, self.plan, content, self.journal, rows)
        content["files"] |= report.seals(output, [PAGE])
        # From here on a request to stop is too late: the rest takes no time.
        store.sweep(self.plan.probabilities)  # a worker that was killed may have left half a shard
        space.publish_store(self.plan.probabilities)
        space.withdraw(files)
        durable.write_json(output / REPORT, content)
        if not self.ledger.failed:
            space.tidy()
        return content

    @property
    def files(self) -> list[str]:
        """Names of all that the config asks for, the page last."""
        region, output, scenes = self.region, self.plan.output, self.plan.mosaic.scenes
        paths = [export.vector_path(output, name) for name in region.footprints.formats]
        if region.probability.cog:
            paths.append(output / COG)
        if region.probability.masks:
            paths += [export.mask_path(output / MASKS, scene) for scene in scenes]
        return [*dict.fromkeys(str(path.relative_to(output)) for path in paths), PREVIEW, PAGE]

    def metadata(self) -> export.Metadata:
        """What the files say of their origin; nothing that differs between a run and its resumption."""
        identity = json.dumps(self.journal.head["fingerprint"], sort_keys=True).encode()
        day = datetime.fromisoformat(self.journal.head["began"]).astimezone(UTC)
        return export.Metadata(
            crs=self.plan.mosaic.crs,
            name=self.plan.name,
            model=self.weights.network,
            sha256=self.weights.sha256,
            run=hashlib.sha256(identity).hexdigest()[:16],
            date=day.replace(hour=0, minute=0, second=0, microsecond=0),
            licence=self.region.licence or "",
        )

    def _rasters(self) -> None:
        """The further forms of the probabilities that the config asks for."""
        wanted, plan = self.region.probability, self.plan

        def read(window: Window) -> NDArray[np.uint8]:
            self.crew.stop.heed()
            return store.read(plan.probabilities, window, plan.grid)

        if wanted.cog:
            export.write_cog(plan.output / COG, plan.mosaic, read, self.crew.call)
        if wanted.masks:
            export.write_masks(plan.output / MASKS, plan.mosaic, read, plan.shaping.level)

    def _complete(self, album: picture.Album) -> None:
        """Make the thumbnails again that are of another scale, since scenes were added, or that do not read."""
        for block, line in zip(self.journal.blocks(SAMPLES), self.journal.facts(SAMPLES), strict=True):
            self.crew.stop.heed()
            if line["counts"]["predicted"] and album.lacks(block):
                with suppress(pixels.SceneError):
                    album.keep(block, pixels.read(self.plan.mosaic, self.plan.grid.window(block)).rgb)

    def _preview(self, rows: Iterable[pa.RecordBatch], path: Path) -> None:
        """The mosaic with its footprints, small."""
        album = self.plan.album
        self._complete(album)
        image = album.picture()
        picture.draw(image, album.factor, (picture.Rings.of(batch, self.plan.mosaic.affine) for batch in rows))
        with durable.replace(path) as scratch:
            image.save(scratch, compress_level=1)  # more effort makes imagery hardly smaller
