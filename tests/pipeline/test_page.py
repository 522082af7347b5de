"""report.html shows what the run found, needs no network, runs nothing foreign, and works in a browser."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline import machine, page, words
from pipeline.engine import Engine
from pipeline.footprints.finish import SCHEMA
from pipeline.footprints.shaping import Shaping
from pipeline.jobs import SAMPLES
from pipeline.journal import Journal
from pipeline.mosaic import Mosaic, Scene
from pipeline.page import facts, gathering, histogram
from pipeline.plan import Plan, Projection
from tiling.grid import Axis, BlockIndex, Grid, Window

AFFINE = Affine(0.3, 0, 392000, 0, -0.3, 5820000)
UTM = "EPSG:32633"
HOSTILE = "<script>alert('region')</script>\"'&"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0",
]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished run, as publication sees it."""

    plan: Plan
    content: dict[str, Any]
    journal: Journal
    rows: list[pa.RecordBatch]

    def page(self, name: str = "report.html") -> Path:
        path = self.plan.output / name
        page.write(path, self.plan, self.content, self.journal, self.rows)
        return path


def house(row: float, col: float, side: float, hole: float = 0.0) -> shapely.Polygon:
    """A square in mosaic pixels, with a square courtyard, in the CRS."""
    centre = col + side / 2, row + side / 2
    holes = [shapely.box(*(c + s * hole / 2 for s in (-1, 1) for c in centre)).exterior] if hole else []
    square = shapely.Polygon(shapely.box(col, row, col + side, row + side).exterior, holes)
    return shapely.transform(square, lambda points: np.column_stack(AFFINE @ points.T))


def batch(shapes: list[shapely.Polygon], confidence: list[float]) -> pa.RecordBatch:
    areas = [shape.area for shape in shapes]
    columns = {
        "id": [f"b{number}" for number in range(len(shapes))], "area_m2": areas, "perimeter_m": areas,
        "confidence": confidence, "confidence_p10": confidence, "scene": ["a.tif"] * len(shapes),
        "on_edge": [False] * len(shapes), "geometry": [shapely.to_wkb(shape) for shape in shapes],
    }  # fmt: skip
    return pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def plan_of(output: Path, size: int = 960, block: int = 320) -> Plan:
    grid = Grid(*(Axis(size, block, 32, 128, 160) for _ in range(2)))
    scene = Scene(Path("a.tif"), Window.of((size, size)), (1, 2, 3), None, False, None)
    return Plan(
        name=HOSTILE,
        output=output,
        mosaic=Mosaic((size, size), AFFINE, UTM, (scene,)),
        grid=grid,
        engine=Engine(Path("w.safetensors"), "ternausnet11", "cpu", "fp32", "none", 0, 1160.0),
        shaping=Shaping(77),
        active=np.arange(grid.blocks[0] * grid.blocks[1]).reshape(grid.blocks) != 5,
        projection=Projection(1, 1, (608, 608), 900000, size * size, 1 << 31, 1 << 30, 1 << 24),
        most=608 * 608,
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Nine blocks: one failed, one without data, one not looked at, the others done."""
    plan = plan_of(tmp_path)
    plan.work.mkdir()
    rng = np.random.default_rng(0)
    journal = Journal.create(plan.work / "journal.jsonl", {"fingerprint": {}, "began": "2026-01-01T00:00:00Z"})
    with (tmp_path / "run.log").open("w") as log:
        for block in plan.blocks():
            if block == BlockIndex(0, 1):
                continue
            predicted = 0 if block == BlockIndex(2, 2) else 320 * 320
            counts = {"predicted": predicted, "no_data": 320 * 320 - predicted, "outside": 0}
            journal.record(
                {"stage": SAMPLES, "block": str(block), "counts": counts, "seal": {"size": 1 << 20, "crc": 1}}
            )
            seconds = {"read": 0.5, "infer": 1.0 + block.row, "store": 0.25}
            event = {"time": "", "event": "done", "stage": SAMPLES, "block": str(block), "seconds": seconds}
            log.write(json.dumps(event) + "\n")
            plan.album.keep(block, rng.integers(0, 255, (320, 320, 3), dtype=np.uint8))
        log.write('{"time": "", "event": "done", "stage": "samples", "blo')  # a run that was killed while it wrote
    shapes = [house(100, 100, 60, 20), house(400, 700, 30), house(800, 200, 100)]
    content = {
        "plan": {"resampled": "1 of 2 scenes, to pixels of 0.3 × 0.3 metre in EPSG:32633"},
        "seconds": {"read": 4.0, "infer": 12.0, "store": 2.0, "outline": 1.0, "finish": 0.5, "wall": 15.5},
        "counts": {"pixels": 921600, "predicted": 614400, "no_data": 102400, "outside": 102400, "failed": 102400},
        "failed_blocks": {"0-1": "samples: https://example.org/a.tif?X-Signature=topsecret cannot be read"},
        "fingerprint": {"weights": "ab" * 32, "licence": HOSTILE, "scenes": [["a.tif", "0", 0, 960, 0, 960]]},
        "versions": {"seamless-footprints": "0.1.0", "python": "3.11"},
        "threshold": 77 / 254, "seam_error": 0.0, "began": "2026-01-01T00:00:00Z", "files": {},
        "peak_memory": 3 << 29,
    }  # fmt: skip
    yield Run(plan, content, journal, [batch(shapes[:2], [0.9, 0.55]), batch([], []), batch(shapes[2:], [1.0])])
    journal.close()


class Elements(HTMLParser):
    """Every tag of a page with its attributes, and the text outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_of_the_page_lies_elsewhere(run: Run) -> None:
    text = run.page().read_text()
    for _, attributes in Elements(text).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    for code in re.findall(r"(?s)<(?:style|script)>(.*?)</(?:style|script)>", text):
        assert not re.search(r"url\(|@import|://|fetch|XMLHttp|import\(", code)


def test_text_of_the_user_stays_text(run: Run) -> None:
    parsed = Elements(run.page().read_text())
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert parsed.text.count(HOSTILE) >= 2  # the title, the heading and the licence
    assert all(not name.startswith("on") and name != "style" for _, attributes in parsed.tags for name in attributes)


def test_keys_in_urls_are_not_shown(run: Run) -> None:
    text = run.page().read_text()
    assert "topsecret" not in text
    assert "cannot be read" in text


def test_what_was_resampled_is_said(run: Run) -> None:
    assert "1 of 2 scenes, to pixels of 0.3 × 0.3 metre in EPSG:32633" in Elements(run.page().read_text()).text
    alike = replace(run, content={**run.content, "plan": {}})
    assert ("resampled", "no scene") in facts.of(alike.plan, alike.content, alike.journal).origin


def test_every_picture_has_a_text(run: Run) -> None:
    for tag, attributes in Elements(run.page().read_text()).tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-hidden") or attributes.get("aria-label") or attributes.get("aria-labelledby")


def test_the_page_is_the_same_twice(run: Run) -> None:
    assert run.page("a.html").read_bytes() == run.page("b.html").read_bytes()
    assert not list(run.plan.output.glob(".*.partial*"))


def test_blocks_are_told_apart(run: Run) -> None:
    blocks = page.blockmap.draw(run.plan, run.content, run.journal)
    assert blocks.counts == {"done": 6, "no data": 1, "failed": 1, "not looked at": 1}
    assert blocks.seconds == (1.75, 2.75, 3.75)
    assert blocks.slowest.startswith("2-")


def points(layer: gathering.Layer) -> list[list[list[tuple[int, int]]]]:
    """Footprints, rings and absolute points of path data, read as the SVG specification says (section 9.3)."""
    footprints: list[list[list[tuple[int, int]]]] = []
    pen = start = (0, 0)
    for command, numbers in re.findall(r"([MmLlz])([^MmLlz]*)", layer.path):
        values = [int(number) for number in numbers.split()]
        if command == "z":
            pen = start
        for dx, dy in zip(values[::2], values[1::2], strict=True):
            pen = (dx, dy) if command == "M" else (pen[0] + dx, pen[1] + dy)
            if command == "M":
                footprints.append([])
            if command in "Mm":
                start = pen
                footprints[-1].append([])
            footprints[-1][-1].append(pen)
    return footprints


def test_paths_are_the_footprints(run: Run) -> None:
    layers = gathering.Gathering.of(run.rows).layers(run.plan)
    assert [layer.facts for layer in layers] == ["81.0 0.55", "288.0 0.90", "900.0 1.00"]
    drawn = [shapely.Polygon(rings[0], rings[1:]) for layer in layers for rings in points(layer)]
    expected = [
        shapely.box(7000, 4000, 7300, 4300),
        shapely.box(1000, 1000, 1600, 1600),
        shapely.box(2000, 8000, 3000, 9000),
    ]
    expected[1] = expected[1].difference(shapely.box(1200, 1200, 1400, 1400))
    for shape, wanted in zip(drawn, expected, strict=True):
        assert shapely.symmetric_difference(shape, wanted).area < 1e-9


def test_of_very_many_footprints_the_largest_are_drawn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "DRAWN_MAX", 5)
    sides = np.random.default_rng(1).permutation(np.arange(1, 41)).astype(float)
    rows = [batch([house(10, 10, side) for side in part], [0.8] * len(part)) for part in np.split(sides, 8)]
    gathered = gathering.Gathering.of(rows)
    assert gathered.count == 40
    assert gathered.area == pytest.approx(0.09 * (sides**2).sum())
    assert gathered.largest["area_m2"].to_numpy() == pytest.approx(0.09 * np.arange(40, 35, -1.0) ** 2)
    text = replace(run, rows=rows).page().read_text()
    assert "the 5 largest of 40 footprints" in text


def test_a_region_without_buildings_has_a_page(run: Run) -> None:
    text = replace(run, rows=[batch([], [])], content={**run.content, "failed_blocks": {}}).page().read_text()
    assert "No building was found" in text


@given(npst.arrays(np.float64, st.integers(0, 50), elements=st.floats(0, 1e7)))
def test_histograms_count_every_value(values: np.ndarray[Any, Any]) -> None:
    found = histogram.Histogram(histogram.AREA)
    for part in np.array_split(values, 3):
        found.add(part)
    assert found.counts.tolist() == np.histogram(values, histogram.AREA)[0].tolist()
    assert sum(bar.count for bar in found.bars) == len(values)


def test_one_is_a_confidence() -> None:
    found = histogram.Histogram(histogram.CONFIDENCE)
    found.add(np.array([1.0, 0.0]))
    assert (found.counts[0], found.counts[-1]) == (1, 1)


@pytest.mark.parametrize(("count", "text"), [(0, "0.0 MiB"), (3 << 19, "1.5 MiB"), (5 << 29, "2.50 GiB")])
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert words.size(count) == text


def test_the_plan_stands_beside_what_came_of_it(run: Run) -> None:
    compared = facts.of(run.plan, run.content, run.journal).compared
    rows = {name: (planned, actual) for name, planned, actual in compared}
    assert rows["blocks"] == ("8", "7")
    assert rows["disk"] == ("up to 16.0 MiB", "7.0 MiB")
    assert rows["memory on this machine"] == ("up to 2.00 GiB", "1.50 GiB")


def test_peak_memory_counts_what_was_held_and_given_back() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the peak of a process")
    before = machine.peak_memory() or 0
    code = "import sys; block = bytearray(300 << 20); del block; print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert (machine.peak_memory() or 0) - before > 290 << 20
        child.communicate()


DRIVE = """
<script>
addEventListener("load", () => {
  const view = document.getElementById("view"), r = view.getBoundingClientRect(), said = [];
  const at = (x, y) => ({ clientX: r.left + x * r.width, clientY: r.top + y * r.height, pointerId: 1, bubbles: true });
  const press = (type, x, y) => view.dispatchEvent(new PointerEvent(type, at(x, y)));
  press("pointerdown", 130 / 960, 110 / 960); press("pointerup", 130 / 960, 110 / 960);
  said.push(document.getElementById("told").textContent);
  press("pointerdown", 130 / 960, 130 / 960); press("pointerup", 130 / 960, 130 / 960);
  said.push(document.getElementById("told").textContent);
  document.getElementById("in").click();
  said.push(view.getAttribute("viewBox"));
  document.getElementById("map").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  said.push(view.getAttribute("viewBox"));
  document.getElementById("all").click();
  said.push(view.getAttribute("viewBox"));
  document.getElementById("show-footprints").click();
  said.push(getComputedStyle(document.getElementById("footprints")).display);
  said.push(`wide ${document.documentElement.scrollWidth > innerWidth}`);
  document.title = said.join(" | ");
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_works_in_a_browser(run: Run, tmp_path: Path) -> None:
    path = run.page()
    shown, complaints = browse(path, tmp_path, "--dump-dom")
    assert not complaints
    assert 'id="tools">' in shown  # the script ran: its buttons are not hidden any more
    driven = tmp_path / "driven.html"
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    driven.write_text(policy.sub("", path.read_text()).replace("</body>", f"{DRIVE}</body>"))
    shown, complaints = browse(driven, tmp_path, "--dump-dom", "--window-size=500,900")
    assert not complaints
    title = re.search(r"<title>([^<]*)</title>", shown)
    assert title is not None
    house_, courtyard, zoomed, moved, whole, hidden, wide = title[1].split(" | ")
    assert house_ == "288 m², confidence 0.90 at 392039.0, 5819967.0"
    assert courtyard.startswith("no footprint")
    assert [round(float(n)) for n in zoomed.split()] == [1600, 1600, 6400, 6400]
    assert [round(float(n)) for n in moved.split()] == [800, 1600, 6400, 6400]
    assert whole == "0 0 9600 9600"
    assert (hidden, wide) == ("none", "wide false")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_policy_stops_foreign_scripts(run: Run, tmp_path: Path) -> None:
    path = run.page()
    path.write_text(path.read_text().replace("</body>", "<script>document.title = 'taken'</script></body>"))
    shown, complaints = browse(path, tmp_path, "--dump-dom")
    assert "<title>taken</title>" not in shown
    assert complaints


def browse(path: Path, tmp_path: Path, *flags: str) -> tuple[str, list[str]]:
    """What the browser shows, and what its console complains of."""
    profile = tmp_path / f"profile-{path.stem}"
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, path.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
