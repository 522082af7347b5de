"""What a run says about itself: the plan as a table, run.json, the closing summary."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyproj import CRS
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.samples import SAMPLE_MAX
from pipeline.compute import Ledger
from pipeline.config import CLUSTER_KEYS, Region
from pipeline.jobs import SAMPLES
from pipeline.journal import Journal, Seal
from pipeline.mosaic import Mosaic
from pipeline.names import REPORT, STORE
from pipeline.plan import Plan
from pipeline.words import counted, public, size

LIBRARIES = ("torch", "rasterio", "zarr", "dask", "distributed", "shapely", "pyogrio", "pyarrow", "numpy")


def table(plan: Plan) -> str:
    """The plan for people, one fact a line."""
    facts = plan_facts(plan)
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in facts.items())


def show(plan: Plan) -> None:
    """Print the plan: as a table on a terminal, as plain lines where a program reads."""
    console = Console()
    if not console.is_terminal:
        print(table(plan))
        return
    shown = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in plan_facts(plan).items():
        shown.add_row(f"[bold cyan]{name}", Text(text))
    console.print(shown)


def plan_facts(plan: Plan) -> dict[str, str]:
    """The plan's facts by name, as text."""
    need, engine, grid = plan.projection, plan.engine, plan.grid
    (rows, cols), side = grid.shape, grid.block_shape
    ratio = need.computed / need.wanted if need.wanted else 0.0
    return {
        "region": plan.name,
        "mosaic": f"{rows} × {cols} px, {counted(len(plan.mosaic.scenes), 'scene')}",
        **resampled(plan.mosaic),
        "blocks": f"{int(plan.active.sum())} of {len(grid)} to look at, {side[0]} × {side[1]} px each",
        "tile": f"{need.tile[0]} × {need.tile[1]} px, halo {grid.rows.before} before and {grid.rows.after} after",
        "network": f"{engine.network}, {engine.device}, {engine.precision}, test-time augmentation {engine.tta}",
        "computed": f"{need.computed / 1e6:.1f} Mpx for {need.wanted / 1e6:.1f} Mpx wanted ({ratio:.2f} for each one)",
        "threshold": f"{plan.shaping.level / SAMPLE_MAX:.3f}",
        "workers": f"{need.workers}, and {need.hands} beside the network" if need.hands else str(need.workers),
        "memory": f"{size(need.ram)} at most, all processes",
        "device memory": f"{size(need.device)} a worker{', part of the memory' * (engine.device == 'cpu')}",
        "disk": f"{size(need.disk)} at most",
        "output": str(plan.output),
    }


def resampled(mosaic: Mosaic) -> dict[str, str]:
    """How many scenes are not on the mosaic's grid, and what they are resampled to; nothing where all are on it."""
    number = sum(scene.resampled for scene in mosaic.scenes)
    if not number:
        return {}
    crs = CRS.from_wkt(mosaic.crs)
    name = f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.name
    pixels = f"pixels of {mosaic.affine.a:.6g} × {-mosaic.affine.e:.6g} {crs.axis_info[0].unit_name}"
    return {"resampled": f"{number:,} of {counted(len(mosaic.scenes), 'scene')}, to {pixels} in {name}"}


def counts(plan: Plan, journal: Journal, ledger: Ledger) -> dict[str, int]:
    """Where every pixel of the mosaic went; the parts add up to the whole."""
    total = plan.grid.shape[0] * plan.grid.shape[1]
    parts = {"predicted": 0, "no_data": 0, "outside": 0}
    failed_too = {str(block) for block in ledger.failed}  # after their samples were journalled
    for line in (line for line in journal.facts(SAMPLES) if line["block"] not in failed_too):
        for name in parts:
            parts[name] += line["counts"][name]
    failed = {block: plan.grid.window(block).area for block in ledger.failed}
    # a block without data is traced where its neighbours have some, and may fail as well
    skipped = plan.skipped - sum(area for block, area in failed.items() if not plan.active[block.row, block.col])
    parts["no_data" if plan.mosaic.area is None else "outside"] += skipped
    return {"pixels": total, **parts, "failed": sum(failed.values())}


def settings(region: Region) -> Any:
    """The config as it was loaded, defaults and all, in a form that loads again; without what may hold secrets."""
    content, kind = region.model_dump(mode="json", exclude={"cluster": {"prologue"}}), region.cluster.kind
    own = {key: value for key, value in content["cluster"].items() if kind in CLUSTER_KEYS.get(key, (kind,))}
    return _public(content | {"cluster": own})


def _public(value: Any) -> Any:
    """A JSON value, the texts in it without the queries of URLs."""
    if isinstance(value, dict):
        return {key: _public(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_public(each) for each in value]
    return public(value) if isinstance(value, str) else value


def summary(region: Region, plan: Plan, journal: Journal, ledger: Ledger, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "name": plan.name,
        "status": "failed blocks" if ledger.failed else "done",
        **facts,
        "versions": {"seamless-footprints": version("seamless-footprints"), "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "config": settings(region),
        "fingerprint": journal.head["fingerprint"],
        "began": journal.head["began"],
        "threshold": plan.shaping.level / SAMPLE_MAX,
        "plan": plan_facts(plan),
        "counts": counts(plan, journal, ledger),
        "halved_blocks": sum("halved" in line for line in journal.facts(SAMPLES)),
        "failed_blocks": {str(block): reason for block, reason in sorted(ledger.failed.items())},
    }


def closing(content: Mapping[str, Any], output: Path) -> str:
    """The last words: what was found, in which time, and where it lies."""
    pixels, seconds = content["counts"], content["seconds"]["wall"]
    footprints = counted(content["footprints"], "footprint")
    found = f"{footprints} in {seconds:.1f} s, {pixels['predicted'] / 1e6:.1f} Mpx predicted"
    if content["resumed_blocks"]:
        found += f" ({counted(content['resumed_blocks'], 'block')} of it before)"
    rest = ", ".join(
        f"{pixels[name] / 1e6:.1f} Mpx {name.replace('_', ' ')}"
        for name in ("no_data", "outside", "failed")
        if pixels[name]
    )
    paths = "\n".join(f"  {output / name}" for name in (*content["files"], STORE, REPORT))
    return f"{found}{', ' + rest if rest else ''}\n{paths}"


def seals(output: Path, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Size and checksum of each output file, by its name within the folder."""
    found = {name: Seal.of(output / name) for name in names}
    return {name: asdict(seal) for name, seal in found.items() if seal}
