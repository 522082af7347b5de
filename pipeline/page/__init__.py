"""``report.html``: one page without network that shows what a run found, where, how well, and how long it took.

Everything is inside the file: the imagery as a JPEG, footprints as SVG paths, a block map as a PNG, style and script.
A content security policy with the digests of both forbids everything else: no text of a scene or a config can run.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline import durable
from pipeline.journal import Journal
from pipeline.page import blockmap, facts, images
from pipeline.page.gathering import Gathering
from pipeline.plan import Plan

FOLDER = Path(__file__).parent


def write(path: Path, plan: Plan, content: Mapping[str, Any], journal: Journal, rows: Iterable[pa.RecordBatch]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: ``report.html``.
        plan: the run's plan; its album holds the imagery.
        content: what ``run.json`` says.
        journal: which blocks are done, and what they hold.
        rows: footprints, record batches of ``finish.SCHEMA``; read once, never held together.
    """
    gathered = Gathering.of(rows)
    text = _template().render(
        style=_digest("report.css"),
        script=_digest("report.js"),
        picture=images.picture(plan),
        layers=gathered.layers(plan),
        gathered=gathered,
        blocks=blockmap.draw(plan, content, journal),
        facts=facts.of(plan, content, journal),
        content=content,
        plan=plan,
    )
    with durable.replace(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _template() -> Any:
    loader = PackageLoader("pipeline.page", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja")


def _digest(name: str) -> str:
    """By which the browser knows our own style or script, which the template includes without its last newline."""
    text = (FOLDER / name).read_text(encoding="utf-8").removesuffix("\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
