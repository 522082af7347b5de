"""The plan keeps to what the device can compute, and to the memory of the machine or the batch job."""

import re
from collections.abc import Iterator
from math import isqrt
from pathlib import Path
from typing import Any

import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from models.catalogue import CATALOGUE
from models.weights import Weights
from pipeline import config, machine, plan
from pipeline.errors import InputError
from pipeline.machine import GIB
from pipeline.mosaic import Mosaic, Scene
from tiling.grid import Span, Window

NETWORK = "ternausnet11"
STRIDE = CATALOGUE[NETWORK].stride


@pytest.fixture(autouse=True, scope="module")
def a_large_machine() -> Iterator[None]:
    """Plans do not depend on where the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        this_machine(patch, 128, 2)
        yield


def this_machine(patch: pytest.MonkeyPatch, memory: float, cores: int) -> None:
    """Let this be a machine of so many GiB."""
    patch.setattr(machine, "memory", lambda: int(memory * GIB))
    patch.setattr(machine, "cores", lambda: cores)
    patch.setattr(machine, "gpus", lambda: 0)


def planned(folder: Path, shape: tuple[int, int], most: int | None, **tiles: Any) -> plan.Plan:
    """The plan of one scene, with memory enough for any tile, on a device that computes ``most`` pixels at once."""
    path = folder / "region.yaml"
    path.write_text(
        f"name: any\nscenes: [a.tif]\nmemory: 1000GiB\ntiles: {{{', '.join(f'{k}: {v}' for k, v in tiles.items())}}}\n"
    )
    window = Window.of(shape)
    scene = Scene(folder / "a.tif", window, (1, 2, 3), None, False, None)
    mosaic = Mosaic(shape, Affine(0.3, 0, 0, 0, -0.3, 0), CRS.from_epsg(32633).to_wkt(), (scene,))
    engine = plan.Engine(folder / "w", NETWORK, "cuda", "bf16", "none", GIB, 144.0, most)
    return plan.make(config.load(path), mosaic, Weights(NETWORK), engine)


sides = st.integers(1, 30_000)


@given(shape=st.tuples(sides, sides), most=st.integers(700**2, 20_000**2))
def test_no_tile_has_more_pixels_than_the_device_computes_at_once(
    shape: tuple[int, int], most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = planned(tmp_path_factory.mktemp("region"), shape, most)
    height, width = made.projection.tile
    assert height * width <= most


def test_without_a_limit_tiles_are_as_large_as_pays(tmp_path: Path) -> None:
    assert planned(tmp_path, (2_048, 2_048), None).projection.tile == (2_048, 2_048)
    many = planned(tmp_path, (20_000, 20_000), None).projection
    assert many.computed < 1.04 * many.wanted
    assert many.tile[0] * many.tile[1] < 20_000**2 / 3


@given(side=st.integers(700, 9000))
def test_a_size_that_is_asked_for_is_refused_where_the_device_cannot_compute_it(
    side: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, best = tmp_path_factory.mktemp("region"), isqrt(side**2) // STRIDE * STRIDE
    with pytest.raises(InputError, match=rf"tiles\.size: {best + STRIDE} is more than cuda .* at most {best}$"):
        planned(folder, (20_000, 20_000), side**2, size=best + STRIDE)
    assert planned(folder, (20_000, 20_000), side**2, size=best).projection.tile == (best, best)
    small = planned(folder, (320, 320), side**2, size=best + STRIDE)
    assert small.projection.tile == (320, 320)


@st.composite
def apart(draw: st.DrawFn) -> tuple[tuple[int, int], list[Window]]:
    """A mosaic and its scenes, some of them far apart."""
    corners = draw(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)), min_size=1, max_size=4))
    windows = [Window(Span(row, row + 400), Span(col, col + 500)) for row, col in corners]
    return (max(w.rows.stop for w in windows), max(w.cols.stop for w in windows)), windows


def sparse(folder: Path, shape: tuple[int, int], windows: list[Window], area: bytes | None = None) -> plan.Plan:
    """The plan of scenes that cover a part of the mosaic."""
    path = folder / "region.yaml"
    path.write_text("name: any\nscenes: [a.tif]\nmemory: 4GiB\n")
    scenes = tuple(Scene(folder / "a.tif", window, (1, 2, 3), None, False, None) for window in windows)
    mosaic = Mosaic(shape, Affine(0.3, 0, 0, 0, -0.3, 0), CRS.from_epsg(32633).to_wkt(), scenes, area)
    engine = plan.Engine(folder / "w", NETWORK, "cpu", "bf16", "none", GIB // 4, 144.0)
    return plan.make(config.load(path), mosaic, Weights(NETWORK), engine)


@given(apart())
def test_every_pixel_of_a_scene_is_in_a_block_that_is_computed(
    tmp_path_factory: pytest.TempPathFactory, mosaic: tuple[tuple[int, int], list[Window]]
) -> None:
    made = sparse(tmp_path_factory.mktemp("region"), *mosaic)
    assert all(made.active[block.row, block.col] for window in mosaic[1] for block in made.grid.blocks_over(window))
    assert made.projection.computed == sum(made.grid.tile(block).area for block in made.blocks())


def test_far_scenes_are_computed_without_what_lies_between(tmp_path: Path) -> None:
    windows = [Window.of((400, 500)), Window(Span(20_000, 20_400), Span(20_000, 20_500))]
    computed = sparse(tmp_path, (20_400, 20_500), windows).projection.computed
    assert computed < 5 * sum(window.area for window in windows)


def test_a_small_area_of_a_large_scene_takes_its_own_time(tmp_path: Path) -> None:
    area = shapely.box(3000, 3000, 3600, 3600)
    computed = sparse(tmp_path, (9000, 9000), [Window.of((9000, 9000))], area.wkb).projection.computed
    assert computed < 7 * area.area


def on_device(folder: Path, free: float, memory: str, size: str = "auto") -> plan.Plan:
    """The plan of a 20,000² scene for a GPU with ``free`` bytes of its own."""
    path, shape = folder / "region.yaml", (20_000, 20_000)
    path.write_text(f"name: any\nscenes: [a.tif]\nmemory: {memory}\ntiles: {{size: {size}}}\n")
    window = Window.of(shape)
    scene = Scene(folder / "a.tif", window, (1, 2, 3), None, False, None)
    mosaic = Mosaic(shape, Affine(0.3, 0, 0, 0, -0.3, 0), CRS.from_epsg(32633).to_wkt(), (scene,))
    engine = plan.Engine(folder / "w", NETWORK, "cuda", "bf16", "none", 3 * GIB, 144.0, device_bytes=int(free))
    return plan.make(config.load(path), mosaic, Weights(NETWORK), engine)


def test_a_tile_fits_the_memory_of_the_gpu_and_that_of_the_machine_each(tmp_path: Path) -> None:
    small, large = (on_device(tmp_path, free * GIB, "6GiB") for free in (4, 70))
    assert small.projection.device <= 4 * GIB
    assert small.projection.tile < large.projection.tile
    assert large.projection.ram <= 8 * GIB
    assert on_device(tmp_path, 70 * GIB, "2GiB").projection.device > 6 * GIB, "its memory is not the machine's"


def test_a_gpu_or_machine_that_is_too_small_for_a_tile_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"inference.device: cuda has 3.00 GiB free, 3.\d\d GiB are needed"):
        on_device(tmp_path, 3 * GIB, "6GiB")
    with pytest.raises(InputError, match=r"memory: 0\.20 GiB is too little for one tile"):
        on_device(tmp_path, 70 * GIB, "200MiB")


def test_a_tile_that_is_asked_for_is_computed_within_the_memory(tmp_path: Path) -> None:
    made = on_device(tmp_path, 4 * GIB, "6GiB", "8192")
    assert made.projection.tile == (8192, 8192)
    assert made.most < 8192**2
    assert made.projection.device <= 4 * GIB


def full(folder: Path, keys: str, device: str = "cpu", side: int = 20_000) -> plan.Projection:
    """What the plan of a scene needs, for a network on the CPU or on a GPU of 80 GiB."""
    path, window = folder / "region.yaml", Window.of((side, side))
    path.write_text(f"name: any\nscenes: [a.tif]\n{keys}\n")
    scene = Scene(folder / "a.tif", window, (1, 2, 3), None, False, None)
    mosaic = Mosaic((side, side), Affine(0.3, 0, 0, 0, -0.3, 0), CRS.from_epsg(32633).to_wkt(), (scene,))
    own = {} if device == "cpu" else {"device_bytes": 70 * GIB}
    engine = plan.Engine(folder / "w", NETWORK, device, "bf16", "none", GIB // 3, 144.0, **own)
    return plan.make(config.load(path), mosaic, Weights(NETWORK), engine).projection


@given(
    memory=st.floats(0.5, 200),
    cores=st.integers(1, 64),
    workers=st.integers(1, 16),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_a_plan_of_itself_fits_the_machine(
    memory: float, cores: int, workers: int, device: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        this_machine(patch, memory, cores)
        try:
            made = full(tmp_path_factory.mktemp("region"), f"cluster: {{workers: {workers}}}", device)
        except InputError as error:
            assert re.match(r"memory: .* (too little for one tile|this machine has)", str(error))  # noqa: PT017
            assert memory < 2.5 * workers + 1
        else:
            assert made.ram <= memory * GIB


CROWDED = {
    "memory: 6GiB\ncluster: {workers: 4}": r"memory: 4 workers may need 2\d\.\d\d GiB, this machine has 16.00 GiB; ",
    "memory: 20GiB": r"memory: 1 worker and 3 beside may need .* GiB, this machine has 16.00 GiB; give at most",
    "tiles: {size: 16384}": r"tiles\.size: 1 worker and 3 beside may need .* this machine has 16\.00 GiB; give at most",
    "memory: 8GiB\ncluster: {kind: slurm, memory: 4GiB}": r"memory: 1 worker may need .* a job has 4\.00 GiB; ",
    "tiles: {size: 16384}\ncluster: {kind: slurm, memory: 4GiB}": r"tiles.size: 1 worker may need .* a job has 4\.",
}


@pytest.mark.parametrize("keys", CROWDED)
def test_what_does_not_fit_the_machine_or_the_job_is_refused_and_what_is_named_fits(
    keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this_machine(monkeypatch, 16, 4)
    with pytest.raises(InputError, match=CROWDED[keys]) as refused:
        full(tmp_path, keys)
    key = str(refused.value).partition(":")[0].rpartition(".")[2]
    best = re.search(r"give at most ([\d.]+(?:GiB)?)", str(refused.value))
    assert best
    full(tmp_path, re.sub(rf"\b{key}: [\w.]+", f"{key}: {best[1]}", keys, count=1))


def test_workers_share_a_machine_and_a_batch_job_bounds_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this_machine(monkeypatch, 16, 4)
    assert full(tmp_path, "cluster: {workers: 4}").ram <= 16 * GIB
    assert full(tmp_path, "cluster: {kind: slurm, memory: 2GiB}").device <= 1.2 * GIB
    with pytest.raises(
        InputError, match=r"each worker's share of 0\.96 GiB is too little .* give fewer cluster\.workers"
    ):
        full(tmp_path, "cluster: {workers: 10}")


def test_the_disk_holds_what_is_asked_for(tmp_path: Path) -> None:
    side, nothing = 5_000, "tiles: {}"
    plain = full(tmp_path, nothing, side=side).disk
    assert plain > 1.5 * side**2
    formats = full(tmp_path, "footprints: {formats: [gpkg, parquet, flatgeobuf, geojson]}", side=side).disk
    cog, masks = (full(tmp_path, f"probability: {{{key}: true}}", side=side).disk for key in ("cog", "masks"))
    assert formats - plain > 0.2 * side**2
    assert cog - plain > 1.4 * side**2
    assert masks - plain == pytest.approx(0.04 * side**2)
