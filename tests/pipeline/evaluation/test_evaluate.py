"""``python -m pipeline.evaluate`` on outputs whose scores are known beforehand."""

import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image
from pyproj import CRS
from small import write_weights

from pipeline import store
from pipeline.evaluate import main
from tiling.grid import Axis, Grid

SIDE, BLOCK, PIXEL = 160, 64, 0.5
AFFINE = Affine(PIXEL, 0, 600_000, 0, -PIXEL, 5_000_000)
UTM = CRS.from_epsg(32633)
BOXES = [(10, 10, 40, 30), (50, 56, 90, 84), (100, 100, 140, 140)]
"""Buildings: left, top, right, bottom in pixels."""
SHIFT = 4
"""The predictions lie so many pixels further right; the last building was not found."""


def mask_of(boxes: list[tuple[int, int, int, int]], shift: int = 0) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left + shift : right + shift] = 1
    return mask


def polygons(boxes: list[tuple[int, int, int, int]], shift: int = 0) -> geopandas.GeoSeries:
    made = []
    for left, top, right, bottom in boxes:
        (x0, y0), (x1, y1) = AFFINE @ (left + shift, top), AFFINE @ (right + shift, bottom)
        made.append(shapely.box(x0, y1, x1, y0))
    return geopandas.GeoSeries(made, crs=UTM)


def write_mask(path: Path, mask: np.ndarray, top: int = 0, crs: CRS = UTM) -> Path:
    """A GeoTIFF, its first row being row ``top`` of the mosaic; a PNG has no place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(mask * np.uint8(255)).save(path)
        return path
    affine = AFFINE @ Affine.translation(0, top)
    profile = {"height": mask.shape[0], "width": mask.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs.to_wkt(), transform=affine, **profile) as file:
        file.write(mask * np.uint8(255), 1)
    return path


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two scenes, town1 above town2, as the pipeline leaves it."""
    folder = tmp_path_factory.mktemp("run")
    axis = Axis(SIDE, BLOCK, 32, 0, 0)
    grid = Grid(axis, axis)
    store.create(folder / "probability.zarr", grid, AFFINE, UTM.to_wkt())
    samples = np.where(mask_of(BOXES[:2], SHIFT), 240, 20).astype(np.uint8)
    samples[:, -8:] = store.NO_DATA
    for block in grid:
        window = grid.window(block)
        part = samples[window.slices]
        store.write_block(folder / "probability.zarr", grid, block, part)
    for layer in ("footprints", "styles"):
        polygons(BOXES[:2], SHIFT).to_file(folder / "footprints.gpkg", layer=layer)
    scenes = [["town1.tif", "", 0, 80, 0, SIDE], ["town2.tif", "", 80, SIDE, 0, SIDE]]
    run = {"name": "towns", "status": "done", "threshold": 0.5, "fingerprint": {"scenes": scenes}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def evaluated(*arguments: object) -> dict[str, dict]:
    """The scores in evaluation.json."""
    folder = Path(arguments[0]).parent / "scores"
    assert main([*map(str, arguments), "--output", str(folder), "--quiet"]) == 0
    return json.loads((folder / "evaluation.json").read_text())["scores"]


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Where there is a prediction."""
    predicted, truth = predicted[..., : SIDE - 8] > 0, truth[..., : SIDE - 8] > 0
    return (predicted & truth).sum() / (predicted | truth).sum()


def test_a_run_against_masks_by_scene_city_and_overall(output: Path, tmp_path: Path) -> None:
    truth, found = mask_of(BOXES), mask_of(BOXES[:2], SHIFT)
    write_mask(tmp_path / "gt" / "town1.tif", truth[:80])
    write_mask(tmp_path / "gt" / "town2.tif", truth[80:], top=80)
    scores = evaluated(output, "--truth", tmp_path / "gt")
    assert set(scores) == {"town1", "town2", "overall"}
    assert scores["town1"]["iou"] == pytest.approx(iou(found[:80], truth[:80]))
    assert scores["town2"]["iou"] == pytest.approx(iou(found[80:], truth[80:]))
    assert scores["overall"]["iou"] == pytest.approx(iou(found, truth))
    assert scores["overall"]["pixels"] == SIDE * (SIDE - 8)
    wrong = (found != truth)[:, : SIDE - 8].mean()
    assert scores["overall"]["accuracy"] == pytest.approx(1 - wrong)


def test_masks_without_crs_are_paired_by_name(output: Path, tmp_path: Path) -> None:
    truth = mask_of(BOXES)
    write_mask(tmp_path / "gt" / "town1_mask.png", truth[:80])
    write_mask(tmp_path / "gt" / "town2_mask.png", truth[80:])
    assert evaluated(output, "--truth", tmp_path / "gt")["overall"]["iou"] == pytest.approx(
        iou(mask_of(BOXES[:2], SHIFT), truth)
    )


@pytest.mark.parametrize(("values", "nodata"), [((0, 255), 0), ((0, 255), 255), ((0, 1), 0), ((0, 1), None)])
def test_a_tag_of_no_data_on_a_masks_own_values_unlabels_nothing(
    output: Path, tmp_path: Path, values: tuple[int, int], nodata: int | None
) -> None:
    truth = mask_of(BOXES)
    mask = write_mask(tmp_path / "all.tif", truth)
    with rasterio.open(mask, "r+") as file:
        file.write(np.where(truth, *values[::-1]).astype(np.uint8), 1)
        file.nodata = nodata
    overall = evaluated(output, "--truth", mask)["overall"]
    assert overall["iou"] == pytest.approx(iou(mask_of(BOXES[:2], SHIFT), truth))
    assert overall["pixels"] == SIDE * (SIDE - 8)


def test_a_third_value_of_no_data_unlabels(output: Path, tmp_path: Path) -> None:
    truth = mask_of(BOXES)
    mask = write_mask(tmp_path / "all.tif", truth)
    truth[:60] = 7
    with rasterio.open(mask, "r+") as file:
        file.write(truth, 1)
        file.nodata = 7
    overall = evaluated(output, "--truth", mask)["overall"]
    assert overall["iou"] == pytest.approx(iou(mask_of(BOXES[:2], SHIFT)[60:], mask_of(BOXES)[60:]))
    assert overall["pixels"] == (SIDE - 60) * (SIDE - 8)


def test_scenes_of_one_name_are_all_scored(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(output, tmp_path / "run")
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace("town1.tif", "a/1.tif").replace("town2.tif", "b/1.tif"))
    polygons(BOXES).to_file(tmp_path / "truth.gpkg")
    scores = evaluated(folder, "--truth", tmp_path / "truth.gpkg")
    assert set(scores) == {"1", "1#2", "overall"}
    assert scores["overall"]["pixels"] == SIDE * (SIDE - 8)
    write_mask(tmp_path / "1.png", mask_of(BOXES)[:80])
    assert main([str(folder), "--truth", str(tmp_path / "1.png")]) == 2
    assert "has no CRS, and the run has 2 scenes 1" in capsys.readouterr().err


def test_a_training_that_holds_out_nothing_on_disk_is_no_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.yaml").write_text("name: x\noutput: out\ndata: {drawn: {kind: rendered}}\n")
    weights = write_weights(tmp_path / "weights.safetensors")
    assert main([str(weights), "--held-out", str(tmp_path / "train.yaml")]) == 2
    assert "train.yaml: holds out no scene on disk" in capsys.readouterr().err


def test_a_run_against_footprints_in_degrees(output: Path, tmp_path: Path) -> None:
    polygons(BOXES).to_crs("EPSG:4326").to_file(tmp_path / "truth.geojson", driver="GeoJSON")
    overall = evaluated(output, "--truth", tmp_path / "truth.geojson")["overall"]
    assert overall["iou"] == pytest.approx(iou(mask_of(BOXES[:2], SHIFT), mask_of(BOXES)), abs=0.01)
    # The second building crosses from scene to scene: it counts in both, as a part in each.
    objects = overall["objects"]
    assert (objects["true"], objects["predicted"], objects["found"]) == (4, 3, 3)
    assert objects["polis_m"]["median"] == pytest.approx(SHIFT * PIXEL / 2, rel=0.02)
    assert objects["turned_degrees"]["median"] == pytest.approx(0, abs=0.5)


def test_true_polygons_that_cross_themselves_are_repaired(output: Path, tmp_path: Path) -> None:
    """A bow tie over the edge of the first scene, as drawn by hand: it cannot be cut as it is."""
    corners = [AFFINE @ corner for corner in [(20, 60), (60, 100), (60, 60), (20, 100)]]
    geopandas.GeoSeries([shapely.Polygon(corners)], crs=UTM).to_file(tmp_path / "truth.gpkg")
    overall = evaluated(output, "--truth", tmp_path / "truth.gpkg")["overall"]
    assert overall["objects"]["true"] == 4  # its two wings, each a part in both scenes


@pytest.mark.parametrize("suffix", ["fgb", "geojson"])
def test_footprints_of_any_format_that_a_run_wrote(output: Path, tmp_path: Path, suffix: str) -> None:
    folder = shutil.copytree(output, tmp_path / "run")
    found = geopandas.read_file(folder / "footprints.gpkg", layer="footprints")
    (folder / "footprints.gpkg").unlink()
    found.to_crs("EPSG:4326").to_file(folder / f"footprints.{suffix}")
    polygons(BOXES).to_file(tmp_path / "truth.gpkg")
    assert evaluated(folder, "--truth", tmp_path / "truth.gpkg")["overall"]["objects"]["found"] == 3


def test_a_run_without_readable_footprints_says_how_to_get_them(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(output, tmp_path / "run")
    (folder / "footprints.gpkg").rename(folder / "footprints.parquet")
    assert main([str(folder), "--truth", str(write_mask(tmp_path / "all.tif", mask_of(BOXES)))]) == 2
    assert "run it again with --set footprints.formats=[gpkg]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "sentence"), [("gpu", "device: 'gpu' is not a device"), ("cuda:99", "device: cuda:99, but torch sees")]
)
def test_a_device_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str, sentence: str
) -> None:
    weights, mask = write_weights(tmp_path / "weights.safetensors"), write_mask(tmp_path / "m.tif", mask_of(BOXES))
    image = write_mask(tmp_path / "a.tif", mask_of(BOXES))
    with rasterio.open(image, "w", driver="GTiff", height=SIDE, width=SIDE, count=3, dtype="uint8",
                       crs="EPSG:32633", transform=AFFINE) as file:  # fmt: skip
        file.write(np.zeros((3, SIDE, SIDE), np.uint8))
    assert main([str(weights), "--images", str(image), "--truth", str(mask), "--device", device]) == 2
    assert sentence in capsys.readouterr().err


def test_a_mask_of_a_part_of_the_mosaic(output: Path, tmp_path: Path) -> None:
    """Labels cover only some of what was predicted, as in the Banepa mosaic: only that part is scored."""
    mask = write_mask(tmp_path / "block.tif", mask_of(BOXES)[40:120], top=40)
    scores = evaluated(output, "--truth", mask)
    assert scores["overall"]["iou"] == pytest.approx(iou(mask_of(BOXES[:2], SHIFT)[40:120], mask_of(BOXES)[40:120]))


def test_seams_are_scored_beside_the_interior(output: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "all.tif", mask_of(BOXES))
    found = evaluated(output, "--truth", mask, "--band", "4")["overall"]
    near = np.zeros(SIDE, bool)
    for seam in (64, 128):
        near[seam - 4 : seam + 4] = True
    either = (near[:, None] | near[None, :])[:, : SIDE - 8]
    assert found["seams"]["pixels"] == either.sum()
    predicted, truth = (layer[:, : SIDE - 8][either] > 0 for layer in (mask_of(BOXES[:2], SHIFT), mask_of(BOXES)))
    assert found["seams"]["iou_near"] == pytest.approx((predicted & truth).sum() / (predicted | truth).sum())


def test_the_picture_shows_hits_misses_and_false_alarms(output: Path, tmp_path: Path) -> None:
    evaluated(output, "--truth", write_mask(tmp_path / "all.tif", mask_of(BOXES)))
    with Image.open(output.parent / "scores" / "evaluation.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert tuple(pixels[20, 30]) == (46, 160, 67)  # found
    assert tuple(pixels[120, 120]) == (214, 39, 40)  # missed
    assert tuple(pixels[20, 42]) == (31, 119, 255)  # false alarm
    assert tuple(pixels[20, SIDE - 4]) == (120, 120, 120)  # no data


def test_weights_on_images_with_masks(tmp_path: Path) -> None:
    """Scored by the file alone; the same numbers as predicting the whole image at once."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.integers(0, 255, (3, 70, 90), dtype=np.uint8)
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", height=70, width=90, count=3, dtype="uint8",
                           crs="EPSG:32633", transform=AFFINE) as file:  # fmt: skip
            file.write(image)
        write_mask(tmp_path / f"{name}_mask.tif", (image[0] > 100).astype(np.uint8))
    weights = write_weights(tmp_path / "weights.safetensors")
    scores = evaluated(weights, "--images", tmp_path / "?.tif", "--truth", tmp_path, "--suffix", "_mask")
    assert set(scores) == {"a", "b", "overall"}
    for count in ("hits", "misses", "false_alarms", "pixels"):
        assert scores["overall"][count] == scores["a"][count] + scores["b"][count]
    assert scores["overall"]["pixels"] == 2 * 70 * 90
    assert "seams" not in scores["overall"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{output}"], "--truth is missing"),
        (["{tmp}", "--truth", "{tmp}/mask.tif"], "is no finished run"),
        (["{output}", "--truth", "{tmp}/other.tif"], "has another CRS than the run"),
        (["{output}", "--truth", "{tmp}/strange.png"], "has no scene strange; it has town1, town2"),
        (["{output}", "--truth", "{tmp}/below.tif"], "does not fit the 160 x 160 px"),
        (["{output}", "--truth", "{tmp}/empty"], "holds no mask"),
        (["{output}", "--truth", "{tmp}/lost.tif"], "lost.tif: does not exist; --truth takes"),
        (["{output}", "--truth", "{tmp}/lost.gpkg"], "lost.gpkg: does not exist; footprints are"),
        (["{output}", "--truth", "{tmp}/torn.tif"], "torn.tif: is no GeoTIFF or PNG that can be read"),
        (["{output}", "--truth", "{tmp}/torn.geojson"], "torn.geojson: holds no layer of polygons"),
        (["{output}", "--truth", "{tmp}/short.tif"], "short.tif: its pixels cannot be read"),
        (["{tmp}/mask.tif", "--truth", "{tmp}/mask.tif"], "mask.tif"),
    ],
)
def test_what_does_not_fit_is_refused(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    write_mask(tmp_path / "mask.tif", mask_of(BOXES))
    write_mask(tmp_path / "other.tif", mask_of(BOXES), crs=CRS.from_epsg(32634))
    write_mask(tmp_path / "strange.png", mask_of(BOXES))
    write_mask(tmp_path / "below.tif", mask_of(BOXES), top=50)
    (tmp_path / "empty").mkdir()
    for name in ("torn.tif", "torn.geojson"):
        (tmp_path / name).write_bytes(b"II*\0")
    noise = np.random.default_rng(0).integers(0, 2, (SIDE, SIDE), dtype=np.uint8)
    whole = write_mask(tmp_path / "short.tif", noise).read_bytes()
    (tmp_path / "short.tif").write_bytes(whole[: len(whole) // 2])
    assert main([argument.format(output=output, tmp=tmp_path) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err
