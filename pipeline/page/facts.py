"""What the page says in numbers: counts, timings, plan against actual, versions, fingerprint."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.jobs import SAMPLES
from pipeline.journal import Journal
from pipeline.plan import Plan
from pipeline.words import counted, public, size

TIMED = ("read", "infer", "store", "outline", "finish")


@dataclass(frozen=True, slots=True)
class Stage:
    """Time of one stage."""

    name: str
    """As in run.json."""
    seconds: float
    """Summed over the workers, s."""
    share: float
    """Of the stages together, 0..1."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The tables of the page."""

    pixels: list[tuple[str, int, float]]
    """(where they went, how many, share of the mosaic)."""
    stages: list[Stage]
    """In the order of the work."""
    wall: float
    """From start to publication, s."""
    compared: list[tuple[str, str, str]]
    """(what, planned, actual)."""
    failed: list[tuple[str, str]]
    """(block, reason)."""
    origin: list[tuple[str, str]]
    """What the run was: network, weights, versions."""
    fingerprint: list[tuple[str, str]]
    """What determines the output."""


def of(plan: Plan, content: Mapping[str, Any], journal: Journal) -> Facts:
    """The facts of a run."""
    total = max(content["counts"]["pixels"], 1)
    counts = [(name, number) for name, number in content["counts"].items() if name != "pixels"]
    return Facts(
        pixels=[(name.replace("_", " "), number, number / total) for name, number in counts],
        stages=_stages(content["seconds"]),
        wall=content["seconds"].get("wall", 0.0),
        compared=_compared(plan, content, journal),
        failed=[(block, public(reason)) for block, reason in content["failed_blocks"].items()],
        origin=_origin(plan, content),
        fingerprint=_fingerprint(content["fingerprint"]),
    )


def _stages(seconds: Mapping[str, float]) -> list[Stage]:
    known = [name for name in TIMED if name in seconds]
    total = sum(seconds[name] for name in known) or 1.0
    return [Stage(name, seconds[name], seconds[name] / total) for name in known]


def _compared(plan: Plan, content: Mapping[str, Any], journal: Journal) -> list[tuple[str, str, str]]:
    need, pixels = plan.projection, content["counts"]
    lines = list(journal.blocks(SAMPLES))
    rows = [
        ("blocks", f"{int(plan.active.sum()):,}", f"{len(lines):,}"),
        ("pixels with a probability", f"up to {need.wanted:,}", f"{pixels['predicted']:,}"),
        ("disk", f"up to {size(need.disk)}", size(_stored(content, journal))),
    ]
    if content.get("peak_memory"):
        rows.append(("memory on this machine", f"up to {size(need.ram)}", size(content["peak_memory"])))
    return rows


def _stored(content: Mapping[str, Any], journal: Journal) -> int:
    """Bytes of the probabilities and of the files beside them."""
    seals: Iterable[Mapping[str, int] | None] = (line["seal"] for line in journal.facts(SAMPLES))
    files: int = sum(seal["size"] for seal in content.get("files", {}).values())
    return files + sum(seal["size"] for seal in seals if seal)


def _origin(plan: Plan, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    engine = plan.engine
    rows, cols = plan.grid.shape
    facts = [
        ("mosaic", f"{rows:,} × {cols:,} px from {counted(len(plan.mosaic.scenes), 'scene')}"),
        ("resampled", content["plan"].get("resampled", "no scene")),
        ("blocks", "{} × {} px".format(*plan.grid.block_shape)),
        ("halo", f"{plan.grid.rows.before} px before, {plan.grid.rows.after} px after"),
        ("network", f"{engine.network}, {engine.device}, {engine.precision}, test-time augmentation {engine.tta}"),
        ("weights", content["fingerprint"].get("weights", "")),
        ("threshold", f"{content['threshold']:.3f}"),
        ("largest error at seams", f"{content['seam_error']:.4f}" if content.get("seam_error") else "0, exact"),
        ("began", content["began"]),
    ]
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    return [*facts, ("versions", versions)]


def _fingerprint(fingerprint: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All of it but the scenes, of which there may be thousands."""
    return [(key, public(str(value))) for key, value in sorted(fingerprint.items()) if key not in ("scenes", "weights")]
